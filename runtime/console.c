/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing here trusts a path of the container: the multiplexer is checked to be devpts' own, and the slave is
 * asked from the master, not looked up.
 */
#include "runtime/console.h"

#include "base/fd_pass.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "runtime/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>

#define PTMX_DEVICE makedev(5, 2)

static int open_multiplexer(int root_fd, int *ret_fd, struct error *err)
{
	auto_close int fd = open_in_root(root_fd, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
	struct stat status;
	struct statfs filesystem;

	if (fd < 0)
		return fail_errno(err, errno, "open /dev/pts/ptmx of the container");
	if (fstat(fd, &status) < 0 || fstatfs(fd, &filesystem) < 0)
		return fail_errno(err, errno, "look at /dev/pts/ptmx of the container");
	if (!S_ISCHR(status.st_mode) || status.st_rdev != PTMX_DEVICE || filesystem.f_type != DEVPTS_SUPER_MAGIC)
		return fail_because(err, EINVAL, "/dev/pts/ptmx of the container is not the terminal multiplexer");
	*ret_fd = take_fd(&fd);
	return 0;
}

static int set_size(int master_fd, const struct spec_console_size *size, struct error *err)
{
	struct winsize window = {0};

	if (size == NULL || size->height.value == 0 || size->width.value == 0)
		return 0;
	window.ws_row = (unsigned short) size->height.value;
	window.ws_col = (unsigned short) size->width.value;
	if (ioctl(master_fd, TIOCSWINSZ, &window) < 0)
		return fail_errno(err, errno, "set the size of the terminal");
	return 0;
}

static int send_master(int socket_fd, int master_fd, struct error *err)
{
	static const char payload[] = "/dev/pts/ptmx";
	ssize_t sent = fd_pass_send(socket_fd, payload, sizeof(payload) - 1, &master_fd, 1);

	return sent < 0 ? fail_errno(err, (int) -sent, "send the terminal to the console socket") : 0;
}

int console_open(int root_fd, int socket_fd, const struct spec_process *process, int *ret_slave_fd, struct error *err)
{
	auto_close int master_fd = FD_NONE;
	auto_close int slave_fd = FD_NONE;
	int is_locked = 0;

	if (open_multiplexer(root_fd, &master_fd, err) < 0)
		return err->code;
	if (ioctl(master_fd, TIOCSPTLCK, &is_locked) < 0)
		return fail_errno(err, errno, "unlock the terminal");
	slave_fd = ioctl(master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave_fd < 0)
		return fail_errno(err, errno, "open the terminal");
	if (fchown(slave_fd, process->user.uid, (gid_t) -1) < 0 && errno != EINVAL && errno != EPERM)
		return fail_errno(err, errno, "set the owner of the terminal");
	if (set_size(master_fd, process->console_size, err) < 0 || send_master(socket_fd, master_fd, err) < 0)
		return err->code;
	*ret_slave_fd = take_fd(&slave_fd);
	return 0;
}

static int open_console_target(int dev_fd, int *ret_fd, struct error *err)
{
	auto_close int made_fd = openat(dev_fd, "console", O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
	auto_close int fd = FD_NONE;
	struct stat status;

	if (made_fd < 0 && errno != EEXIST && errno != EROFS)
		return fail_errno(err, errno, "make /dev/console in the rootfs");
	fd = openat(dev_fd, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0)
		return fail_errno(err, errno, "open /dev/console in the rootfs");
	if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode))
		return fail_because(err, EINVAL, "/dev/console of the rootfs is neither a file nor a device");
	*ret_fd = take_fd(&fd);
	return 0;
}

int console_bind(int root_fd, int slave_fd, struct error *err)
{
	auto_close int dev_fd = FD_NONE;
	auto_close int target_fd = FD_NONE;
	auto_close int tree_fd = FD_NONE;

	/* what is there follows no link: the terminal covers nothing else (CVE-2025-52565) */
	if (mounts_open_target(root_fd, "/dev", true, &dev_fd, err) < 0 || open_console_target(dev_fd, &target_fd, err) < 0 ||
	    mounts_refuse_proc(target_fd, "/dev/console", err) < 0)
		return err->code;
	tree_fd = kernel_open_tree(slave_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (tree_fd < 0 || kernel_move_mount(tree_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "bind the terminal to /dev/console");
	return 0;
}

int console_adopt(int slave_fd, struct error *err)
{
	if (ioctl(slave_fd, TIOCSCTTY, 0) < 0)
		return fail_errno(err, errno, "make the terminal the controlling one");
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave_fd, fd) < 0)
			return fail_errno(err, errno, "use the terminal as descriptor %d", fd);
	return 0;
}

int console_receive(int socket_fd, int *ret_master_fd, struct error *err)
{
	char payload[64];
	int fds[FD_PASS_MAX];
	size_t count = 0;
	ssize_t size = fd_pass_receive(socket_fd, payload, sizeof(payload), fds, &count);

	if (size < 0)
		return fail_errno(err, (int) -size, "receive the terminal");
	if (count != 1) {
		while (count > 0)
			close(fds[--count]);
		return fail_because(err, EPROTO, "the container sent no terminal");
	}
	*ret_master_fd = fds[0];
	return 0;
}
