/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container in doubt, and the administrator's word on where it lives. hydra-pager asks the target before, and writes the
 * fencing record; the shim acts on it.
 */
#include "base/child.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "setup/setup.h"
#include "shim.pb-c.h"
#include "state/shim_process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CALL_TIMEOUT_MS 30000
#define OUTPUT_MAX      65536

static const char *last_line(char *text)
{
	size_t size = strlen(text);
	const char *line;

	while (size > 0 && text[size - 1] == '\n')
		text[--size] = '\0';
	line = strrchr(text, '\n');
	return line != NULL ? line + 1 : text;
}

/* Its reason is the last line that it says. */
static int run_pager(const record *container, const char *const *argv, struct error *err)
{
	auto_free char *program = child_program("hydra-pager");
	struct child_spec spec = {.path = program, .argv = argv, .cwd = "/"};
	auto_free char *output = NULL;
	int status = 0;
	int r = child_output(&spec, STDERR_FILENO, OUTPUT_MAX, &output, &status, err);

	if (r < 0 || status == 0)
		return r;
	return fail_because(err, EBUSY, "resolve container '%s': %.400s", container->id, last_line(output));
}

static int decide(const struct run_dir *dir, const record *container, const char *to, struct error *err)
{
	const char *argv[] = {"hydra-pager", "resolve", "--state", dir->path, "--migration", container->migration->id, "--to", to, NULL};

	return run_pager(container, argv, err);
}

static int tell_shim(const char *root, const char *namespace, const record *container, bool is_gone, struct error *err)
{
	Hydra__V1__MigrationEndRequest message = HYDRA__V1__MIGRATION_END_REQUEST__INIT;
	auto_message ProtobufCMessage *response = NULL;
	auto_close int fd = FD_NONE;
	int r = shim_process_connect(root, namespace, container->id, &fd, err);

	message.migration_id = container->migration->id;
	message.is_done = is_gone;
	if (r == 0)
		r = ttrpc_call_blocking(fd, "hydra.v1.Shim", "MigrationEnd", &message.base, &hydra__v1__empty__descriptor,
					CALL_TIMEOUT_MS, &response, err);
	return r;
}

/* Here is where it was frozen. */
static int resolve_at_source(const char *root, const char *namespace, const struct run_dir *dir, const record *container, const char *to,
			     struct error *err)
{
	return decide(dir, container, to, err) < 0 ? err->code : tell_shim(root, namespace, container, strcmp(to, "target") == 0, err);
}

/* Here is where it went, and memory is missing that will not come. */
static int resolve_at_target(const char *root, const record *container, const char *to, struct error *err)
{
	auto_free char *work = text_format("%s/.work/%s", root, container->migration->id);
	auto_free char *socket = text_format("%s/handoff.sock", work);
	const char *argv[] = {"hydra-pager", "lost", "--work", work, strcmp(to, "source") == 0 ? "--drop" : NULL, NULL};

	if (!path_exists(AT_FDCWD, socket))
		return fail_because(err, EINVAL, "container '%s' is not in doubt: it is %s and has all of its memory", container->id,
				    state_name(container->state));
	return run_pager(container, argv, err);
}

static int resolve(const char *root, const char *namespace, const char *id, const char *to, bool *ret_is_dropped, struct error *err)
{
	struct run_dir dir = RUN_DIR_CLOSED;
	record *container = NULL;
	int r = run_dir_open(&dir, root, namespace, id, err);

	if (r == 0)
		r = record_load(dir.fd, &container, err);
	if (r == 0 && container->migration == NULL)
		r = fail_because(err, EINVAL, "container '%s' is not in doubt: it is %s", id, state_name(container->state));
	else if (r == 0 && container->state == HYDRA__V1__CONTAINER_STATE__STATE_MIGRATING)
		r = resolve_at_source(root, namespace, &dir, container, to, err);
	else if (r == 0)
		r = resolve_at_target(root, container, to, err);
	*ret_is_dropped = r == 0 && (container->state == HYDRA__V1__CONTAINER_STATE__STATE_MIGRATING) == (strcmp(to, "target") == 0);
	run_dir_close(&dir);
	record_free(container);
	return r;
}

int container_resolve(const char *root, const char *namespace, const char *id, const char *to, struct error *err)
{
	bool is_dropped = false;
	int r = resolve(root, namespace, id, to, &is_dropped, err);

	return is_dropped ? container_remove(root, namespace, id, true, err) : r;
}
