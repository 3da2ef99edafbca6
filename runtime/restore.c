/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state and the cgroups are made here; the processes are made by hydra-checkpoint.
 */
#include "runtime/restore.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/launch.h"
#include "runtime/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define PID_FILE "restored.pid"

void checkpoint_call_add(struct checkpoint_call *self, const char *option, const char *value)
{
	const char *const parts[] = {option, value};

	for (size_t i = 0; i < 2 && parts[i] != NULL; i++, self->count++)
		if (self->count < CHECKPOINT_ARGUMENTS_MAX - 1)
			self->arguments[self->count] = parts[i];
}

int checkpoint_call_run(const struct checkpoint_call *self, struct error *err)
{
	auto_free char *path = child_program("hydra-checkpoint");
	struct child_spec child = {.path = path, .argv = self->arguments};
	int status = 0;
	pid_t pid;

	if (self->count >= CHECKPOINT_ARGUMENTS_MAX)
		return fail_because(err, E2BIG, "too many mounts for hydra-checkpoint");
	/* descriptors 4 to 6 become the container's 0 to 2, where those were pipes */
	for (int fd = 0; fd < 3; fd++) {
		child.fds[child.fd_count++] = (struct child_fd){fd == 1 ? 2 : fd, fd};
		child.fds[child.fd_count++] = (struct child_fd){fd, fd + 4};
	}
	if (self->console_fd > 0)
		child.fds[child.fd_count++] = (struct child_fd){self->console_fd, 3};
	if (child_start(&child, &pid, NULL, err) < 0 || child_wait(pid, &status, err) < 0)
		return err->code;
	return status == 0 ? 0 : fail_because(err, EIO, "hydra-checkpoint failed with exit status %d", status);
}

struct restore {
	const struct restore_request *request;
	struct restored *result;
	struct cgroup cgroup;
	char cgroup_path[CGROUP_PATH_SIZE];
	char bundle[PATH_MAX];
	char rootfs[PATH_MAX];
	int console_fd;
};

static int load(struct restore *self, struct error *err)
{
	const struct restore_request *request = self->request;
	struct spec *spec = &self->result->spec;
	auto_free char *config = NULL;
	auto_free char *rootfs = NULL;

	if (realpath(request->bundle != NULL ? request->bundle : ".", self->bundle) == NULL)
		return fail_errno(err, errno, "find bundle '%s'", request->bundle != NULL ? request->bundle : ".");
	config = text_format("%s/config.json", self->bundle);
	if (spec_load(spec, config, err) < 0)
		return err->code;
	rootfs = spec->root->path[0] == '/' ? text_copy(spec->root->path) : text_format("%s/%s", self->bundle, spec->root->path);
	if (realpath(rootfs, self->rootfs) == NULL)
		return fail_errno(err, errno, "find rootfs '%s'", rootfs);
	if (request->has_cgroups && cgroup_path(spec->linux_part.cgroups_path, request->id, self->cgroup_path, err) < 0)
		return err->code;
	if (request->console_socket != NULL && socket_connect(request->console_socket, &self->console_fd, err) < 0)
		return err->code;
	return cgroup_init(&self->cgroup, self->cgroup_path, err);
}

static int describe(struct restore *self, struct error *err)
{
	struct arena *arena = &self->result->spec.arena;
	struct container *container = &self->result->container;
	const struct spec *spec = &self->result->spec;
	char created[CLOCK_TEXT_SIZE];

	clock_format(clock_realtime_ns(), created);
	container->state = (struct container_state){
		.id = container->id,
		.oci_version = spec->oci_version,
		.bundle = arena_format(arena, "%s", self->bundle),
		.rootfs = arena_format(arena, "%s", self->rootfs),
		.created = arena_format(arena, "%s", created),
		.cgroup_path = arena_format(arena, "%s", self->cgroup_path),
		.owner = {.is_set = true, .value = geteuid()},
		.annotations = spec->annotations,
	};
	if (container_save(container, err) < 0)
		return err->code;
	return file_replace_fast(container->dir_fd, "config.json", spec->source, spec->source_size, 0600, err);
}

