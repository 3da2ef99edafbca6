/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identity, privileges and limits of a container's process, in the order in which they can be given up.
 */
#include "runtime/process.h"

#include "base/file.h"
#include "base/kernel.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/capabilities.h"
#include "runtime/memory_policy.h"
#include "runtime/process_program.h"
#include "runtime/process_schedule.h"
#include "runtime/procfs.h"
#include "runtime/rlimits.h"
#include "runtime/standing.h"
#include "runtime/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

static int join_keyring(const char *name, struct error *err)
{
	if (name == NULL || syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) >= 0 || errno == ENOSYS)
		return 0;
	return fail_errno(err, errno, "make a session keyring (--no-new-keyring leaves it out)");
}

static const struct {
	const char *name;
	unsigned long number;
} domains[] = {{"LINUX", PER_LINUX}, {"LINUX32", PER_LINUX32}};

static int find_domain(const char *name)
{
	for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++)
		if (strcmp(name, domains[i].name) == 0)
			return (int) i;
	return -EINVAL;
}

int process_check_personality(const struct spec_personality *wanted, struct error *err)
{
	if (wanted == NULL)
		return 0;
	if (find_domain(wanted->domain) < 0)
		return fail_because(err, EINVAL, "linux.personality.domain: unknown domain '%s'", wanted->domain);
	if (wanted->flags.count > 0)
		return fail_because(err, EINVAL, "linux.personality.flags[0]: unknown flag '%s'", wanted->flags.items[0]);
	return 0;
}

static int set_personality(const struct spec_personality *wanted, struct error *err)
{
	if (wanted == NULL)
		return 0;
	if (process_check_personality(wanted, err) < 0)
		return err->code;
	return personality(domains[find_domain(wanted->domain)].number) < 0 ? fail_errno(err, errno, "set the personality") : 0;
}

int process_open_labels(struct process_context *self, struct error *err)
{
	const char *profile = self->process->apparmor_profile, *label = self->process->selinux_label;

	self->apparmor_fd = self->selinux_fd = FD_NONE;
	if (profile != NULL && profile[0] != '\0' &&
	    procfs_open("thread-self/attr/apparmor/exec", PROCFS_NO_MOUNTS, &self->apparmor_fd, err) < 0 &&
	    (err->code != -ENOENT || procfs_open("thread-self/attr/exec", PROCFS_NO_MOUNTS, &self->apparmor_fd, err) < 0))
		return fail_while(err, "process.apparmorProfile: set the AppArmor profile");
	if (label != NULL && label[0] != '\0' &&
	    procfs_open("thread-self/attr/exec", PROCFS_NO_MOUNTS, &self->selinux_fd, err) < 0)
		return fail_while(err, "set the SELinux label");
	*err = ERROR_NONE;
	return 0;
}

static int set_labels(struct process_context *self, struct error *err)
{
	auto_close int apparmor_fd = take_fd(&self->apparmor_fd);
	auto_close int selinux_fd = take_fd(&self->selinux_fd);
	auto_free char *profile = NULL;

	if (apparmor_fd >= 0) {
		profile = text_format("exec %s", self->process->apparmor_profile);
		if (procfs_write(apparmor_fd, profile, err) < 0)
			return fail_while(err, "process.apparmorProfile: set the AppArmor profile");
	}
	if (selinux_fd >= 0 && procfs_write(selinux_fd, self->process->selinux_label, err) < 0)
		return fail_while(err, "set the SELinux label");
	return 0;
}

static int check_label(const char *field, const char *label, const char *file, const char *module, struct error *err)
{
	if (label == NULL || label[0] == '\0' || path_exists(AT_FDCWD, file))
		return 0;
	return fail_because(err, ENOTSUP, "%s: not supported by this kernel (it has no %s)", field, module);
}

