/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container of another host, or of another time, is made here from its record and configuration.
 */
#include "base/fault.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "setup/setup.h"
#include "state/shim_process.h"
#include "state/cgroup_place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <yyjson.h>

#define CONFIG_SIZE_MAX (4U << 20)

static int read_record(const struct target *target, record **ret_record, struct error *err)
{
	auto_free char *path = text_format("%s/record", target->images);
	auto_free char *data = NULL;
	size_t size;
	int r = file_read(AT_FDCWD, path, RECORD_SIZE_MAX, &data, &size, err);

	if (r == 0)
		r = record_decode((const uint8_t *) data, size, ret_record, err);
	return r < 0 ? fail_while(err, "read what is known of container '%s'", target->id) : 0;
}

static bool set_migration(const struct target *target, record *container)
{
	Hydra__V1__Migration *migration;

	message_free(container->migration);
	container->migration = NULL;
	if (target->migration == NULL)
		return true;
	migration = malloc(sizeof(*migration));
	if (migration == NULL)
		return false;
	hydra__v1__migration__init(migration);
	migration->epoch = target->epoch;
	container->migration = migration;
	return message_set_string(&migration->id, target->migration) && message_set_string(&migration->peer, target->peer) &&
	       message_set_string(&migration->phase, "receiving");
}

static bool set_rootfs(const struct target *target, record *container, const char *data)
{
	auto_free char *upper = text_format("%s/upper", data);
	auto_free char *work = text_format("%s/work", data);
	Hydra__V1__Rootfs *rootfs = container->rootfs;

	if (rootfs == NULL) {
		rootfs = malloc(sizeof(*rootfs));
		if (rootfs == NULL)
			return false;
		hydra__v1__rootfs__init(rootfs);
		container->rootfs = rootfs;
	}
	if (target->lower != NULL && target->lower[0] != '\0' && !message_set_string(&rootfs->lower, target->lower))
		return false;
	return message_set_string(&rootfs->upper, upper) && message_set_string(&rootfs->work, work);
}

/* What was true at the source only is replaced. */
static int adapt_record(const struct target *target, record *container, const char *data, struct error *err)
{
	auto_free char *bundle = text_format("%s/bundle", data);
	auto_free char *log = text_format("%s/log/container.log", data);
	Hydra__V1__Network *network = container->network;
	bool fits = message_set_string(&container->id, target->id) && message_set_string(&container->namespace_, target->namespace) &&
		    message_set_string(&container->bundle, bundle) && message_set_string(&container->restore_images, target->images) &&
		    set_migration(target, container) && set_rootfs(target, container, data);

	container->state = HYDRA__V1__CONTAINER_STATE__STATE_RESTORING;
	container->pid = container->shim_pid = 0;
	container->start_time = 0;
	for (size_t i = 0; i < container->n_execs; i++)
		message_free(container->execs[i]);
	container->n_execs = 0;
	message_free(container->log_before); /* it stayed there */
	container->log_before = NULL;
	if (container->log != NULL && container->log->path[0] != '\0')
		fits = fits && message_set_string(&container->log->path, log);
	if (network != NULL)
		fits = fits && message_set_string(&network->netns_path, "") && message_set_string(&network->host_interface, "") &&
		       message_set_string(&network->bridge, "");
	return fits ? 0 : fail_errno(err, ENOMEM, "receive container '%s'", target->id);
}

static void set_network_path(yyjson_mut_doc *doc, yyjson_mut_val *linux_object, const char *path)
{
	yyjson_mut_val *namespaces = yyjson_mut_obj_get(linux_object, "namespaces");
	yyjson_mut_arr_iter iterator = yyjson_mut_arr_iter_with(namespaces);

	for (yyjson_mut_val *entry = yyjson_mut_arr_iter_next(&iterator); entry != NULL;
	     entry = yyjson_mut_arr_iter_next(&iterator)) {
		const char *type = yyjson_mut_get_str(yyjson_mut_obj_get(entry, "type"));

		if (type == NULL || strcmp(type, "network") != 0)
			continue;
		(void) yyjson_mut_obj_remove_key(entry, "path");
		(void) yyjson_mut_obj_add_strcpy(doc, entry, "path", path);
	}
}

