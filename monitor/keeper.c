/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second copy of every deposit, in the service manager's descriptor store: what shims deposited outlives us too.
 *
 * A copy is named by a hash of whose it is: names of any length would not fit into the one variable that they come back in
 * (128 KiB for all), and what a hash stands for is found by hashing what the run directories tell of.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"
#include "proto/store.h"
#include "state/record.h"
#include "state/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_NS (5 * NS_PER_MS)
#define KEY_SIZE 12 /* 64 bits, six in each character, and NUL */
#define ENDS     5  /* of a process: standard input, output, error, and the pipe that a terminal's output takes */
#define CLIENTS  64 /* of a process, at most */
#define FIFOS    3  /* of containerd, for each process */
#define USERFAULTS  64 /* of a container that is being moved */
#define CONNECTIONS 64 /* of a shim; the numbers of those that have gone are given again */

struct errand {
	char lines[64];
	int fd;
	struct errand *next;
};

/* FNV-1a over namespace, id and name, each with its NUL. */
static void make_key(const char *namespace, const char *id, const char *name, char ret_key[static KEY_SIZE])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *const words[] = {namespace, id, name};
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t word = 0; word < 3; word++) {
		for (size_t i = 0; i <= strlen(words[word]); i++)
			hash = (hash ^ (unsigned char) words[word][i]) * 0x100000001b3ULL;
	}
	for (size_t i = 0; i < KEY_SIZE - 1; i++, hash >>= 6)
		ret_key[i] = digits[hash & 63];
	ret_key[KEY_SIZE - 1] = '\0';
}

static void errand_free(struct errand *self)
{
	owned_fd_release(&self->fd);
	free(self);
}

static void run_errands(struct event_timer *timer)
{
	struct monitor *monitor = timer->context;

	while (monitor->errands != NULL) {
		struct errand *first = monitor->errands;

		if (notify_now(first->lines, first->fd) == -EAGAIN) {
			event_loop_arm(&monitor->loop, timer, RETRY_NS);
			return;
		}
		monitor->errands = first->next;
		errand_free(first);
	}
}

void keeper_flush(struct monitor *monitor)
{
	if (monitor->errands != NULL)
		run_errands(&monitor->errand_timer);
}

/* Now when the manager takes it, otherwise later, in order: we never wait for it. */
static void tell(struct monitor *monitor, const char *format, const char *key, int fd)
{
	struct errand **link = &monitor->errands;
	struct errand *errand = notify_is_heard() ? calloc(1, sizeof(*errand)) : NULL;

	if (errand == NULL)
		return;
	*errand = (struct errand){.fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : FD_NONE};
	(void) text_fit(errand->lines, sizeof(errand->lines), format, key);
	while (*link != NULL)
		link = &(*link)->next;
	*link = errand;
	if (monitor->errand_timer.due_ns != 0)
		return;
	monitor->errand_timer = (struct event_timer){.handle = run_errands, .context = monitor};
	run_errands(&monitor->errand_timer);
}

void keeper_keep(struct monitor *monitor, const char *namespace, const char *id, const char *name, int fd)
{
	char key[KEY_SIZE];

	make_key(namespace, id, name, key);
	/* without FDPOLL=0 the end of a pipe would go when its other end does, with what is in it */
	tell(monitor, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", key, fd);
}

/* It came and went before the manager took it, as connections do. */
static bool forget_errand(struct monitor *monitor, const char *key)
{
	struct errand **found = NULL;
	struct errand *errand;

	for (struct errand **link = &monitor->errands; *link != NULL; link = &(*link)->next) {
		if (strcmp((*link)->lines + strlen((*link)->lines) - strlen(key), key) == 0)
			found = (*link)->fd >= 0 ? link : NULL;
	}
	if (found == NULL)
		return false;
	errand = *found;
	*found = errand->next;
	errand_free(errand);
	return true;
}

void keeper_forget(struct monitor *monitor, const char *namespace, const char *id, const char *name)
{
	char key[KEY_SIZE];

	make_key(namespace, id, name, key);
	if (forget_errand(monitor, key))
		return;
	tell(monitor, "FDSTOREREMOVE=1\nFDNAME=%s", key, FD_NONE);
}

struct kept {
	char key[32]; /* whoever stored it, it has to go when it is not ours */
	int fd;
};

struct kept_list {
	struct monitor *monitor;
	struct kept *items;
	size_t count;
};

static void collect(int fd, const char *name, void *context)
{
	struct kept_list *self = context;
	struct kept *more = reallocarray(self->items, self->count + 1, sizeof(*more));

	if (more == NULL) {
		(void) close(fd);
		return;
	}
	self->items = more;
	self->items[self->count].fd = fd;
	(void) text_fit(self->items[self->count++].key, sizeof(more->key), "%s", name);
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct kept *) a)->key, ((const struct kept *) b)->key);
}

