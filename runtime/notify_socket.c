/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/notify_socket.h"

#include "base/kernel.h"
#include "base/notify.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define FOLDER       "notify"
#define SOCKET       "notify"
#define MESSAGE_SIZE 4096

/* One in the abstract namespace cannot be mounted. */
static const char *manager_socket(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path != NULL && path[0] == '/' && path[1] != '\0' ? path : NULL;
}

static void add_mount(struct spec *spec, const char *source, const char *destination)
{
	static const char *options[] = {"bind", "ro", "nosuid", "nodev", "noexec", NULL};
	struct spec_mount *items = arena_allocate(&spec->arena, (spec->mounts.count + 2) * sizeof(*items));

	if (spec->mounts.count > 0)
		memcpy(items, spec->mounts.items, spec->mounts.count * sizeof(*items));
	items[spec->mounts.count++] = (struct spec_mount){.destination = destination, .type = "bind", .source = source,
							  .options = {.items = options, .count = sizeof(options) / sizeof(options[0]) - 1}};
	spec->mounts.items = items;
}

static void add_variable(struct spec *spec, const char *text)
{
	struct json_strings *env = &spec->process->env;
	const char **items = arena_allocate(&spec->arena, (env->count + 2) * sizeof(*items));

	if (env->count > 0)
		memcpy(items, env->items, env->count * sizeof(*items));
	items[env->count++] = text;
	env->items = items;
}

int notify_socket_add_again(struct spec *spec, const struct container *container, struct error *err)
{
	const char *path = manager_socket();

	if (mkdirat(container->dir_fd, FOLDER, 0755) < 0 && errno != EEXIST)
		return fail_errno(err, errno, "make a folder for $NOTIFY_SOCKET");
	if (path == NULL)
		return 0;
	add_mount(spec, arena_format(&spec->arena, "%s/" FOLDER, container->dir), arena_format(&spec->arena, "%s", path));
	add_variable(spec, arena_format(&spec->arena, "NOTIFY_SOCKET=%s/" SOCKET, path));
	return 0;
}

int notify_socket_add(struct spec *spec, const struct container *container, struct error *err)
{
	return manager_socket() != NULL ? notify_socket_add_again(spec, container, err) : 0;
}

int notify_socket_open(const struct container *container, int *ret_fd, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_close int folder_fd = openat(container->dir_fd, FOLDER, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int fd = FD_NONE;

	if (manager_socket() == NULL || folder_fd < 0)
		return 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void) unlinkat(folder_fd, SOCKET, 0);
	(void) text_fit(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" SOCKET, folder_fd);
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || fchmodat(folder_fd, SOCKET, 0777, 0) < 0)
		return fail_errno(err, errno, "make the socket for $NOTIFY_SOCKET");
	*ret_fd = take_fd(&fd);
	return 0;
}

static bool says_ready(char *message)
{
	char *rest = NULL;

	for (char *line = strtok_r(message, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		if (strcmp(line, "READY=1") == 0)
			return true;
	return false;
}

/* Descriptors that come along are closed by the kernel, for there is no room for them. */
bool notify_socket_take(int fd)
{
	char message[MESSAGE_SIZE];
	ssize_t size = recv(fd, message, sizeof(message) - 1, MSG_DONTWAIT);

	if (size < 0)
		return false;
	message[size] = '\0';
	if (!says_ready(message))
		return false;
	notify("READY=1");
	return true;
}

int notify_socket_await(int fd, pid_t init, struct error *err)
{
	auto_close int init_fd = kernel_pidfd_open(init, 0);
	struct pollfd events[] = {{.fd = fd, .events = POLLIN}, {.fd = init_fd, .events = POLLIN}};
	char line[32];

	if (init_fd < 0)
		return errno == ESRCH ? 0 : fail_errno(err, errno, "watch the container");
	for (;;) {
		if (poll(events, 2, -1) < 0 && errno != EINTR)
			return fail_errno(err, errno, "wait for the container to be ready");
		if ((events[0].revents & POLLIN) != 0 && notify_socket_take(fd))
			break;
		if (events[0].revents == 0 && events[1].revents != 0)
			return 0;
	}
	(void) text_fit(line, sizeof(line), "MAINPID=%d", init);
	notify(line);
	return 0;
}
