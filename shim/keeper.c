/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Userfaultfds of restored tasks whose pages are still coming. We hold a duplicate of each: when the last one closes, what is
 * missing reads as zeros; the monitor has a third one, for our successor. When the pager dies, another one goes on with them
 * (checkpoint/pager_takeover.c); if none can, the tasks are killed before we let go. Where all memory came before the tasks ran there is none
 * to keep, but somebody has to tell the source.
 */
#include "base/child.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "shim/container.h"
#include "shim/deposit.h"
#include "shim/shim.h"
#include "shim/task.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One that dies by itself each time would be started for ever. */
#define STARTS_MAX    8
#define KEEPER_NUMBER 3

static void close_keeper(struct container *self)
{
	int fd = self->keeper.fd;

	if (fd >= 0)
		deposit_drop_kept(self, KEPT_SOCKET);
	event_loop_remove(&self->shim->loop, &self->keeper);
	owned_fd_release(&fd);
	self->keeper.fd = FD_NONE;
}

void keeper_forget(struct container *self)
{
	close_keeper(self);
	while (self->kept_count > 0) {
		deposit_drop_kept(self, (int) --self->kept_count);
		owned_fd_release(&self->kept_fds[self->kept_count]);
	}
	free(self->kept_fds);
	self->kept_fds = NULL;
	self->is_pager_lost = self->has_all_memory = false;
}

static void keep(struct container *self, int fd)
{
	int *larger = realloc(self->kept_fds, (self->kept_count + 1) * sizeof(int));

	if (larger == NULL) {
		(void) close(fd);
		return;
	}
	self->kept_fds = larger;
	deposit_put_kept(self, (int) self->kept_count, fd);
	self->kept_fds[self->kept_count++] = fd;
}

static char *work_folder(const struct container *self)
{
	return text_format("%s/.work/%s", self->shim->root, self->record->migration != NULL ? self->record->migration->id : "");
}

/* The source hears of it when it asks (LOST_FILE of checkpoint/receive.h); it decides nothing by itself. */
static void kill_tasks(struct container *self, const char *reason)
{
	auto_free char *work = work_folder(self);
	auto_free char *lost = text_format("%s/lost", work);
	struct error err;

	log_error("memory lost in a migration; the container is killed", "container=%s reason=\"%s\"", self->dir.id, reason);
	container_note(self, "pages-lost", self->init, reason);
	(void) file_replace_fast(AT_FDCWD, lost, "", 0, 0600, &err);
	/* kept_fds stay open until the tasks are gone: container_free() closes them */
	if (container_kill(self, self->init, SIGKILL, false, &err) < 0)
		log_error("container not killed", "container=%s error=\"%s\"", self->dir.id, err.message);
}

static void pager_ended(struct shim *shim, int exit_status, void *context)
{
	(void) shim;
	(void) exit_status; /* the end of its socket says more */
	(void) context;
}

/* That the pager is dead already, its socket's end tells. */
static void hand_out(struct container *self)
{
	ssize_t sent = 0;

	for (size_t at = 0; at < self->kept_count && sent >= 0; at += FD_PASS_MAX) {
		size_t count = self->kept_count - at < FD_PASS_MAX ? self->kept_count - at : FD_PASS_MAX;

		sent = fd_pass_send(self->keeper.fd, "uffd", 5, self->kept_fds + at, count);
	}
	if (sent >= 0)
		(void) fd_pass_send(self->keeper.fd, "all", 4, NULL, 0);
}

static int start_pager(struct container *self, struct error *err)
{
	auto_free char *work = work_folder(self);
	auto_close int theirs = FD_NONE;
	const char *argv[] = {"hydra-pager", "take-over", "--work", work, "--keeper-fd", "3", NULL};
	struct child_spec spec = {.path = self->shim->pager_path, .argv = argv, .cwd = "/", .fd_count = 1};
	int r = keeper_open(self, &theirs, err);

	if (r < 0)
		return r;
	spec.fds[0] = (struct child_fd){theirs, KEEPER_NUMBER};
	r = task_start(self->shim, &spec, pager_ended, NULL, err);
	if (r == 0)
		hand_out(self);
	return r;
}

