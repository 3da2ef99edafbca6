/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces of a new process.
 *
 * The quick way is one clone3. Only a user namespace that exists already, or a pid namespace from which there is no way back, needs a helper in
 * between, which joins it and makes the process as its own sibling (CLONE_PARENT), so that the command stays the parent in every case.
 */
#include "runtime/namespaces.h"

#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLAG_NEWTIME 0x00000080

static const struct {
	const char *name; /* in config.json */
	const char *file; /* in /proc/PID/ns */
	uint64_t flag;
} kinds[NAMESPACE_COUNT] = {
	[NAMESPACE_USER] = {"user", "user", CLONE_NEWUSER},
	[NAMESPACE_PID] = {"pid", "pid", CLONE_NEWPID},
	[NAMESPACE_TIME] = {"time", "time", FLAG_NEWTIME},
	[NAMESPACE_CGROUP] = {"cgroup", "cgroup", CLONE_NEWCGROUP},
	[NAMESPACE_IPC] = {"ipc", "ipc", CLONE_NEWIPC},
	[NAMESPACE_UTS] = {"uts", "uts", CLONE_NEWUTS},
	[NAMESPACE_NETWORK] = {"network", "net", CLONE_NEWNET},
	[NAMESPACE_MOUNT] = {"mount", "mnt", CLONE_NEWNS},
};

const char *namespace_name(enum namespace_kind kind)
{
	return kinds[kind].name;
}

uint64_t namespace_flag(enum namespace_kind kind)
{
	return kinds[kind].flag;
}

void namespace_plan_clear(struct namespace_plan *self)
{
	*self = (struct namespace_plan){.own_pid_fd = FD_NONE};
	for (int kind = 0; kind < NAMESPACE_COUNT; kind++)
		self->fds[kind] = FD_NONE;
}

static int plan_one(struct namespace_plan *self, enum namespace_kind kind, const struct spec_namespace *entry,
		    struct error *err)
{
	if (entry->path == NULL || entry->path[0] == '\0') {
		self->is_new[kind] = true;
		return 0;
	}
	self->fds[kind] = open(entry->path, O_RDONLY | O_CLOEXEC);
	if (self->fds[kind] < 0)
		return fail_errno(err, errno, "open %s namespace '%s'", kinds[kind].name, entry->path);
	return 0;
}

int namespace_plan_check(const struct spec *spec, struct error *err)
{
	for (size_t i = 0; i < spec->linux_part.namespaces.count; i++) {
		const struct spec_namespace *entry = &spec->linux_part.namespaces.items[i];
		auto_close int fd = FD_NONE;
		int kind = 0;

		if (entry->path == NULL || entry->path[0] == '\0')
			continue;
		while (kind < NAMESPACE_COUNT - 1 && strcmp(kinds[kind].name, entry->type) != 0)
			kind++;
		/* another kind of file may not be one that can be opened without a consequence */
		fd = open(entry->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			return fail_errno(err, errno, "linux.namespaces[%zu].path: open %s namespace '%s'", i, entry->type, entry->path);
		if (ioctl(fd, NS_GET_NSTYPE) != (int) kinds[kind].flag)
			return fail_because(err, EINVAL, "linux.namespaces[%zu].path: '%s' is no %s namespace", i, entry->path,
					    entry->type);
	}
	return 0;
}

int namespace_plan_init(struct namespace_plan *self, const struct spec *spec, struct error *err)
{
	namespace_plan_clear(self);
	for (int kind = 0; kind < NAMESPACE_COUNT; kind++) {
		const struct spec_namespace *entry = spec_find_namespace(spec, kinds[kind].name);

		if (entry != NULL && plan_one(self, (enum namespace_kind) kind, entry, err) < 0) {
			namespace_plan_deinit(self);
			return err->code;
		}
	}
	return 0;
}

static bool is_ours(const char *file, int fd)
{
	char path[64];
	struct stat own, other;

	(void) text_fit(path, sizeof(path), "/proc/self/ns/%s", file);
	return stat(path, &own) == 0 && fstat(fd, &other) == 0 && own.st_ino == other.st_ino && own.st_dev == other.st_dev;
}

int namespace_plan_of_process(struct namespace_plan *self, pid_t pid, struct error *err)
{
	char path[64];

	namespace_plan_clear(self);
	for (int kind = 0; kind < NAMESPACE_COUNT; kind++) {
		auto_close int fd = FD_NONE;

		(void) text_fit(path, sizeof(path), "/proc/%d/ns/%s", pid, kinds[kind].file);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && kind == NAMESPACE_TIME)
			continue;
		if (fd < 0) {
			namespace_plan_deinit(self);
			return fail_errno(err, errno, "open %s", path);
		}
		if (!is_ours(kinds[kind].file, fd))
			self->fds[kind] = take_fd(&fd);
	}
	return 0;
}

