/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/deposit.h"

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/log.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/store.h"
#include "shim/calls.h"
#include "shim/client.h"
#include "shim/container.h"
#include "shim/feed.h"
#include "shim/fifo.h"
#include "shim/shim.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#define RETRY_FIRST_NS  (100 * NS_PER_MS)
#define RETRY_LAST_NS   (10 * NS_PER_S)
#define TAKE_TIMEOUT_MS 5000

/* It is told everything anew soon. */
static void lose_store(struct shim *shim)
{
	int fd = shim->store_source.fd;

	event_loop_remove(&shim->loop, &shim->store_source);
	owned_fd_release(&fd);
	if (shim->store_lost_ns == 0)
		shim->store_lost_ns = clock_boottime_ns();
	for (struct container *container = shim->containers; container != NULL; container = container->next) {
		for (struct process *process = container->processes; process != NULL; process = process->next)
			process_hear_end(process, NULL);
	}
	event_loop_arm(&shim->loop, &shim->store_timer, RETRY_FIRST_NS);
}

/* Names begin with a digit, the end; with 'f', the feed; or with 'a' and two digits, the place of a client; the exec id follows.
 * 'p' is the process itself, as a pidfd, the exec id follows. 'F' and a digit are one of containerd's FIFOs, the exec id follows as well.
 * The container's are "u" with the number of a userfaultfd, and "U", the socket to the pager.
 * The server's are STORE_LISTENER, "q", the calls, and "k" with the number of a connection. */
#define NAME_MAX_SIZE 96

bool deposits_are_taken(const struct shim *shim)
{
	return shim->store_source.fd >= 0;
}

static void put_for(struct container *container, const char *name, int fd)
{
	struct shim *shim = container->shim;
	int r;

	if (!deposits_are_taken(shim) || fd < 0)
		return;
	r = store_send(shim->store_source.fd, "put", shim->namespace, container->dir.id, name, fd);
	if (r < 0)
		lose_store(shim);
}

static void drop_for(struct container *container, const char *name)
{
	struct shim *shim = container->shim;

	if (deposits_are_taken(shim) && store_send(shim->store_source.fd, "drop", shim->namespace, container->dir.id, name, FD_NONE) < 0)
		lose_store(shim);
}

static void put(struct process *process, const char *name, int fd)
{
	put_for(process->container, name, fd);
}

static void drop(struct process *process, const char *name)
{
	drop_for(process->container, name);
}

void deposit_put_calls(struct shim *shim)
{
	if (shim_container(shim) != NULL)
		put_for(shim_container(shim), "q", shim->calls_fd);
}

void deposit_put_connection(struct shim *shim, unsigned number, int fd)
{
	char name[NAME_MAX_SIZE];

	(void) text_fit(name, sizeof(name), "k%u", number);
	if (shim_container(shim) != NULL)
		put_for(shim_container(shim), name, fd);
}

void deposit_drop_connection(struct shim *shim, unsigned number)
{
	char name[NAME_MAX_SIZE];

	(void) text_fit(name, sizeof(name), "k%u", number);
	if (shim_container(shim) != NULL)
		drop_for(shim_container(shim), name);
}

static void deposit_server(struct shim *shim)
{
	if (shim_container(shim) == NULL)
		return;
	put_for(shim_container(shim), STORE_LISTENER, shim->listen_fd);
	calls_deposit(shim);
}

static void deposit_kept_fifos(struct container *container)
{
	char name[NAME_MAX_SIZE];

	for (int number = 0; number < FIFO_COUNT; number++) {
		(void) text_fit(name, sizeof(name), "F%d", number);
		put_for(container, name, fifos_kept_fd(container, number));
	}
}