static void pager_died(struct container *self)
{
	struct error err = ERROR_NONE;

	close_keeper(self);
	self->is_pager_lost = false;
	if (self->init == NULL || self->has_all_memory)
		return;
	if (self->init->pid <= 0) { /* they may be just about to run: see keeper_check() */
		self->is_pager_lost = true;
		return;
	}
	if (self->record->migration == NULL || self->pager_starts++ >= STARTS_MAX)
		(void) fail_because(&err, ECHILD, "the pager ended before all pages were here, again and again");
	else
		(void) start_pager(self, &err);
	if (err.code < 0) {
		close_keeper(self);
		kill_tasks(self, err.message);
		return;
	}
	log_warning("pager died; another one goes on", "container=%s", self->dir.id);
	container_note(self, "pager-replaced", self->init, NULL);
}

void keeper_check(struct container *self)
{
	if (self->is_pager_lost)
		pager_died(self);
}

void keeper_conclude(struct container *self)
{
	if (!self->has_all_memory || self->record->state == HYDRA__V1__CONTAINER_STATE__STATE_RESTORING)
		return;
	keeper_forget(self);
	container_note(self, "pages-complete", self->init, NULL);
}

static void handle_keeper(struct event_source *source, uint32_t events)
{
	struct container *self = source->context;
	int fds[FD_PASS_MAX];
	size_t count = 0;
	char text[256];
	ssize_t got = fd_pass_receive(source->fd, text, sizeof(text) - 1, fds, &count);

	(void) events;
	for (size_t i = 0; i < count; i++)
		keep(self, fds[i]);
	if (got == -EAGAIN || got == -EINTR)
		return;
	/* several messages may have come as one */
	if (got > 0 && memmem(text, (size_t) got, "poisoned", 8) != NULL)
		container_note(self, "pages-poisoned", self->init, "the source has lost the container's memory; who touches it gets SIGBUS");
	if (got > 0 && memmem(text, (size_t) got, "complete", 9) != NULL) {
		self->has_all_memory = true;
		keeper_conclude(self);
	} else if (got > 0 && memmem(text, (size_t) got, "lost", 5) != NULL) {
		close_keeper(self);
		kill_tasks(self, "a pager that died has left too little behind");
	} else if (got <= 0) {
		pager_died(self);
	}
}

/* Takes fd. */
static int listen_to(struct container *self, int fd, struct error *err)
{
	int r;

	self->keeper = (struct event_source){.handle = handle_keeper, .context = self, .fd = FD_NONE};
	r = event_loop_add(&self->shim->loop, &self->keeper, fd, EPOLLIN, err);
	if (r < 0)
		(void) close(fd);
	else
		deposit_put_kept(self, KEPT_SOCKET, fd);
	return r;
}

int keeper_open(struct container *self, int *ret_theirs, struct error *err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(err, errno, "make a socket pair");
	*ret_theirs = ends[1];
	return listen_to(self, ends[0], err);
}

void keeper_deposit(struct container *self)
{
	for (size_t i = 0; i < self->kept_count; i++)
		deposit_put_kept(self, (int) i, self->kept_fds[i]);
	if (self->keeper.fd >= 0)
		deposit_put_kept(self, KEPT_SOCKET, self->keeper.fd);
}

static void take_kept(struct container *self, size_t number, int fd)
{
	int *larger = number < self->kept_count ? self->kept_fds : realloc(self->kept_fds, (number + 1) * sizeof(int));

	if (larger == NULL) {
		(void) close(fd);
		return;
	}
	self->kept_fds = larger;
	for (; self->kept_count <= number; self->kept_count++)
		larger[self->kept_count] = FD_NONE;
	owned_fd_release(&larger[number]);
	larger[number] = fd;
}

void keeper_take(struct container *self, int number, int fd)
{
	struct error err;

	if (number != KEPT_SOCKET)
		take_kept(self, (size_t) number, fd);
	else if (self->keeper.fd >= 0)
		(void) close(fd);
	else if (listen_to(self, fd, &err) < 0)
		log_error("pager not heard any more", "container=%s error=\"%s\"", self->dir.id, err.message);
}

void keeper_resume(struct container *self)
{
	if (self->kept_count > 0 && self->keeper.fd < 0)
		pager_died(self);
}