void namespace_plan_deinit(struct namespace_plan *self)
{
	for (int kind = 0; kind < NAMESPACE_COUNT; kind++)
		if (self->fds[kind] >= 0)
			close(self->fds[kind]);
	if (self->own_pid_fd >= 0)
		close(self->own_pid_fd);
	namespace_plan_clear(self);
}

bool namespace_plan_has_user(const struct namespace_plan *self)
{
	return self->is_new[NAMESPACE_USER] || self->fds[NAMESPACE_USER] >= 0;
}

static int keep_own(const char *path, int *ret_fd, struct error *err)
{
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? fail_errno(err, errno, "open %s", path) : 0;
}

static void format_offset(char *text, size_t size, const char *clock, const struct spec_time_offset *offset)
{
	(void) text_fit(text, size, "%s %" PRId64 " %" PRIu64 "\n", clock, offset->seconds.value, offset->nanoseconds.value);
}

/* The offsets can only be set while nobody lives in the time namespace. */
int namespace_plan_new_time(const struct namespace_plan *self, const struct spec *spec, struct error *err)
{
	char monotonic[96], boottime[96], offsets[192];
	auto_close int fd = FD_NONE;

	if (!self->is_new[NAMESPACE_TIME])
		return 0;
	if (unshare(FLAG_NEWTIME) < 0)
		return fail_errno(err, errno, "make a time namespace");
	format_offset(monotonic, sizeof(monotonic), "monotonic", &spec->linux_part.time_offsets.monotonic);
	format_offset(boottime, sizeof(boottime), "boottime", &spec->linux_part.time_offsets.boottime);
	(void) text_fit(offsets, sizeof(offsets), "%s%s", monotonic, boottime);
	if (file_set(AT_FDCWD, "/proc/self/timens_offsets", offsets, err) < 0)
		return err->code;
	fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, FLAG_NEWTIME) < 0 ? fail_errno(err, errno, "enter the time namespace") : 0;
}

static uint64_t clone_flags(const struct namespace_plan *self)
{
	uint64_t flags = 0;

	for (int kind = 0; kind < NAMESPACE_COUNT; kind++)
		if (self->is_new[kind] && kind != NAMESPACE_TIME && kind != NAMESPACE_CGROUP)
			flags |= kinds[kind].flag;
	return flags;
}

/* An ordinary user may join nothing but his user namespaces, and from there the others. Root of a user namespace may join a pid
 * namespace of his, but could not go back to the one that he came from. */
static bool needs_helper(const struct namespace_plan *self)
{
	if (self->fds[NAMESPACE_USER] >= 0 && (clone_flags(self) != 0 || !standing_has_capability(CAP_SYS_ADMIN)))
		return true;
	return self->fds[NAMESPACE_PID] >= 0 && standing_is_in_user_namespace();
}

/* What only children are born into is entered by the caller itself, for the moment of the birth. */
static int enter_for_children(struct namespace_plan *self, struct error *err)
{
	if (self->fds[NAMESPACE_PID] < 0)
		return 0;
	if (keep_own("/proc/self/ns/pid", &self->own_pid_fd, err) < 0)
		return err->code;
	if (setns(self->fds[NAMESPACE_PID], CLONE_NEWPID) < 0)
		return fail_errno(err, errno, "join the pid namespace");
	return 0;
}

static int restore(struct namespace_plan *self, struct error *err)
{
	if (self->own_pid_fd >= 0 && setns(self->own_pid_fd, CLONE_NEWPID) < 0)
		return fail_errno(err, errno, "go back to the own pid namespace");
	return 0;
}

/* A time namespace usually belongs to the host's user namespace, so from inside of another it could not be joined any more; one
 * that belongs to the other can be joined from there, too. */
static bool join_time_early(const struct namespace_plan *self)
{
	return self->fds[NAMESPACE_TIME] >= 0 && self->fds[NAMESPACE_USER] >= 0 && setns(self->fds[NAMESPACE_TIME], FLAG_NEWTIME) == 0;
}

