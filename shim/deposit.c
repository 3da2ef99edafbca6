/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/deposit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/store.h"
#include "shim/container.h"
#include "shim/shim.h"

#include <errno.h>
#include <string.h>

#define RETRY_FIRST_NS  (100 * NS_PER_MS)
#define RETRY_LAST_NS   (10 * NS_PER_S)
#define TAKE_TIMEOUT_MS 5000

static void name_end(const struct process *process, int end, char *name, size_t size)
{
	(void) text_fit(name, size, "%d%s", end, process->exec_id);
}

static void forget(struct process *process, int end)
{
	const struct container *container = process->container;
	char name[96];

	name_end(process, end, name, sizeof(name));
	(void) store_send(container->shim->store_source.fd, "drop", container->shim->namespace, container->dir.id, name, FD_NONE);
}

void deposit_everything(struct shim *shim)
{
	for (struct container *container = shim->containers; container != NULL; container = container->next) {
		for (struct process *process = container->processes; process != NULL; process = process->next) {
			for (int end = 0; end < STREAM_ENDS && shim->store_source.fd >= 0; end++)
				(process->ends[end] >= 0 ? deposit_put : forget)(process, end);
		}
	}
}

static void try_connect(struct event_timer *timer)
{
	struct shim *shim = timer->context;
	struct error ignored;
	int fd;

	if (store_connect(shim->root, &fd, &ignored) == 0) {
		/* watched for nothing but its end */
		if (event_loop_add(&shim->loop, &shim->store_source, fd, EPOLLRDHUP, &ignored) == 0) {
			shim->store_retry_ns = 0;
			deposit_everything(shim);
			return;
		}
		owned_fd_release(&fd);
	}
	shim->store_retry_ns = shim->store_retry_ns == 0 ? RETRY_FIRST_NS : shim->store_retry_ns * 2;
	if (shim->store_retry_ns > RETRY_LAST_NS)
		shim->store_retry_ns = RETRY_LAST_NS;
	event_loop_arm(&shim->loop, &shim->store_timer, shim->store_retry_ns);
}

static void lose_store(struct shim *shim)
{
	int fd = shim->store_source.fd;

	event_loop_remove(&shim->loop, &shim->store_source);
	owned_fd_release(&fd);
	event_loop_arm(&shim->loop, &shim->store_timer, RETRY_FIRST_NS);
}

static void handle_store(struct event_source *source, uint32_t events)
{
	(void) events;
	lose_store(source->context);
}

void deposits_init(struct shim *shim)
{
	shim->store_source = (struct event_source){.handle = handle_store, .context = shim, .fd = FD_NONE};
	shim->store_timer = (struct event_timer){.handle = try_connect, .context = shim};
	try_connect(&shim->store_timer);
}

void deposit_put(struct process *process, int end)
{
	struct container *container = process->container;
	struct shim *shim = container->shim;
	char name[96];
	int r;

	if (shim->store_source.fd < 0 || process->ends[end] < 0)
		return;
	name_end(process, end, name, sizeof(name));
	r = store_send(shim->store_source.fd, "put", shim->namespace, container->dir.id, name, process->ends[end]);
	if (r < 0 && r != -EAGAIN)
		lose_store(shim);
	else if (r < 0)
		log_warning("descriptor not deposited", "container=%s name=%s", container->dir.id, name);
}

void deposit_drop(struct process *process, int end)
{
	if (process->container->shim->store_source.fd >= 0 && process->ends[end] >= 0)
		forget(process, end);
}

void deposit_drop_all(struct container *container)
{
	struct shim *shim = container->shim;

	if (shim->store_source.fd >= 0)
		(void) store_send(shim->store_source.fd, "drop", shim->namespace, container->dir.id, "*", FD_NONE);
}

static void take_end(const char *name, int fd, void *context)
{
	struct container *container = context;
	int end = name[0] - '0';
	struct process *process = end >= 0 && end < STREAM_ENDS ? container_find(container, name + 1) : NULL;

	if (process == NULL || process->ends[end] >= 0)
		(void) close(fd); /* of a process that ended meanwhile */
	else
		process->ends[end] = fd;
}

int deposit_take_all(struct container *container, struct error *err)
{
	struct shim *shim = container->shim;

	if (shim->store_source.fd < 0)
		return fail_because(err, ENOTCONN, "no monitor keeps what container '%s' had open", container->dir.id);
	return store_take(shim->store_source.fd, shim->namespace, container->dir.id, TAKE_TIMEOUT_MS, take_end, container, err);
}
