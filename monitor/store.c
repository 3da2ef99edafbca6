/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fd store (proto/store.h): who deposits descriptors, and what they say. The descriptors themselves are in deposits.c.
 */
#include "base/fd_pass.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/deposits.h"
#include "monitor/monitor.h"
#include "proto/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096

struct depositor {
	struct monitor *monitor;
	struct event_source source; /* fd FD_NONE: it hung up, and may come again */
	struct event_source life;   /* pidfd of a shim that is not our child; fd FD_NONE otherwise */
	pid_t pid;
	bool is_refused;            /* there was no room for something of it */
	struct depositor *next;
};

/* One after the other: who gives something back makes room for one at least. */
static void tell_room(const struct monitor *monitor)
{
	for (struct depositor *depositor = monitor->depositors; depositor != NULL; depositor = depositor->next) {
		if (!depositor->is_refused || depositor->source.fd < 0)
			continue;
		depositor->is_refused = false;
		(void) store_send(depositor->source.fd, "room", NULL, NULL, NULL, FD_NONE);
		return;
	}
}

void store_drop(struct monitor *monitor, const char *namespace, const char *id, const char *name)
{
	if (deposits_drop(monitor, namespace, id, name))
		tell_room(monitor);
}

void store_drop_orphans(struct monitor *monitor)
{
	if (deposits_drop_orphans(monitor))
		tell_room(monitor);
}

static void refuse(struct depositor *self, const struct store_request *request)
{
	struct monitor *monitor = self->monitor;
	char why[128];

	monitor->limits.refused++;
	if (request->name[0] == 'k') /* a client's connection, most likely gone in a moment: its container is as well off without */
		return;
	self->is_refused = true;
	(void) text_fit(why, sizeof(why), "hydra-monitor has no room: its limit is %u descriptors", monitor->limits.descriptors_max);
	log_warning("deposit refused", "container=%s name=%s limit=%u", request->id, request->name, monitor->limits.descriptors_max);
	(void) store_send(self->source.fd, "refused", request->namespace, request->id, why, FD_NONE);
}

/* Our children we know: what one that was stopped said before does not make it answer now. */
static void note_found(const struct depositor *self, const struct store_request *request)
{
	if (!shims_has_child(self->monitor, self->pid))
		account_found(self->monitor, request->namespace, request->id, self->pid);
}

/* fd: FD_NONE when there was no number for it. What we have already stays, and stays kept: shims deposit everything again when we are back. */
static void put(struct depositor *self, const struct store_request *request, int fd)
{
	struct monitor *monitor = self->monitor;
	struct deposit *before = deposits_find(monitor, request->namespace, request->id, request->name);
	bool is_the_same = before != NULL && fd >= 0 && kernel_is_same_file(before->fd, fd);

	note_found(self, request);
	if (!is_the_same)
		(void) deposits_drop(monitor, request->namespace, request->id, request->name);
	log_debug("descriptor deposited", "container=%s/%s name=%s", request->namespace, request->id, request->name);
	if (is_the_same) {
		before->by = self;
		(void) close(fd);
		return;
	}
	if (fd < 0 || !limits_allow(&monitor->limits, &fd)) {
		owned_fd_release(&fd);
		refuse(self, request);
		return;
	}
	keeper_keep(monitor, request->namespace, request->id, request->name, fd);
	store_add(monitor, request->namespace, request->id, request->name, fd);
	before = deposits_find(monitor, request->namespace, request->id, request->name);
	if (before != NULL)
		before->by = self;
}

static void greet(struct depositor *self, const struct store_request *request)
{
	uint64_t lost_ns;

	note_found(self, request);
	if (number_parse_u64(request->name, &lost_ns) == 0 && lost_ns > 0)
		account_lost(self->monitor, lost_ns);
}

static void depositor_hang_up(struct depositor *self)
{
	int fd = self->source.fd;

	event_loop_remove(&self->monitor->loop, &self->source);
	owned_fd_release(&fd);
}