static void take_back_one(struct kept_list *self, const char *namespace, const char *id, const char *name)
{
	struct kept wanted, *found;

	make_key(namespace, id, name, wanted.key);
	found = self->count > 0 ? bsearch(&wanted, self->items, self->count, sizeof(wanted), compare) : NULL;
	if (found != NULL && found->fd >= 0)
		store_add(self->monitor, namespace, id, name, take_fd(&found->fd));
}

/* By the names of shim/deposit.c. */
static void take_back(struct kept_list *self, const char *namespace, const char *id, const char *exec_id)
{
	char name[96];

	for (int end = 0; end < ENDS; end++) {
		(void) text_fit(name, sizeof(name), "%d%s", end, exec_id);
		take_back_one(self, namespace, id, name);
	}
	for (int fifo = 0; fifo < FIFOS; fifo++) {
		(void) text_fit(name, sizeof(name), "F%d%s", fifo, exec_id);
		take_back_one(self, namespace, id, name);
	}
	(void) text_fit(name, sizeof(name), "p%s", exec_id);
	take_back_one(self, namespace, id, name);
	(void) text_fit(name, sizeof(name), "f%s", exec_id);
	take_back_one(self, namespace, id, name);
	for (int place = 0; place < CLIENTS; place++) {
		(void) text_fit(name, sizeof(name), "a%02d%s", place, exec_id);
		take_back_one(self, namespace, id, name);
	}
}

static void take_back_server(struct kept_list *self, const char *namespace, const char *id)
{
	char name[16];

	take_back_one(self, namespace, id, STORE_LISTENER);
	take_back_one(self, namespace, id, "q");
	for (int number = 1; number <= CONNECTIONS; number++) {
		(void) text_fit(name, sizeof(name), "k%d", number);
		take_back_one(self, namespace, id, name);
	}
	take_back_one(self, namespace, id, "U");
	for (int number = 0; number < USERFAULTS; number++) {
		(void) text_fit(name, sizeof(name), "u%d", number);
		take_back_one(self, namespace, id, name);
	}
}

static bool take_back_all(const char *namespace, const char *id, void *context)
{
	struct kept_list *self = context;
	struct run_dir dir;
	struct error ignored;
	auto_record *container = NULL;

	if (run_dir_open(&dir, self->monitor->root, namespace, id, &ignored) < 0)
		return true;
	if (record_load(dir.fd, &container, &ignored) == 0) {
		take_back_server(self, namespace, id);
		take_back(self, namespace, id, "");
		for (size_t i = 0; i < container->n_execs; i++)
			take_back(self, namespace, id, container->execs[i]->id);
		if (run_dir_is_locked(&dir, LOCK_SHIM))
			store_await(self->monitor, container->shim_pid);
	}
	run_dir_close(&dir);
	return true;
}

void keeper_recover(struct monitor *monitor)
{
	struct kept_list list = {.monitor = monitor};
	size_t taken = 0;
	struct error err;

	notify_take_fds(collect, &list);
	if (list.count == 0)
		return;
	qsort(list.items, list.count, sizeof(*list.items), compare);
	if (run_dir_visit(monitor->root, NULL, take_back_all, &list, &err) < 0)
		log_error("run directories not read", "error=\"%s\"", err.message);
	for (size_t i = 0; i < list.count; i++) {
		if (list.items[i].fd < 0) {
			taken++;
			continue;
		}
		(void) close(list.items[i].fd);
		tell(monitor, "FDSTOREREMOVE=1\nFDNAME=%s", list.items[i].key, FD_NONE);
	}
	log_info("descriptors taken back", "kept=%zu current=%zu", list.count, taken);
	free(list.items);
}
