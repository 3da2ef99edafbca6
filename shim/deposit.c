/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/deposit.h"

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
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

void deposit_everything(struct shim *shim)
{
	for (struct container *container = shim->containers; container != NULL; container = container->next) {
		for (struct process *process = container->processes; process != NULL; process = process->next) {
			for (int end = 0; end < STREAM_ENDS; end++)
				deposit_put(process, end);
		}
	}
}

/* The monitor does not see itself go. */
static void say_hello(struct shim *shim)
{
	char lost[24];

	(void) text_fit(lost, sizeof(lost), "%llu", (unsigned long long) shim->store_lost_ns);
	for (struct container *container = shim->containers; container != NULL; container = container->next)
		(void) store_send(shim->store_source.fd, "hello", shim->namespace, container->dir.id, lost, FD_NONE);
	shim->store_lost_ns = 0;
}

/* why "": the monitor keeps everything, or there is none. */
static void note_protection(struct container *container, const char *why)
{
	struct error err;

	if (strcmp(container->record->unprotected, why) == 0 || !message_set_string(&container->record->unprotected, why))
		return;
	container_note(container, why[0] != '\0' ? "unprotected" : "protected", NULL, why);
	if (container_save(container, &err) < 0)
		log_error("record not saved", "container=%s error=\"%s\"", container->dir.id, err.message);
}

static void deposit_again(struct shim *shim)
{
	for (struct container *container = shim->containers; container != NULL; container = container->next)
		note_protection(container, "");
	deposit_everything(shim);
}

static void try_connect(struct event_timer *timer)
{
	struct shim *shim = timer->context;
	struct error ignored;
	int fd;

	if (store_connect(shim->root, &fd, &ignored) == 0) {
		if (event_loop_add(&shim->loop, &shim->store_source, fd, EPOLLIN | EPOLLRDHUP, &ignored) == 0) {
			shim->store_retry_ns = 0;
			say_hello(shim);
			deposit_again(shim);
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
	if (shim->store_lost_ns == 0)
		shim->store_lost_ns = clock_boottime_ns();
	event_loop_arm(&shim->loop, &shim->store_timer, RETRY_FIRST_NS);
}

/* "refused NAMESPACE ID WHY" or "room". */
static void hear(struct shim *shim, const struct store_request *said)
{
	if (strcmp(said->verb, "room") == 0)
		deposit_again(shim);
	for (struct container *container = shim->containers; container != NULL && strcmp(said->verb, "refused") == 0;
	     container = container->next) {
		if (strcmp(container->dir.id, said->id) == 0)
			note_protection(container, said->name);
	}
}

static void handle_store(struct event_source *source, uint32_t events)
{
	struct shim *shim = source->context;
	struct store_request said;
	int fds[FD_PASS_MAX];
	size_t count = 0;
	ssize_t size;

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		lose_store(shim);
		return;
	}
	size = fd_pass_receive(source->fd, said.text, sizeof(said.text), fds, &count);
	while (count > 0)
		(void) close(fds[--count]);
	if (size > 0 && store_request_parse(&said, (size_t) size))
		hear(shim, &said);
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
	struct container *container = process->container;
	struct shim *shim = container->shim;
	char name[96];

	if (shim->store_source.fd < 0 || process->ends[end] < 0)
		return;
	name_end(process, end, name, sizeof(name));
	(void) store_send(shim->store_source.fd, "drop", shim->namespace, container->dir.id, name, FD_NONE);
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
	note_protection(container, ""); /* what is refused now is said again */
	return store_take(shim->store_source.fd, shim->namespace, container->dir.id, TAKE_TIMEOUT_MS, take_end, container, err);
}
