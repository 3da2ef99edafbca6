/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd_pass.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG     128
#define CONNECT_PATIENCE_S 2

/* Paths that do not fit go through the descriptor of their folder, which *ret_dir_fd keeps alive. */
static int make_address(const char *path, struct sockaddr_un *address, int *ret_dir_fd, struct error *err)
{
	const char *slash = strrchr(path, '/');
	auto_free char *folder = NULL;

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) < sizeof(address->sun_path)) {
		memcpy(address->sun_path, path, strlen(path));
		return 0;
	}
	if (slash == NULL)
		return fail_errno(err, ENAMETOOLONG, "socket '%s'", path);
	folder = strndup(path, (size_t) (slash - path));
	*ret_dir_fd = folder != NULL ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	if (*ret_dir_fd < 0)
		return fail_errno(err, errno, "open folder of socket '%s'", path);
	if (snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", *ret_dir_fd, slash + 1) >=
	    (int) sizeof(address->sun_path))
		return fail_errno(err, ENAMETOOLONG, "socket '%s'", path);
	return 0;
}

static int connect_to(const char *path, int type, int *ret_fd, struct error *err)
{
	const struct timeval patience = {.tv_sec = CONNECT_PATIENCE_S}, none = {.tv_sec = 0};
	auto_close int dir_fd = FD_NONE;
	auto_close int fd = FD_NONE;
	struct sockaddr_un address;
	int r = make_address(path, &address, &dir_fd, err);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type, 0);
	if (fd < 0)
		return fail_errno(err, errno, "make a socket");
	if ((type & SOCK_NONBLOCK) == 0)
		(void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	do {
		r = connect(fd, (struct sockaddr *) &address, sizeof(address));
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return fail_errno(err, errno, "connect to '%s'", path);
	if ((type & SOCK_NONBLOCK) == 0)
		(void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
	*ret_fd = take_fd(&fd);
	return 0;
}

int socket_connect(const char *path, int *ret_fd, struct error *err)
{
	return connect_to(path, SOCK_STREAM | SOCK_CLOEXEC, ret_fd, err);
}

int socket_connect_now(const char *path, int *ret_fd, struct error *err)
{
	return connect_to(path, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, ret_fd, err);
}

static bool is_answered(const char *path)
{
	auto_close int fd = FD_NONE;
	struct error ignored;

	return socket_connect(path, &fd, &ignored) == 0;
}

int socket_listen(const char *path, int *ret_fd, struct error *err)
{
	auto_close int dir_fd = FD_NONE;
	auto_close int fd = FD_NONE;
	struct sockaddr_un address;
	mode_t mask;
	int r = make_address(path, &address, &dir_fd, err);

	if (r < 0)
		return r;
	if (is_answered(path))
		return fail_because(err, EADDRINUSE, "listen at '%s': another process answers there", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail_errno(err, errno, "make a socket");
	(void) unlink(path);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *) &address, sizeof(address));
	(void) umask(mask);
	if (r < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return fail_errno(err, errno, "listen at '%s'", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

static bool peer_credentials(int fd, struct ucred *ret_peer)
{
	socklen_t size = sizeof(*ret_peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &size) == 0;
}

bool socket_peer_is_trusted(int fd)
{
	struct ucred peer;

	return peer_credentials(fd, &peer) && (peer.uid == 0 || peer.uid == geteuid());
}

pid_t socket_peer_pid(int fd)
{
	struct ucred peer;

	return peer_credentials(fd, &peer) ? peer.pid : -1;
}

ssize_t socket_send_now(int socket_fd, const void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t sent = send(socket_fd, (const char *) data + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			break;
		if (sent < 0)
			return -errno;
		done += (size_t) sent;
	}
	return (ssize_t) done;
}

ssize_t fd_pass_send(int socket_fd, const void *data, size_t size, const int *fds, size_t fd_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
		struct cmsghdr align;
	} control = {0};
	struct iovec vector = {.iov_base = (void *) (uintptr_t) data, .iov_len = size};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
	ssize_t sent;

	if (fd_count > FD_PASS_MAX)
		return -EINVAL;
	if (fd_count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);

		struct cmsghdr *header = CMSG_FIRSTHDR(&message);

		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
	}
	do {
		sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

static void take_descriptors(struct msghdr *message, int *ret_fds, size_t *ret_count)
{
	*ret_count = 0;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;

		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
			if (*ret_count < FD_PASS_MAX)
				ret_fds[(*ret_count)++] = fd;
			else
				(void) close(fd);
		}
	}
}

ssize_t fd_pass_receive(int socket_fd, void *data, size_t size, int *ret_fds, size_t *ret_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec vector = {.iov_base = data, .iov_len = size};
	struct msghdr message = {.msg_iov = &vector,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t got;

	*ret_count = 0;
	do {
		got = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	take_descriptors(&message, ret_fds, ret_count);
	return got;
}
