/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state and the cgroups are made here; the processes are made by hydra-checkpoint.
 */
#include "runtime/restore.h"

#include "base/child.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/launch.h"
#include "runtime/mounts.h"
#include "runtime/notify_socket.h"
#include "runtime/place.h"
#include "runtime/resctrl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PID_FILE   "restored.pid"
#define REPORT_MAX (64U << 20)

static const char *const restore_reports[] = {"restore.log", "stats-restore", NULL};

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

/* Of one file system or two. */
static int move_report(int from_fd, int to_fd, const char *name, struct error *err)
{
	auto_free char *data = NULL;
	size_t size = 0;

	if (file_read(from_fd, name, REPORT_MAX, &data, &size, err) < 0 || file_replace_fast(to_fd, name, data, size, 0600, err) < 0)
		return err->code;
	return unlinkat(from_fd, name, 0) < 0 ? fail_errno(err, errno, "remove '%s'", name) : 0;
}

void checkpoint_move_reports(const char *images, const char *work, const char *const *names)
{
	auto_close int from_fd = open(images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int to_fd = work != NULL ? open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	struct stat from, to;
	struct error ignored;

	if (from_fd < 0 || to_fd < 0 || fstat(from_fd, &from) < 0 || fstat(to_fd, &to) < 0 ||
	    (from.st_dev == to.st_dev && from.st_ino == to.st_ino))
		return;
	for (; *names != NULL; names++)
		(void) move_report(from_fd, to_fd, *names, &ignored); /* there is none when CRIU did not begin */
}

struct restore {
	const struct restore_request *request;
	struct restored *result;
	struct place place;
	int console_fd;
};

static int load(struct restore *self, struct error *err)
{
	const struct restore_request *request = self->request;
	const struct place_request wanted = {request->id, request->bundle, NULL, request->has_cgroups, request->uses_systemd};
	int r = place_find(&self->place, &wanted, &self->result->spec, err);

	if (r == 0)
		r = resctrl_check(self->result->spec.linux_part.intel_rdt, err);
	if (r == 0 && request->console_socket != NULL)
		r = socket_connect(request->console_socket, &self->console_fd, err);
	return r;
}

/* CRIU and what it restores are ours, and will be where we are. */
static int join_class(const struct restore *self, struct error *err)
{
	const struct container_state *state = &self->result->container.state;
	const pid_t own = getpid();

	return resctrl_make(self->result->spec.linux_part.intel_rdt, state->id, err) < 0 ? err->code
											  : resctrl_join(state->resctrl_group, &own, 1, err);
}

static int make_cgroups(struct restore *self, struct error *err)
{
	const struct spec_resources *resources = &self->result->spec.linux_part.resources;
	auto_close int unified_fd = FD_NONE;

	if (place_start_unit(&self->place, &self->result->spec, &self->result->container, err) < 0 ||
	    cgroup_make_unified(&self->place.cgroup, resources, &unified_fd, err) < 0)
		return err->code;
	return cgroup_make_legacy(&self->place.cgroup, resources, err);
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
						 source[0] == '/' ? "" : self->place.bundle, source[0] == '/' ? "" : "/", source));
	}
}

static bool is_below(const char *path, const char *parent)
{
	size_t size = strlen(parent);

	while (size > 0 && parent[size - 1] == '/')
		size--;
	return strncmp(path, parent, size) == 0 && path[size] == '/';
}

/* What is below another mount comes with that. */
static bool is_in_rootfs(const struct spec *spec, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (is_below(spec->mounts.items[index].destination, spec->mounts.items[i].destination))
			return false;
	return true;
}

/* The rootfs may be a new one, which only has what the image has; CRIU makes no mount points. */
static int make_mount_points(const struct restore *self, struct error *err)
{
	const struct spec *spec = &self->result->spec;
	auto_close int root_fd = open(self->place.rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root_fd < 0)
		return fail_errno(err, errno, "open the rootfs '%s'", self->place.rootfs);
	for (size_t i = 0; i < spec->mounts.count; i++) {
		const struct spec_mount *mount = &spec->mounts.items[i];
		auto_close int fd = FD_NONE;
		struct stat status;
		bool is_folder = !mounts_is_bind(mount) || mount->source == NULL || stat(mount->source, &status) < 0 || S_ISDIR(status.st_mode);

		if (is_in_rootfs(spec, i) && mounts_open_target(root_fd, mount->destination, is_folder, &fd, err) < 0)
			return fail_while(err, "mounts[%zu]", i);
	}
	return 0;
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

/* What is to be another than in the image. */
static void add_changes(const struct restore *self, struct checkpoint_call *call)
{
	const struct restore_request *request = self->request;
	const struct spec_namespace *network = spec_find_namespace(&self->result->spec, "network");

	if (network != NULL && network->path != NULL && network->path[0] != '\0')
		checkpoint_call_add(call, "--netns", network->path);
	if (request->closes_tcp)
		checkpoint_call_add(call, "--tcp-close", NULL);
	if (request->lsm_profile != NULL)
		checkpoint_call_add(call, "--lsm-profile", request->lsm_profile);
	if (request->lsm_mount_context != NULL)
		checkpoint_call_add(call, "--lsm-mount-context", request->lsm_mount_context);
}

static int bring_back(struct restore *self, struct error *err)
{
	struct checkpoint_call call = {.arguments = {"hydra-checkpoint", "restore"}, .count = 2, .console_fd = self->console_fd};
	auto_free char *pid_file = text_format("%s/" PID_FILE, self->result->container.dir);
	int r;

	checkpoint_call_add(&call, "--images", self->request->images);
	checkpoint_call_add(&call, "--root", self->place.rootfs);
	checkpoint_call_add(&call, "--pid-file", pid_file);
	checkpoint_call_add(&call, "--stdin-fd", "4");
	checkpoint_call_add(&call, "--stdout-fd", "5");
	checkpoint_call_add(&call, "--stderr-fd", "6");
	if (self->console_fd > 0)
		checkpoint_call_add(&call, "--console-socket-fd", "3");
	add_changes(self, &call);
	for (size_t i = 0; i < self->place.cgroup.count; i++)
		checkpoint_call_add(&call, "--cgroup", self->place.cgroup.items[i].dir);
	add_mounts(self, &call);
	if (make_mount_points(self, err) < 0)
		return err->code;
	r = checkpoint_call_run(&call, err);
	checkpoint_move_reports(self->request->images, self->request->work, restore_reports);
	if (r < 0 || read_pid(self, err) < 0)
		return err->code;
	return launch_write_pid_file(self->request->pid_file, self->result->pid, err);
}

int restore_container(const struct restore_request *request, struct restored *ret_restored, struct error *err)
{
	struct restore restore = {.request = request, .result = ret_restored, .place.hold = SYSTEMD_HOLD_NONE, .console_fd = FD_NONE};
	struct error ignored;
	int r;

	*ret_restored = (struct restored){.container = {.dir_fd = FD_NONE}};
	r = load(&restore, err);
	if (r == 0)
		r = container_make(&ret_restored->container, request->root, request->id, err);
	if (r == 0) {
		if (place_save(&restore.place, &ret_restored->spec, &ret_restored->container, err) < 0 ||
		    notify_socket_add_again(&ret_restored->spec, &ret_restored->container, err) < 0 || join_class(&restore, err) < 0 ||
		    make_cgroups(&restore, err) < 0 || bring_back(&restore, err) < 0) {
			r = err->code;
			(void) launch_destroy(&ret_restored->container, NULL, &ignored);
		}
	}
	place_release_unit(&restore.place, &ret_restored->spec);
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
