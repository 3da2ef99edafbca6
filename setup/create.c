/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "setup/setup.h"
#include "state/left_data.h"
#include "state/shim_process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int check(const create_request *request, struct error *err)
{
	if ((request->rootfs[0] == '\0') == (request->bundle[0] == '\0'))
		return fail_because(err, EINVAL, "expected either a rootfs or a bundle");
	if (request->bundle[0] != '\0' && request->n_args > 0)
		return fail_because(err, EINVAL, "command '%s': a bundle brings its own", request->args[0]);
	return 0;
}

static char *join(char **words, size_t count)
{
	auto_text text = TEXT_EMPTY;

	for (size_t i = 0; i < count; i++)
		text_addf(&text, "%s%s", i > 0 ? " " : "", words[i]);
	return text_take(&text);
}

static Hydra__V1__LogConfig *log_config(const create_request *request)
{
	auto_free char *data = bundle_data_path(request->namespace_, request->id);
	auto_free char *path = text_format("%s/log/container.log", data);
	Hydra__V1__LogConfig empty = HYDRA__V1__LOG_CONFIG__INIT;
	Hydra__V1__LogConfig *log =
		(void *) message_copy(request->log != NULL ? &request->log->base : &empty.base);

	if (log != NULL && log->path[0] == '\0' && !message_set_string(&log->path, path))
		return NULL;
	return log;
}

static Hydra__V1__Network *network_config(const create_request *request)
{
	Hydra__V1__Network empty = HYDRA__V1__NETWORK__INIT;
	Hydra__V1__Network *network =
		(void *) message_copy(request->network != NULL ? &request->network->base : &empty.base);

	if (network != NULL && network->mode[0] == '\0' && !message_set_string(&network->mode, "none"))
		return NULL;
	return network;
}

/* A migration makes a folder at the same path of another host: it has to be one, and named without detours. */
static int check_carried(const char *path, struct error *err)
{
	auto_free char *real = realpath(path, NULL);
	struct stat status;

	if (real == NULL || stat(real, &status) < 0)
		return fail_errno(err, errno, "volume '%s'", path);
	if (!S_ISDIR(status.st_mode) || strcmp(real, path) != 0 || strcmp(path, "/") == 0)
		return fail_because(err, EINVAL, "volume '%s' can't be carried: expected a folder, by its path without links and '..'", path);
	return 0;
}

static bool has_volume(const record *container, const char *path)
{
	for (size_t i = 0; i < container->n_carried_volumes; i++) {
		if (strcmp(container->carried_volumes[i], path) == 0)
			return true;
	}
	return false;
}

static int add_carried(const create_request *request, record *container, struct error *err)
{
	container->carried_volumes = calloc(request->n_mounts + 1, sizeof(char *));
	if (container->carried_volumes == NULL)
		return fail_errno(err, ENOMEM, "create container '%s'", request->id);
	for (size_t i = 0; i < request->n_mounts; i++) {
		const Hydra__V1__Mount *entry = request->mounts[i];

		if (!entry->is_carried || has_volume(container, entry->source))
			continue;
		if (check_carried(entry->source, err) < 0)
			return err->code;
		container->carried_volumes[container->n_carried_volumes++] = text_copy(entry->source);
	}
	return 0;
}

static record *make_record(const create_request *request, struct error *err)
{
	record empty = HYDRA__V1__CONTAINER_RECORD__INIT;
	auto_record *container = (record *) (void *) message_copy(&empty.base);
	auto_free char *command = join(request->args, request->n_args);

	if (container == NULL || !message_set_string(&container->id, request->id) ||
	    !message_set_string(&container->namespace_, request->namespace_) ||
	    !message_set_string(&container->command, command)) {
		(void) fail_errno(err, ENOMEM, "create container '%s'", request->id);
		return NULL;
	}
	container->version = RECORD_VERSION;
	container->state = HYDRA__V1__CONTAINER_STATE__STATE_CREATING;
	container->created_ns = clock_realtime_ns();
	container->terminal = request->terminal;
	container->open_stdin = request->open_stdin;
	container->remove_on_exit = request->remove_on_exit;
	container->stop_timeout_s = request->stop_timeout_s;
	container->log = log_config(request);
	container->network = network_config(request);
	if (add_carried(request, container, err) < 0)
		return NULL;
	if (request->health_check != NULL)
		container->health_check = (void *) message_copy(&request->health_check->base);
	if (request->restart != NULL)
		container->restart = (void *) message_copy(&request->restart->base);
	return take_ptr(&container);
}

static int build(const char *root, struct run_dir *dir, record *container, const create_request *request, struct error *err)
{
	int r = record_save(dir->fd, container, err);

	fault_point("setup.intent");
	if (r == 0 && request->bundle[0] == '\0')
		r = network_add(dir, container, err);
	fault_point("setup.network");
	if (r == 0)
		r = bundle_make(request, container, err);
	if (r == 0)
		r = health_prepare(container, err);
	fault_point("setup.bundle");
	if (r == 0)
		r = record_save(dir->fd, container, err);
	if (r == 0)
		r = shim_process_launch(root, container->namespace_, container->id, err);
	fault_point("setup.launched");
	if (r == 0)
		r = launch_call(root, container->namespace_, container->id, "Create", err);
	fault_point("setup.created");
	if (r == 0 && request->start)
		r = launch_call(root, container->namespace_, container->id, "Start", err);
	return r;
}

int container_create(const char *root, const create_request *request, struct error *err)
{
	auto_record *container = NULL;
	struct run_dir dir;
	struct error ignored;
	int r = check(request, err);

	if (r < 0)
		return r;
	container = make_record(request, err);
	if (container == NULL)
		return err->code;
	r = run_dir_create(&dir, root, container->namespace_, container->id, err);
	if (r < 0)
		return r;
	r = request->bundle[0] == '\0' ? left_data_set_aside(data_root(), container->namespace_, container->id, err) : 0;
	if (r < 0) {
		(void) run_dir_remove(&dir, &ignored);
		return r;
	}
	r = build(root, &dir, container, request, err);
	run_dir_close(&dir);
	if (r < 0)
		(void) container_remove(root, container->namespace_, container->id, true, &ignored);
	return r;
}

int container_start_again(const char *root, const char *namespace, const char *id, struct error *err)
{
	struct run_dir dir;
	struct run_dir shim = RUN_DIR_CLOSED;
	auto_record *container = NULL;
	int r = run_dir_open(&dir, root, namespace, id, err);

	if (r < 0)
		return r;
	r = run_dir_lock_wait(&dir, LOCK_SETUP, err);
	if (r == 0)
		r = container_check_owner(&dir, err);
	if (r == 0)
		r = record_load(dir.fd, &container, err);
	if (r == 0 && container->state == HYDRA__V1__CONTAINER_STATE__STATE_CREATED) {
		r = launch_call(root, namespace, id, "Start", err);
	} else if (r == 0 && container->state != HYDRA__V1__CONTAINER_STATE__STATE_STOPPED) {
		r = fail_because(err, EBUSY, "start container '%s': it is %s", id, state_name(container->state));
	} else if (r == 0) {
		/* the shim of its last life may be on its way out */
		r = run_dir_open(&shim, root, namespace, id, err);
		if (r == 0)
			r = run_dir_lock_wait(&shim, LOCK_SHIM, err);
		run_dir_close(&shim);
		if (r == 0)
			r = shim_process_launch(root, namespace, id, err);
		if (r == 0)
			r = launch_call(root, namespace, id, "Create", err);
		if (r == 0)
			r = launch_call(root, namespace, id, "Start", err);
	}
	run_dir_close(&dir);
	return r;
}