void deposit_everything(struct shim *shim)
{
	deposit_server(shim);
	for (struct container *container = shim->containers; container != NULL; container = container->next) {
		deposit_kept_fifos(container);
		for (struct process *process = container->processes; process != NULL; process = process->next) {
			for (int end = 0; end < STREAM_ENDS; end++)
				deposit_put(process, end);
			deposit_put_pidfd(process);
			for (int number = 0; number < FIFO_COUNT; number++)
				deposit_put_fifo(process, number);
			clients_deposit(process);
		}
		keeper_deposit(container);
		if (deposits_are_taken(shim))
			(void) store_send(shim->store_source.fd, "only", shim->namespace, container->dir.id, NULL, FD_NONE);
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

static void hear_end(struct container *container, const struct store_request *said)
{
	struct store_end end;

	if (!store_end_parse(said->name, &end))
		return;
	for (struct process *process = container->processes; process != NULL; process = process->next) {
		if (process->pid == end.pid)
			process_hear_end(process, &end);
	}
}

/* "refused NAMESPACE ID WHY", "status NAMESPACE ID END" or "room". */
static void hear(struct shim *shim, const struct store_request *said)
{
	if (strcmp(said->verb, "status") == 0 && shim_container(shim) != NULL)
		hear_end(shim_container(shim), said);
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
	char name[NAME_MAX_SIZE];

	(void) text_fit(name, sizeof(name), "%d%s", end, process->exec_id);
	put(process, name, process->ends[end]);
}

void deposit_drop(struct process *process, int end)
{
	char name[NAME_MAX_SIZE];

	if (process->ends[end] < 0)
		return;
	(void) text_fit(name, sizeof(name), "%d%s", end, process->exec_id);
	drop(process, name);
}

void deposit_put_pidfd(struct process *process)
{
	char name[NAME_MAX_SIZE];

	(void) text_fit(name, sizeof(name), "p%s", process->exec_id);
	put(process, name, process->pidfd);
}

void deposit_drop_pidfd(struct process *process)
{
	char name[NAME_MAX_SIZE];

	if (process->pidfd < 0)
		return;
	(void) text_fit(name, sizeof(name), "p%s", process->exec_id);
	drop(process, name);
}

void deposit_put_fifo(struct process *process, int number)
{
	char name[NAME_MAX_SIZE];

	(void) text_fit(name, sizeof(name), "F%d%s", number, process->exec_id);
	put(process, name, fifos_fd(process, number));
}

void deposit_drop_fifo(struct process *process, int number)
{
	char name[NAME_MAX_SIZE];

	if (fifos_fd(process, number) < 0)
		return;
	(void) text_fit(name, sizeof(name), "F%d%s", number, process->exec_id);
	drop(process, name);
}

void deposit_put_feed(struct process *process)
{
	char name[NAME_MAX_SIZE];

	(void) text_fit(name, sizeof(name), "f%s", process->exec_id);
	put(process, name, feed_fd(process->feed));
}

void deposit_drop_feed(struct process *process)
{
	char name[NAME_MAX_SIZE];

	(void) text_fit(name, sizeof(name), "f%s", process->exec_id);
	drop(process, name);
}

void deposit_put_client(struct process *process, int place, int fd)
{
	char name[NAME_MAX_SIZE];

	(void) text_fit(name, sizeof(name), "a%02d%s", place, process->exec_id);
	put(process, name, fd);
}

void deposit_drop_client(struct process *process, int place)
{
	char name[NAME_MAX_SIZE];

	(void) text_fit(name, sizeof(name), "a%02d%s", place, process->exec_id);
	drop(process, name);
}

bool deposit_ask_end(struct process *process)
{
	struct shim *shim = process->container->shim;
	const struct store_end end = {.pid = process->pid, .start_time = process->start_time, .wait_status = STORE_END_UNKNOWN};
	char text[STORE_END_SIZE];

	store_end_print(&end, text);
	return deposits_are_taken(shim) &&
	       store_send(shim->store_source.fd, "ended", shim->namespace, process->container->dir.id, text, FD_NONE) == 0;
}

void deposit_drop_all(struct container *container)
{
	struct shim *shim = container->shim;

	if (shim->store_source.fd >= 0)
		(void) store_send(shim->store_source.fd, "drop", shim->namespace, container->dir.id, "*", FD_NONE);
}

static void name_kept(char *ret_name, size_t size, int number)
{
	if (number == KEPT_SOCKET)
		(void) text_fit(ret_name, size, "U");
	else
		(void) text_fit(ret_name, size, "u%d", number);
}

void deposit_put_kept(struct container *container, int number, int fd)
{
	char name[NAME_MAX_SIZE];

	name_kept(name, sizeof(name), number);
	put_for(container, name, fd);
}

void deposit_drop_kept(struct container *container, int number)
{
	char name[NAME_MAX_SIZE];

	name_kept(name, sizeof(name), number);
	drop_for(container, name);
}

static void take_end(struct container *container, const char *name, int fd)
{
	int end = name[0] - '0';
	struct process *process = end >= 0 && end < STREAM_ENDS ? container_find(container, name + 1) : NULL;

	if (process == NULL || process->ends[end] >= 0)
		(void) close(fd); /* of a process that ended meanwhile */
	else
		process->ends[end] = fd;
}

static void take_client(struct container *container, const char *name, int fd)
{
	bool is_named = isdigit((unsigned char) name[1]) && isdigit((unsigned char) name[2]);
	struct process *process = is_named ? container_find(container, name + 3) : NULL;

	if (process == NULL)
		(void) close(fd);
	else
		clients_keep(process, (name[1] - '0') * 10 + name[2] - '0', fd);
}

static void take_pidfd(struct container *container, const char *name, int fd)
{
	struct process *process = container_find(container, name + 1);

	if (process == NULL)
		(void) close(fd);
	else
		process_keep_pidfd(process, fd);
}

static void take_fifo(struct container *container, const char *name, int fd)
{
	struct process *process = isdigit((unsigned char) name[1]) ? container_find(container, name + 2) : NULL;

	if (process != NULL)
		fifos_keep(process, name[1] - '0', fd);
	else if (name[1] != '\0' && name[2] == '\0')
		fifos_keep_for_init(container, name[1] - '0', fd);
	else
		(void) close(fd);
}

static void take(const char *name, int fd, void *context)
{
	struct process *process = name[0] == 'f' ? container_find(context, name + 1) : NULL;
	struct shim *shim = ((struct container *) context)->shim;
	uint64_t number = 0;

	if (strcmp(name, STORE_LISTENER) == 0)
		(void) close(fd); /* the monitor gave it to us already */
	else if (strcmp(name, "q") == 0)
		calls_keep_file(shim, fd);
	else if (name[0] == 'k' && number_parse_u64(name + 1, &number) == 0)
		calls_keep_connection(shim, (unsigned) number, fd);
	else if (name[0] == 'p')
		take_pidfd(context, name, fd);
	else if (name[0] == 'F')
		take_fifo(context, name, fd);
	else if (strcmp(name, "U") == 0)
		keeper_take(context, KEPT_SOCKET, fd);
	else if (name[0] == 'u' && number_parse_u64(name + 1, &number) == 0 && number < INT_MAX)
		keeper_take(context, (int) number, fd);
	else if (name[0] == 'a')
		take_client(context, name, fd);
	else if (process != NULL)
		clients_keep_feed(process, fd);
	else
		take_end(context, name, fd);
}

int deposit_take_all(struct container *container, struct error *err)
{
	struct shim *shim = container->shim;

	if (shim->store_source.fd < 0)
		return fail_because(err, ENOTCONN, "no monitor keeps what container '%s' had open", container->dir.id);
	note_protection(container, ""); /* what is refused now is said again */
	return store_take(shim->store_source.fd, shim->namespace, container->dir.id, TAKE_TIMEOUT_MS, take, container, err);
}
