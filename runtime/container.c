/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's folder below --root.
 */
#include "runtime/container.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/container_json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_FILE  "state.json"
#define CRUN_STATE_FILE "status"
#define STATE_LIMIT (8UL << 20)

static const char id_characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-";

bool container_id_is_valid(const char *id)
{
	size_t size = strlen(id);

	return size > 0 && size <= 255 && strspn(id, id_characters) == size && id[0] != '.'; /* what begins so is ours, in the same folder */
}

static int name_it(struct container *self, const char *root, const char *id, struct error *err)
{
	size_t valid = strspn(id, id_characters);

	*self = (struct container){.dir_fd = FD_NONE};
	if (id[valid] != '\0')
		return fail_because(err, EINVAL, "invalid container id '%s': invalid character `%c` in the ID, only letters, digits and _+.- are allowed",
				    id, id[valid]);
	if (!container_id_is_valid(id))
		return fail_because(err, EINVAL, "invalid container id '%s': only letters, digits and _+.- are allowed, and no dot in front", id);
	self->id = text_copy(id);
	self->root = text_copy(root);
	self->dir = text_format("%s/%s", root, id);
	return 0;
}

/* The lock is on the folder itself. It is ours only if the folder still has its name once we got it. */
static int lock(struct container *self, struct error *err)
{
	struct stat held, named;

	for (;;) {
		auto_close int fd = open(self->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			return errno == ENOENT ? fail_because(err, ENOENT, "container '%s': container does not exist", self->id)
					       : fail_errno(err, errno, "open '%s'", self->dir);
		if (flock(fd, LOCK_EX) < 0)
			return fail_errno(err, errno, "lock container '%s'", self->id);
		if (fstat(fd, &held) == 0 && stat(self->dir, &named) == 0 && held.st_ino == named.st_ino &&
		    held.st_dev == named.st_dev) {
			self->dir_fd = take_fd(&fd);
			return 0;
		}
	}
}

static int fail_to_make(const char *path, int code, struct error *err)
{
	if (code == -EACCES && geteuid() != 0)
		return fail_because(err, EACCES, "make '%s': permission denied (a user's state is in $XDG_RUNTIME_DIR, or where --root says)", path);
	return fail_errno(err, -code, "make '%s'", path);
}

static int make_and_lock(struct container *self, struct error *err)
{
	if (dir_make_all(self->root, 0700, err) < 0)
		return fail_to_make(self->root, err->code, err);
	for (;;) {
		if (mkdir(self->dir, 0700) < 0 && errno != EEXIST)
			return fail_to_make(self->dir, -errno, err);
		if (lock(self, err) == 0)
			return 0;
		if (err->code != -ENOENT)
			return err->code;
	}
}

int container_make(struct container *self, const char *root, const char *id, struct error *err)
{
	if (name_it(self, root, id, err) < 0)
		return err->code;
	if (make_and_lock(self, err) < 0) {
		container_close(self);
		return err->code;
	}
	if (path_exists(self->dir_fd, STATE_FILE)) {
		container_close(self);
		return fail_because(err, EEXIST, "container with id exists already: %s", id);
	}
	return 0;
}

static int read_state(struct container *self, struct error *err)
{
	auto_free char *data = NULL;
	size_t size;
	int r = file_read(self->dir_fd, STATE_FILE, STATE_LIMIT, &data, &size, err);

	if (r == -ENOENT)
		return fail_because(err, ENOENT, "container '%s': container does not exist", self->id);
	if (r < 0)
		return r;
	return spec_part_parse(&self->part, container_state_fields, data, size, STATE_FILE, &self->state, err);
}

int container_open(struct container *self, const char *root, const char *id, bool is_locked, struct error *err)
{
	if (name_it(self, root, id, err) < 0)
		return err->code;
	if (is_locked) {
		(void) lock(self, err);
	} else {
		self->dir_fd = open(self->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (self->dir_fd < 0 && errno == ENOENT)
			(void) fail_because(err, ENOENT, "container '%s': container does not exist", id);
		else if (self->dir_fd < 0)
			(void) fail_errno(err, errno, "open '%s'", self->dir);
	}
	if (self->dir_fd < 0 || read_state(self, err) < 0) {
		container_close(self);
		return err->code;
	}
	return 0;
}

int container_open_remains(struct container *self, const char *root, const char *id, struct error *err)
{
	struct error ignored;

	if (name_it(self, root, id, err) < 0)
		return err->code;
	if (lock(self, err) < 0) {
		container_close(self);
		return err->code;
	}
	if (read_state(self, &ignored) < 0)
		self->state = (struct container_state){0};
	return 0;
}

int container_save(const struct container *self, struct error *err)
{
	auto_free char *json = container_state_file(&self->state);
	int r = file_replace_fast(self->dir_fd, STATE_FILE, json, strlen(json), 0600, err);

	fault_point("container-saved");
	/* where those look who know crun, when there is a process; nothing here needs it */
	if (r == 0 && self->state.start_time.value != 0)
		(void) symlinkat(STATE_FILE, self->dir_fd, CRUN_STATE_FILE);
	return r;
}

int container_forget(struct container *self, struct error *err)
{
	/* without its state the container is gone, whatever happens to the rest */
	if (unlinkat(self->dir_fd, STATE_FILE, 0) < 0 && errno != ENOENT)
		return fail_errno(err, errno, "remove the state of container '%s'", self->id);
	fault_point("container-forgotten");
	return dir_remove_all(AT_FDCWD, self->dir, err);
}

void container_close(struct container *self)
{
	if (self->dir_fd >= 0)
		close(self->dir_fd);
	free(self->id);
	free(self->root);
	free(self->dir);
	spec_part_deinit(&self->part);
	*self = (struct container){.dir_fd = FD_NONE};
}

uint64_t container_process_start_time(pid_t pid)
{
	struct error ignored;
	char path[64];
	auto_free char *data = NULL;
	const char *at;
	uint64_t start_time = 0;
	char process_state;

	(void) text_fit(path, sizeof(path), "/proc/%d/stat", pid);
	if (pid <= 0 || file_read(AT_FDCWD, path, 4096, &data, NULL, &ignored) < 0)
		return 0;
	at = strrchr(data, ')'); /* the name before it may contain anything */
	if (at == NULL || sscanf(at, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
				 &process_state, &start_time) != 2)
		return 0;
	return process_state == 'Z' || process_state == 'X' ? 0 : start_time;
}

bool container_is_alive(const struct container *self)
{
	uint64_t start_time = container_process_start_time((pid_t) self->state.pid.value);

	return start_time != 0 && start_time == self->state.start_time.value;
}

/* No init yet: somebody is at work if he holds the lock, else he died. */
static bool is_being_made(const struct container *self)
{
	auto_close int fd = open(self->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

enum container_status container_status(const struct container *self)
{
	struct error ignored;
	struct cgroup cgroup;

	if (self->state.pid.value <= 0)
		return is_being_made(self) ? CONTAINER_CREATING : CONTAINER_STOPPED;
	if (!container_is_alive(self))
		return CONTAINER_STOPPED;
	if (path_exists(self->dir_fd, CONTAINER_START_PIPE))
		return CONTAINER_CREATED;
	if (self->state.cgroup_path != NULL && cgroup_init(&cgroup, self->state.cgroup_path, &ignored) == 0 &&
	    cgroup_is_frozen(&cgroup))
		return CONTAINER_PAUSED;
	return CONTAINER_RUNNING;
}

bool container_may_have_late_hooks(const struct container *self)
{
	return !self->state.has_late_hooks.is_set || self->state.has_late_hooks.value != 0;
}

int container_load_spec(const struct container *self, struct spec *ret_spec, struct error *err)
{
	auto_free char *path = text_format("%s/config.json", self->dir);

	return spec_load(ret_spec, path, err);
}