int process_check_labels(const struct spec_process *process, const char *mount_label, struct error *err)
{
	if (check_label("process.apparmorProfile", process->apparmor_profile, "/sys/module/apparmor", "AppArmor", err) < 0 ||
	    check_label("process.selinuxLabel", process->selinux_label, "/sys/fs/selinux/enforce", "SELinux", err) < 0)
		return err->code;
	return check_label("linux.mountLabel", mount_label, "/sys/fs/selinux/enforce", "SELinux", err);
}

static int install_seccomp(const struct process_context *self, struct error *err)
{
	auto_close int listener_fd = FD_NONE;

	if (seccomp_install(self->seccomp, &listener_fd, err) < 0)
		return err->code;
	if (listener_fd < 0)
		return 0;
	if (sync_send(self->report_fd, MESSAGE_LISTENER, 0, &listener_fd, 1, err) < 0)
		return err->code;
	return sync_expect(self->report_fd, MESSAGE_HOOKS_DONE, NULL, NULL, NULL, err);
}

static bool has_listener(const struct process_context *self)
{
	return (self->seccomp->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0;
}

static int set_groups(const struct process_context *self, struct error *err)
{
	const struct spec_user *user = &self->process->user;
	gid_t *groups = user->additional_gids.items; /* gid_t is uint32_t */

	if (self->keeps_groups || setgroups(user->additional_gids.count, groups) == 0)
		return 0;
	/* a user namespace of an ordinary user forbids the call; without groups nothing is lost */
	if (errno == EPERM && user->additional_gids.count == 0)
		return 0;
	return fail_errno(err, errno, "set the additional groups");
}

static int change_user(const struct process_context *self, struct error *err)
{
	const struct spec_user *user = &self->process->user;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return fail_errno(err, errno, "keep capabilities");
	if (set_groups(self, err) < 0)
		return err->code;
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return fail_errno(err, errno, "change to group %u", user->gid);
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return fail_errno(err, errno, "change to user %u", user->uid);
	(void) umask(user->umask.is_set ? (mode_t) user->umask.value : 022);
	return 0;
}

/* A working directory inherited from outside would lead out of the container (CVE-2024-21626). */
static int check_folder(struct error *err)
{
	char path[PATH_MAX];

	if (getcwd(path, sizeof(path)) == NULL)
		return errno == ENOENT ? fail_because(err, EPERM, "the working directory is outside of the container")
				       : fail_errno(err, errno, "look at the working directory");
	if (path[0] != '/')
		return fail_because(err, EPERM, "the working directory is outside of the container");
	return 0;
}

static int enter_and_change_user(const struct process_context *self, struct error *err)
{
	const struct spec_process *process = self->process;
	/* some folders only root may enter, others (on NFS or FUSE) only the user */
	bool has_entered = chdir(process->cwd) == 0;

	if (change_user(self, err) < 0)
		return err->code;
	if (!has_entered && chdir(process->cwd) < 0)
		return fail_errno(err, errno, "chdir to cwd '%s'", process->cwd);
	return check_folder(err);
}

/* The host's /dev/null as standard stream would be a file of a mount that the container does not have: nobody could
 * checkpoint it. The container's own is the same device. */
static void use_own_null(void)
{
	struct stat ours, theirs;
	auto_close int fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &ours) < 0 || !S_ISCHR(ours.st_mode) || ours.st_rdev != makedev(1, 3))
		return;
	for (int number = 0; number < 3; number++) {
		if (fstat(number, &theirs) == 0 && S_ISCHR(theirs.st_mode) && theirs.st_rdev == ours.st_rdev)
			(void) dup2(fd, number);
	}
}