static void depositor_free(struct depositor *self)
{
	int pidfd = self->life.fd;

	deposits_forget_depositor(self->monitor, self);
	for (struct depositor **link = &self->monitor->depositors; *link != NULL; link = &(*link)->next) {
		if (*link == self) {
			*link = self->next;
			break;
		}
	}
	depositor_hang_up(self);
	event_loop_remove(&self->monitor->loop, &self->life);
	owned_fd_release(&pidfd);
	free(self);
}

static struct depositor *find_other(const struct depositor *self)
{
	struct depositor *other = self->monitor->depositors;

	while (other != NULL && (other == self || other->pid != self->pid))
		other = other->next;
	return other;
}

/* One message; what fd_pass_receive() returned for it. */
static ssize_t serve(struct depositor *self)
{
	struct store_request request;
	int fds[FD_PASS_MAX];
	size_t count = 0;
	ssize_t size = fd_pass_receive(self->source.fd, request.text, sizeof(request.text), fds, &count);
	bool is_valid = size > 0 && store_request_parse(&request, (size_t) size);

	if (is_valid && strcmp(request.verb, "put") == 0 && count <= 1)
		put(self, &request, count > 0 ? fds[--count] : FD_NONE);
	else if (is_valid && strcmp(request.verb, "hello") == 0)
		greet(self, &request);
	else if (is_valid && strcmp(request.verb, "drop") == 0)
		store_drop(self->monitor, request.namespace, request.id, request.name);
	else if (is_valid && strcmp(request.verb, "only") == 0)
		deposits_drop_others(self->monitor, request.namespace, request.id, self);
	else if (is_valid && strcmp(request.verb, "ended") == 0)
		ends_answer(&self->monitor->ends, &request, self->source.fd);
	else if (is_valid && strcmp(request.verb, "take") == 0)
		deposits_give(self->monitor, request.namespace, request.id, self->source.fd);
	while (count > 0)
		(void) close(fds[--count]);
	return size;
}

void store_hear_out(struct monitor *monitor, pid_t pid)
{
	for (struct depositor *depositor = monitor->depositors; depositor != NULL; depositor = depositor->next) {
		while (depositor->pid == pid && depositor->source.fd >= 0 && serve(depositor) > 0)
			;
	}
}

static void handle_end(struct event_source *source, uint32_t events)
{
	struct depositor *self = source->context;

	(void) events;
	store_hear_out(self->monitor, self->pid);
	account_end_by_pid(self->monitor, self->pid, "ended");
	shims_look_soon(self->monitor);
	depositor_free(self);
}

/* A shim of the monitor before us, or of hydra-setup: no SIGCHLD tells that it needs a successor. */
static void watch_life(struct depositor *self)
{
	struct depositor *before = find_other(self);
	auto_close int pidfd = FD_NONE;
	struct error ignored;

	if (before != NULL && before->source.fd < 0)
		depositor_free(before);
	if (shims_has_child(self->monitor, self->pid))
		return;
	pidfd = kernel_pidfd_open(self->pid, 0);
	if (pidfd >= 0 && event_loop_add(&self->monitor->loop, &self->life, pidfd, EPOLLIN, &ignored) == 0)
		(void) take_fd(&pidfd);
	else
		shims_look_soon(self->monitor); /* it is gone already */
}

static void handle_depositor(struct event_source *source, uint32_t events)
{
	struct depositor *self = source->context;
	ssize_t size = serve(self);

	(void) events;
	if (size > 0 || size == -EAGAIN)
		return;
	if (self->life.fd >= 0 && find_other(self) == NULL)
		depositor_hang_up(self);
	else
		depositor_free(self);
}

static struct depositor *depositor_new(struct monitor *monitor, pid_t pid)
{
	struct depositor *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return NULL;
	self->monitor = monitor;
	self->pid = pid;
	self->source = (struct event_source){.handle = handle_depositor, .context = self, .fd = FD_NONE};
	self->life = (struct event_source){.handle = handle_end, .context = self, .fd = FD_NONE};
	self->next = monitor->depositors;
	monitor->depositors = self;
	return self;
}