static int make_cgroups(const struct restore *self, struct error *err)
{
	const struct spec_resources *resources = &self->result->spec.linux_part.resources;
	auto_close int unified_fd = FD_NONE;

	if (cgroup_make_unified(&self->cgroup, resources, &unified_fd, err) < 0)
		return err->code;
	return cgroup_make_legacy(&self->cgroup, resources, err);
}

/* hydra-checkpoint knows the container's mounts by the image; where bind mounts come from is the host's affair. */
static void add_mounts(const struct restore *self, struct checkpoint_call *call)
{
	struct spec *spec = &self->result->spec;

	for (size_t i = 0; i < spec->mounts.count; i++) {
		const struct spec_mount *mount = &spec->mounts.items[i];
		const char *source = mount->source;

		if (!mounts_is_bind(mount) || source == NULL)
			continue;
		checkpoint_call_add(call, "--mount",
				    arena_format(&spec->arena, "%s=%s%s%s", mount->destination,
						 source[0] == '/' ? "" : self->bundle, source[0] == '/' ? "" : "/", source));
	}
}

static int read_pid(struct restore *self, struct error *err)
{
	struct container *container = &self->result->container;
	auto_free char *text = NULL;
	int pid;

	if (file_read(container->dir_fd, PID_FILE, 32, &text, NULL, err) < 0)
		return err->code;
	if (number_parse_int(text, 1, INT_MAX, &pid) < 0)
		return fail_because(err, EPROTO, "hydra-checkpoint wrote no pid");
	self->result->pid = pid;
	container->state.pid = (struct json_int){.is_set = true, .value = pid};
	container->state.start_time.value = container_process_start_time(pid);
	return container_save(container, err);
}

static int bring_back(struct restore *self, struct error *err)
{
	const struct spec_namespace *network = spec_find_namespace(&self->result->spec, "network");
	struct checkpoint_call call = {.arguments = {"hydra-checkpoint", "restore"}, .count = 2, .console_fd = self->console_fd};
	auto_free char *pid_file = text_format("%s/" PID_FILE, self->result->container.dir);

	checkpoint_call_add(&call, "--images", self->request->images);
	checkpoint_call_add(&call, "--root", self->rootfs);
	checkpoint_call_add(&call, "--pid-file", pid_file);
	checkpoint_call_add(&call, "--stdin-fd", "4");
	checkpoint_call_add(&call, "--stdout-fd", "5");
	checkpoint_call_add(&call, "--stderr-fd", "6");
	if (self->console_fd > 0)
		checkpoint_call_add(&call, "--console-socket-fd", "3");
	if (network != NULL && network->path != NULL && network->path[0] != '\0')
		checkpoint_call_add(&call, "--netns", network->path);
	for (size_t i = 0; i < self->cgroup.count; i++)
		checkpoint_call_add(&call, "--cgroup", self->cgroup.items[i].dir);
	add_mounts(self, &call);
	if (checkpoint_call_run(&call, err) < 0 || read_pid(self, err) < 0)
		return err->code;
	return launch_write_pid_file(self->request->pid_file, self->result->pid, err);
}

int restore_container(const struct restore_request *request, struct restored *ret_restored, struct error *err)
{
	struct restore restore = {.request = request, .result = ret_restored, .console_fd = FD_NONE};
	struct error ignored;
	int r;

	*ret_restored = (struct restored){.container = {.dir_fd = FD_NONE}};
	r = load(&restore, err);
	if (r == 0)
		r = container_make(&ret_restored->container, request->root, request->id, err);
	if (r == 0) {
		if (describe(&restore, err) < 0 || make_cgroups(&restore, err) < 0 || bring_back(&restore, err) < 0) {
			r = err->code;
			(void) launch_destroy(&ret_restored->container, NULL, &ignored);
		}
	}
	if (restore.console_fd >= 0)
		close(restore.console_fd);
	if (r < 0)
		restored_deinit(ret_restored);
	return r;
}

void restored_deinit(struct restored *self)
{
	container_close(&self->container);
	spec_deinit(&self->spec);
}
