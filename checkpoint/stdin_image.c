/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/stdin_image.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/metadata.h"

#define STDIN_IMAGE "stdin.img"
#define STDIN_MAX   (64U << 20)

/* tee() copies without taking. *ret_size of *ret_data, which is the caller's. */
static int copy_of(int fd, size_t size, char **ret_data, size_t *ret_size, struct error *err)
{
	auto_close int from = FD_NONE, to = FD_NONE;
	auto_free char *data = malloc(size);
	int ends[2];
	ssize_t copied;
	int r;

	if (data == NULL || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail_errno(err, ENOMEM, "copy standard input");
	from = ends[0];
	to = ends[1];
	(void) fcntl(to, F_SETPIPE_SZ, fcntl(fd, F_GETPIPE_SZ)); /* as many buffers as are in use there */
	copied = tee(fd, to, size, SPLICE_F_NONBLOCK);
	if (copied < 0)
		return fail_errno(err, errno, "copy standard input");
	r = fd_read_full(from, data, (size_t) copied);
	if (r < 0)
		return fail_errno(err, -r, "copy standard input");
	*ret_data = take_ptr(&data);
	*ret_size = (size_t) copied;
	return 0;
}

static int save_bytes(int fd, int images_fd, struct error *err)
{
	auto_free char *data = NULL;
	size_t size = 0;
	int waiting = 0;
	int r = ioctl(fd, FIONREAD, &waiting) < 0 || waiting <= 0 ? 0 : copy_of(fd, (size_t) waiting, &data, &size, err);

	if (r == 0 && size < (size_t) waiting)
		return fail_because(err, EIO, "copy standard input: %zu of %d bytes came", size, waiting);
	return r < 0 || size == 0 ? r : file_replace_fast(images_fd, STDIN_IMAGE, data, size, 0600, err);
}

int stdin_image_save(Hydra__V1__CheckpointMetadata *metadata, pid_t init, int images_fd, struct error *err)
{
	auto_free char *path = text_format("/proc/%d/fd/0", (int) init);
	auto_close int fd = FD_NONE;
	struct pollfd state = {.events = POLLIN};
	bool was_closed = metadata->stdin_is_closed;
	int r;

	if (metadata->n_stdio < 1 || metadata->stdio[0][0] == '\0')
		return 0;
	fd = state.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return 0; /* it has closed it */
	r = save_bytes(fd, images_fd, err);
	metadata->stdin_is_closed = poll(&state, 1, 0) > 0 && (state.revents & POLLHUP) != 0;
	return r == 0 && metadata->stdin_is_closed != was_closed ? metadata_write(metadata, images_fd, err) : r;
}

int stdin_image_feed(int images_fd, int stdin_fd, struct error *err)
{
	auto_free char *path = text_format("/proc/self/fd/%d", stdin_fd);
	auto_free char *data = NULL;
	auto_close int fd = FD_NONE;
	size_t size;
	int r = file_read(images_fd, STDIN_IMAGE, STDIN_MAX, &data, &size, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(err, errno, "put back standard input");
	if ((size_t) fcntl(fd, F_GETPIPE_SZ) < size)
		(void) fcntl(fd, F_SETPIPE_SZ, (int) size);
	r = fd_write_full(fd, data, size);
	return r < 0 ? fail_errno(err, -r, "put back standard input") : 0;
}