/* Takes fd. */
static void depositor_connected(struct monitor *monitor, int fd)
{
	struct depositor *self = depositor_new(monitor, socket_peer_pid(fd));
	struct error err;

	if (self == NULL) {
		owned_fd_release(&fd);
		return;
	}
	if (event_loop_add(&monitor->loop, &self->source, fd, EPOLLIN, &err) < 0) {
		log_error("depositor not served", "error=\"%s\"", err.message);
		(void) close(fd);
		depositor_free(self);
		return;
	}
	watch_life(self);
}

void store_let_inputs_go(struct monitor *monitor)
{
	for (const struct deposit *deposit = monitor->deposits; deposit != NULL; deposit = deposit->next) {
		if (deposit->name[0] == '0')
			keeper_forget(monitor, deposit->namespace, deposit->id, deposit->name);
	}
	keeper_flush(monitor);
}

void store_await(struct monitor *monitor, pid_t pid)
{
	struct depositor *self = depositor_new(monitor, pid);

	if (self != NULL)
		watch_life(self);
	if (self != NULL && self->life.fd < 0)
		depositor_free(self);
}

static void handle_listener(struct event_source *source, uint32_t events)
{
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void) events;
	if (fd >= 0 && socket_peer_is_trusted(fd))
		depositor_connected(source->context, fd);
	else
		owned_fd_release(&fd);
}

static int listen_here(const struct monitor *monitor, int *ret_fd, struct error *err)
{
	auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	if (!text_fit(address.sun_path, sizeof(address.sun_path), "%s/store.sock", monitor->root))
		return fail_errno(err, ENAMETOOLONG, "listen below '%s'", monitor->root);
	(void) unlink(address.sun_path); /* the monitor's lock says that nobody else listens there */
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *) &address, sizeof(address));
	(void) umask(mask);
	if (r < 0 || listen(fd, CONNECTIONS_MAX) < 0)
		return fail_errno(err, errno, "listen at '%s'", address.sun_path);
	*ret_fd = take_fd(&fd);
	return 0;
}

int store_open(struct monitor *monitor, int listen_fd, struct error *err)
{
	int fd = listen_fd;
	int r = listen_fd >= 0 ? 0 : listen_here(monitor, &fd, err);

	limits_init(&monitor->limits);
	if (r < 0)
		return r;
	monitor->store_source = (struct event_source){.handle = handle_listener, .context = monitor, .fd = FD_NONE};
	return event_loop_add(&monitor->loop, &monitor->store_source, fd, EPOLLIN, err);
}

bool store_seal(const struct monitor *monitor, Hydra__V1__SealedMonitor *sealed)
{
	size_t count = 0;

	for (const struct depositor *depositor = monitor->depositors; depositor != NULL; depositor = depositor->next)
		count++;
	sealed->depositor_fds = calloc(count + 1, sizeof(*sealed->depositor_fds));
	if (sealed->depositor_fds == NULL)
		return false;
	for (const struct depositor *depositor = monitor->depositors; depositor != NULL; depositor = depositor->next) {
		if (depositor->source.fd >= 0)
			sealed->depositor_fds[sealed->n_depositor_fds++] = depositor->source.fd;
	}
	return deposits_seal(monitor, sealed);
}

void store_unseal(struct monitor *monitor, const Hydra__V1__SealedMonitor *sealed)
{
	for (size_t i = 0; i < sealed->n_deposits; i++) {
		const Hydra__V1__SealedDeposit *item = sealed->deposits[i];

		keeper_keep(monitor, item->namespace_, item->id, item->name, item->fd);
		store_add(monitor, item->namespace_, item->id, item->name, item->fd);
	}
	for (size_t i = 0; i < sealed->n_depositor_fds; i++)
		depositor_connected(monitor, sealed->depositor_fds[i]);
	/* who was refused is not handed over: whoever was, tries again */
	for (struct depositor *depositor = monitor->depositors; depositor != NULL; depositor = depositor->next)
		(void) store_send(depositor->source.fd, "room", NULL, NULL, NULL, FD_NONE);
}
