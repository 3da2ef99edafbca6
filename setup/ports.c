/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published ports: of two containers that want the same one only the first would ever be reached, so the second is refused.
 */
#include "base/owned.h"
#include "base/text.h"
#include "setup/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct search {
	const char *root;
	const record *container;
	struct error *err;
	bool is_taken;
};

static bool overlaps(const Hydra__V1__PublishedPort *one, const Hydra__V1__PublishedPort *other)
{
	bool has_same_address = one->host_ip[0] == '\0' || other->host_ip[0] == '\0' || strcmp(one->host_ip, other->host_ip) == 0;

	return has_same_address && one->host_port == other->host_port && strcmp(one->protocol, other->protocol) == 0;
}

static bool compare(const record *other, struct search *self)
{
	const Hydra__V1__Network *ours = self->container->network, *theirs = other->network;

	for (size_t i = 0; theirs != NULL && i < theirs->n_ports * ours->n_ports; i++) {
		const Hydra__V1__PublishedPort *port = ours->ports[i % ours->n_ports];

		if (!overlaps(port, theirs->ports[i / ours->n_ports]))
			continue;
		(void) fail_because(self->err, EADDRINUSE, "port %u/%s of this host is published by container '%s' already", port->host_port,
				    port->protocol, other->id);
		return false;
	}
	return true;
}

static bool look_at(const char *namespace, const char *id, void *context)
{
	struct search *self = context;
	auto_free char *path = text_format("%s/%s/%s", self->root, namespace, id);
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_record *other = NULL;
	struct error ignored;

	if (strcmp(id, self->container->id) == 0 && strcmp(namespace, self->container->namespace_) == 0)
		return true;
	if (fd < 0 || record_load(fd, &other, &ignored) < 0)
		return true;
	self->is_taken = !compare(other, self);
	return !self->is_taken;
}

int ports_check(const struct run_dir *dir, const record *container, struct error *err)
{
	auto_free char *root = text_copy(dir->path); /* <root>/<namespace>/<id> */
	struct search search = {.root = root, .container = container, .err = err};
	struct error ignored;

	if (container->network == NULL || container->network->n_ports == 0)
		return 0;
	for (int level = 0; level < 2; level++) {
		char *slash = strrchr(root, '/');

		if (slash == NULL)
			return 0;
		*slash = '\0';
	}
	(void) run_dir_visit(root, NULL, look_at, &search, &ignored);
	return search.is_taken ? -EADDRINUSE : 0;
}
