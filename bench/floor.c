/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor ROOTFS PROGRAM: the least that a container costs on this kernel: one clone3 with the namespaces of a default container, its mounts, pivot_root,
 * the program, its end. No cgroup, no configuration, no capabilities, no state. Exits with the program's status.
 */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct mount_entry {
	const char *source, *target, *type;
	unsigned long flags;
	const char *options;
} mounts[] = {
	{"proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"},
	{"devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"},
	{"shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"},
	{"mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL},
};

static void need(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static void enter(const char *rootfs)
{
	need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private mounts");
	need(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), "bind the root");
	need(chdir(rootfs), "go to the root");
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		(void) mkdir(mounts[i].target, 0755);
		need(mount(mounts[i].source, mounts[i].target, mounts[i].type, mounts[i].flags, mounts[i].options), mounts[i].target);
	}
	need((int) syscall(SYS_pivot_root, ".", "."), "pivot_root");
	need(umount2(".", MNT_DETACH), "leave the old root");
	need(sethostname("floor", 5), "set the host name");
}

int main(int argc, char **argv)
{
	struct clone_args args = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS, .exit_signal = SIGCHLD};
	int status = 0;
	pid_t pid;

	if (argc != 3) {
		fputs("usage: floor ROOTFS PROGRAM\n", stderr);
		return 125;
	}
	pid = (pid_t) syscall(SYS_clone3, &args, sizeof(args));
	need(pid < 0, "clone3");
	if (pid == 0) {
		enter(argv[1]);
		execl(argv[2], argv[2], NULL);
		need(-1, argv[2]);
	}
	need(waitpid(pid, &status, 0) != pid, "wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