static char *adapted_config(const char *source, size_t source_size, const record *container, size_t *ret_size)
{
	yyjson_doc *parsed = yyjson_read(source, source_size, 0);
	yyjson_mut_doc *doc = parsed != NULL ? yyjson_doc_mut_copy(parsed, NULL) : NULL;
	yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
	yyjson_mut_val *linux_object = yyjson_mut_obj_get(root, "linux");
	yyjson_mut_val *root_object = yyjson_mut_obj_get(root, "root");
	auto_free char *groups = text_format("%s/%s/%s", cgroup_parent(), container->namespace_, container->id);
	char *json = NULL;

	if (linux_object != NULL && root_object != NULL) {
		(void) yyjson_mut_obj_remove_key(linux_object, "cgroupsPath");
		(void) yyjson_mut_obj_add_strcpy(doc, linux_object, "cgroupsPath", groups);
		(void) yyjson_mut_obj_remove_key(root_object, "path");
		(void) yyjson_mut_obj_add_str(doc, root_object, "path", "rootfs");
		if (container->network != NULL && container->network->netns_path[0] != '\0')
			set_network_path(doc, linux_object, container->network->netns_path);
		json = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, ret_size);
	}
	yyjson_mut_doc_free(doc);
	yyjson_doc_free(parsed);
	return json;
}

static int write_config(const struct target *target, const record *container, struct error *err)
{
	auto_free char *from = text_format("%s/config.json", target->images);
	auto_free char *to = text_format("%s/config.json", container->bundle);
	auto_free char *source = NULL;
	auto_free char *json = NULL;
	size_t source_size, size;
	int r = file_read(AT_FDCWD, from, CONFIG_SIZE_MAX, &source, &source_size, err);

	if (r < 0)
		return r;
	json = adapted_config(source, source_size, container, &size);
	if (json == NULL)
		return fail_because(err, EPROTO, "'%s' is no configuration of a container", from);
	return file_replace(AT_FDCWD, to, json, size, 0600, err);
}

/* A container without a lower layer has its whole root in "upper". */
static int make_folders(const record *container, struct error *err)
{
	auto_free char *target = text_format("%s/rootfs", container->bundle);
	int r = dir_make_all(target, 0711, err);

	if (r == 0)
		r = dir_make_all(container->rootfs->upper, 0755, err);
	if (r == 0)
		r = dir_make_all(container->rootfs->work, 0700, err);
	if (r == 0 && container->rootfs->lower[0] == '\0' && mount(container->rootfs->upper, target, NULL, MS_BIND, NULL) < 0)
		r = fail_errno(err, errno, "mount '%s' at '%s'", container->rootfs->upper, target);
	return r;
}

static int build(const struct target *target, struct run_dir *dir, record *container, struct error *err)
{
	int r = record_save(dir->fd, container, err);

	fault_point("setup.target.intent");
	if (r == 0 && container->network != NULL)
		r = network_receive(dir, container, err);
	fault_point("setup.target.network");
	if (r == 0)
		r = make_folders(container, err);
	if (r == 0)
		r = write_config(target, container, err);
	if (r == 0)
		r = record_save(dir->fd, container, err);
	if (r == 0)
		r = shim_process_launch(target->root, target->namespace, target->id, err);
	fault_point("setup.target.launched");
	return r;
}

int target_make(const struct target *target, struct run_dir *ret_dir, struct error *err)
{
	auto_free char *data = bundle_data_path(target->namespace, target->id);
	auto_record *container = NULL;
	struct run_dir dir = RUN_DIR_CLOSED;
	struct error ignored;
	int r = read_record(target, &container, err);

	if (r == 0)
		r = adapt_record(target, container, data, err);
	if (r == 0)
		r = run_dir_create(&dir, target->root, target->namespace, target->id, err);
	if (r < 0)
		return r;
	r = build(target, &dir, container, err);
	if (r < 0) {
		/* the folder of the worker is not ours to remove: it lives, and is to tell the source why */
		message_free(container->migration);
		container->migration = NULL;
		(void) record_save(dir.fd, container, &ignored);
		run_dir_close(&dir);
		(void) container_remove(target->root, target->namespace, target->id, true, &ignored);
		return r;
	}
	*ret_dir = dir;
	return 0;
}
