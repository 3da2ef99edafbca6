/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network namespace of a container: pinned in its run directory, so that it belongs to no process.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "setup/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESULT_SIZE_MAX (256U << 10)

static int loopback_up(void)
{
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo"};

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	request.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

/* In a child: the namespace is the child's, the mount keeps it when the child is gone. */
static int make_and_pin(const char *path)
{
	int r;

	if (unshare(CLONE_NEWNET) < 0)
		return errno;
	r = loopback_up();
	if (r < 0)
		return -r;
	return mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0 ? errno : 0;
}

static int pin_namespace(struct run_dir *dir, const char *path, struct error *err)
{
	auto_close int fd = openat(dir->fd, "netns", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	pid_t pid;
	int status;

	if (fd < 0)
		return fail_errno(err, errno, "make '%s'", path);
	pid = fork();
	if (pid == 0)
		_exit(make_and_pin(path));
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return fail_errno(err, errno, "make a network namespace");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return fail_errno(err, WIFEXITED(status) ? WEXITSTATUS(status) : EIO, "make a network namespace at '%s'", path);
	return 0;
}

static bool needs_plugins(const Hydra__V1__Network *network)
{
	return strcmp(network->mode, "none") != 0 && strcmp(network->mode, "host") != 0;
}

static char *container_name(const record *container)
{
	return text_format("%s-%s", container->namespace_, container->id);
}

static int connect_network(struct run_dir *dir, record *container, enum cni_part part, struct error *err)
{
	Hydra__V1__Network *network = container->network;
	auto_free char *name = container_name(container);
	auto_free char *result = NULL;
	struct cni_call call = {.command = "ADD",
				.network = network->mode,
				.container_id = name,
				.netns_path = network->netns_path,
				.ip = network->ip,
				.mac = network->mac,
				.ports = network,
				.part = part};
	int r = cni_run(&call, &result, err);

	if (r == 0)
		r = file_replace(dir->fd, "network.json", result, strlen(result), 0600, err);
	return r < 0 ? r : cni_read_result(result, network, err);
}

static int add(struct run_dir *dir, record *container, enum cni_part part, struct error *err)
{
	Hydra__V1__Network *network = container->network;
	auto_free char *path = run_dir_path(dir, "netns");
	int r;

	if (strcmp(network->mode, "host") == 0)
		return 0;
	r = pin_namespace(dir, path, err);
	if (r == 0 && !message_set_string(&network->netns_path, path))
		r = fail_errno(err, ENOMEM, "make a network namespace");
	if (r == 0 && needs_plugins(network))
		r = connect_network(dir, container, part, err);
	return r;
}

int network_add(struct run_dir *dir, record *container, struct error *err)
{
	int r = ports_check(dir, container, err);

	return r == 0 ? add(dir, container, CNI_ALL, err) : r;
}

int network_add_unpublished(struct run_dir *dir, record *container, struct error *err)
{
	int r = ports_check(dir, container, err);

	return r == 0 ? add(dir, container, CNI_WITHOUT_PORTS, err) : r;
}

int network_publish(struct run_dir *dir, const record *container, struct error *err)
{
	const Hydra__V1__Network *network = container->network;
	auto_free char *name = container_name(container);
	auto_free char *previous = NULL;
	auto_free char *result = NULL;
	struct cni_call call = {.command = "ADD", .network = network->mode, .container_id = name, .netns_path = network->netns_path,
				.ip = network->ip, .mac = network->mac, .ports = network, .part = CNI_PORTS_ONLY};
	int r = network->n_ports > 0 ? file_read(dir->fd, "network.json", RESULT_SIZE_MAX, &previous, NULL, err) : 0;

	if (r < 0 || network->n_ports == 0)
		return r;
	call.previous = previous;
	return cni_run(&call, &result, err);
}

int network_remove(struct run_dir *dir, const record *container, struct error *err)
{
	const Hydra__V1__Network *network = container->network;
	auto_free char *path = run_dir_path(dir, "netns");
	auto_free char *name = container_name(container);
	auto_free char *previous = NULL;
	auto_free char *result = NULL;
	struct error ignored;
	int r = 0;

	if (network != NULL && needs_plugins(network) && path_exists(dir->fd, "netns")) {
		struct cni_call call = {.command = "DEL",
					.network = network->mode,
					.container_id = name,
					.netns_path = path,
					.ip = network->ip,
					.mac = network->mac,
					.ports = network};

		if (file_read(dir->fd, "network.json", RESULT_SIZE_MAX, &previous, NULL, &ignored) == 0)
			call.previous = previous;
		r = cni_run(&call, &result, err);
		/* a configuration that is gone, or never was: with the namespace goes all but its address */
		if (r == -ENOENT)
			r = 0;
	}
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	return r;
}