/* The pid namespace may belong to the host, or to the user namespace, which alone gives an ordinary user the right. */
static int join_user_and_pid(const struct namespace_plan *self)
{
	int pid_fd = self->fds[NAMESPACE_PID];
	bool is_joined = pid_fd < 0 || setns(pid_fd, CLONE_NEWPID) == 0;

	if (!is_joined && errno != EPERM)
		return -1;
	if (self->fds[NAMESPACE_USER] >= 0 && setns(self->fds[NAMESPACE_USER], CLONE_NEWUSER) < 0)
		return -1;
	return is_joined ? 0 : setns(pid_fd, CLONE_NEWPID);
}

/* The helper's own life: join, make the sibling, tell its pid, end. In the sibling this returns 0. */
static pid_t help(struct namespace_plan *self, int pipe_fd, int cgroup_fd)
{
	struct clone_args args = {.flags = clone_flags(self) | CLONE_PARENT};
	pid_t pid;

	if (cgroup_fd >= 0) {
		args.flags |= KERNEL_CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t) cgroup_fd;
	}
	if (join_time_early(self))
		close(take_fd(&self->fds[NAMESPACE_TIME]));
	if (join_user_and_pid(self) < 0)
		pid = -errno;
	else
		pid = (pid_t) syscall(SYS_clone3, &args, sizeof(args));
	self->is_user_joined = self->fds[NAMESPACE_USER] >= 0;
	if (pid == 0)
		return 0;
	if (pid == -1)
		pid = -errno;
	(void) !write(pipe_fd, &pid, sizeof(pid));
	_exit(0);
}

static pid_t spawn_by_helper(struct namespace_plan *self, int cgroup_fd, struct error *err)
{
	int ends[2];
	pid_t helper, pid = -ECHILD;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	helper = kernel_clone3(0, NULL, -1);
	if (helper == 0)
		return help(self, ends[1], cgroup_fd);
	close(ends[1]);
	if (helper < 0 || fd_read_full(ends[0], &pid, sizeof(pid)) < 0)
		pid = helper < 0 ? -errno : -ECHILD;
	close(ends[0]);
	if (helper > 0)
		(void) waitpid(helper, NULL, 0);
	return pid < 0 ? fail_errno(err, -pid, "make a process in the namespaces") : pid;
}

pid_t namespace_plan_spawn(struct namespace_plan *self, int cgroup_fd, struct error *err)
{
	pid_t pid;

	/* the helper enters by itself: born inside, it would tell its sibling's pid as it is there */
	if (needs_helper(self))
		return spawn_by_helper(self, cgroup_fd, err);
	if (enter_for_children(self, err) < 0)
		return err->code;
	pid = kernel_clone3(clone_flags(self), NULL, cgroup_fd);
	if (pid < 0 && (errno == EPERM || errno == ENOSYS || errno == ENOSPC) && self->is_new[NAMESPACE_USER])
		return fail_errno(err, errno, "make a user namespace (a sysctl, a seccomp filter or a security module of this host or container forbids it)");
	if (pid < 0)
		return fail_errno(err, errno, "make the container's first process");
	if (pid != 0 && restore(self, err) < 0)
		return err->code;
	return pid;
}

int namespace_plan_join(const struct namespace_plan *self, struct error *err)
{
	bool is_time_joined = !self->is_user_joined && join_time_early(self);

	for (int kind = 0; kind < NAMESPACE_COUNT; kind++) {
		if (self->fds[kind] < 0 || kind == NAMESPACE_PID || (kind == NAMESPACE_USER && self->is_user_joined) ||
		    (kind == NAMESPACE_TIME && is_time_joined))
			continue;
		if (setns(self->fds[kind], (int) kinds[kind].flag) < 0)
			return fail_errno(err, errno, "join the %s namespace", kinds[kind].name);
	}
	return 0;
}

int namespace_plan_new_cgroup(const struct namespace_plan *self, struct error *err)
{
	if (self->is_new[NAMESPACE_CGROUP] && unshare(CLONE_NEWCGROUP) < 0)
		return fail_errno(err, errno, "make a cgroup namespace");
	return 0;
}

int namespace_plan_raise_loopback(const struct namespace_plan *self, struct error *err)
{
	struct ifreq request = {.ifr_name = "lo"};
	auto_close int fd = FD_NONE;

	if (!self->is_new[NAMESPACE_NETWORK])
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail_errno(err, errno, "open a socket for the loopback device");
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? fail_errno(err, errno, "raise the loopback device") : 0;
}