int process_prepare(struct process_context *self, struct error *err)
{
	const struct spec_process *process = self->process;
	struct capability_sets capabilities = capability_sets_parse(process->capabilities);

	use_own_null();
	if (join_keyring(self->keyring, err) < 0 ||
	    set_personality(self->personality, err) < 0 || memory_policy_apply(self->memory_policy, err) < 0 ||
	    process_schedule(process, err) < 0 || set_labels(self, err) < 0)
		return err->code;
	if (process->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail_errno(err, errno, "set no_new_privs");
	/* without no_new_privs only the still privileged may install a filter */
	if (!process->no_new_privileges && install_seccomp(self, err) < 0)
		return err->code;
	if (process->capabilities != NULL && capability_sets_limit(&capabilities, err) < 0)
		return err->code;
	if (enter_and_change_user(self, err) < 0)
		return err->code;
	if (process->capabilities != NULL && capability_sets_apply(&capabilities, err) < 0)
		return err->code;
	if (process_build_environment(process, self->listen_fds, &self->environment, err) < 0)
		return err->code;
	if (process_find_program(process, &self->program, err) < 0)
		return err->code;
	/* the listener is handed over while the command is still there */
	return has_listener(self) && process->no_new_privileges ? install_seccomp(self, err) : 0;
}

int process_enter_filter(struct process_context *self, struct error *err)
{
	if (!self->process->no_new_privileges || has_listener(self) || self->is_filtered)
		return 0;
	self->is_filtered = true;
	return install_seccomp(self, err);
}

int process_execute(struct process_context *self, struct error *err)
{
	if (process_enter_filter(self, err) < 0)
		return err->code;
	if (kernel_close_range((unsigned int) (3 + self->preserved_fds), ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return fail_errno(err, errno, "close descriptors");
	/* execve does not write to these, its prototype is older than const */
	(void) execve(self->program, (char *const *) (uintptr_t) self->process->args.items, self->environment);
	/* as the other messages about programs that cannot be found, which callers look for */
	return errno == ENOENT ? fail_because(err, ENOENT, "exec %s: no such file or directory", self->program)
			       : fail_errno(err, errno, "exec %s", self->program);
}

static int activation_fds(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *count = getenv("LISTEN_FDS");
	int number = 0;

	/* without a pid they are meant for whoever reads this, as for crun */
	if (count == NULL || (pid != NULL && (number_parse_int(pid, 1, INT_MAX, &number) < 0 || number != getpid())))
		return 0;
	return number_parse_int(count, 0, 1024, &number) < 0 ? 0 : number;
}

int process_keep_fds(int preserved_fds, int *ret_listen_fds, struct error *err)
{
	int listen_fds = activation_fds();
	bool has_one = preserved_fds == 0;

	if (preserved_fds < 0)
		return fail_because(err, EINVAL, "option --preserve-fds: must not be negative");
	for (int fd = 3; fd < 3 + listen_fds + preserved_fds; fd++) {
		int flags = fcntl(fd, F_GETFD);

		has_one |= flags >= 0 && fd >= 3 + listen_fds;
		if (flags >= 0 && fcntl(fd, F_SETFD, 0) < 0)
			return fail_errno(err, errno, "keep descriptor %d", fd);
	}
	if (!has_one)
		return fail_because(err, EBADF, "option --preserve-fds: descriptor %d (preserved-fd %d) is not open", 3 + listen_fds, listen_fds);
	if (kernel_close_range((unsigned int) (3 + listen_fds + preserved_fds), ~0U, 0) < 0)
		return fail_errno(err, errno, "close inherited descriptors");
	*ret_listen_fds = listen_fds;
	return 0;
}

int process_set_limits(const struct spec_process *process, pid_t pid, struct error *err)
{
	char path[64], text[16];

	if (rlimits_apply(process, pid, err) < 0)
		return err->code;
	if (!process->oom_score_adjust.is_set)
		return 0;
	(void) text_fit(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	(void) text_fit(text, sizeof(text), "%d", (int) process->oom_score_adjust.value);
	/* lower than the caller's own may be only what root has made so */
	if (file_set(AT_FDCWD, path, text, err) == -EACCES && standing_is_rootless())
		*err = ERROR_NONE;
	return err->code;
}
