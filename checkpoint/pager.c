/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/images.h"
#include "checkpoint/pager_space.h"
#include "checkpoint/uffd.h"

#define LAZY_SOCKET      "lazy-pages.socket"
#define RESTORE_FINISHED 0x52535446 /* "RSTF" */
#define CRIU_PATIENCE_S  20

void pager_fail(struct pager *self, const struct error *error)
{
	if (!self->has_failed)
		self->error = *error;
	self->has_failed = true;
}

int pager_request(struct pager *self, const struct pager_space *space, const struct page_range *range, size_t index,
		  size_t count, bool is_urgent)
{
	struct page_frame request = {.address = range->source + (uint64_t) index * PAGE_BYTES, .task = (uint32_t) space->task,
				     .count = (uint32_t) count, .flags = is_urgent ? PAGE_FLAG_URGENT : 0};
	struct link *link = is_urgent && self->fault_link != NULL ? self->fault_link : self->link;
	struct error err;

	if (link_queue(link, FRAME_PAGE_REQUEST, &request, sizeof(request), &err) < 0) {
		pager_fail(self, &err);
		return err.code;
	}
	return 0;
}

struct pager_space *pager_add_space(struct pager *self, int task, struct page_set *pages)
{
	struct pager_space **grown = reallocarray(self->spaces, self->space_count + 1, sizeof(*grown));
	struct pager_space *space = calloc(1, sizeof(*space));

	if (grown != NULL)
		self->spaces = grown;
	if (grown == NULL || space == NULL || self->space_count >= PAGER_TASKS_MAX) {
		free(space);
		page_set_deinit(pages);
		return NULL;
	}
	*space = (struct pager_space){.pager = self, .number = self->space_count, .pages = *pages, .task = task, .fd = FD_NONE,
				      .source = {.fd = FD_NONE}};
	*pages = (struct page_set){0};
	self->spaces[self->space_count++] = space;
	return space;
}

static void handle_space(struct event_source *source, uint32_t events)
{
	(void) events;
	pager_space_handle_events(source->context);
}

static void keep(struct pager *self, const struct pager_space *space)
{
	char name[32];

	if (self->keeper_fd < 0 || space->fd < 0 || !text_fit(name, sizeof(name), "uffd %d", space->task))
		return;
	pager_journal_kept(&self->journal, (uint32_t) space->number, (uint32_t) space->task);
	(void) fd_pass_send(self->keeper_fd, name, strlen(name) + 1, &space->fd, 1);
	pager_journal_kept_done(&self->journal);
}

int pager_attach(struct pager *self, struct pager_space *space, int fd)
{
	struct error err;

	space->fd = fd;
	(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
	(void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	space->source.handle = handle_space;
	space->source.context = space;
	if (event_loop_add(self->loop, &space->source, fd, EPOLLIN, &err) < 0) {
		pager_fail(self, &err);
		return err.code;
	}
	return 0;
}

static int attach_new(struct pager *self, struct pager_space *space, int fd)
{
	int r = pager_attach(self, space, fd);

	if (r == 0)
		keep(self, space);
	return r;
}

int pager_adopt(struct pager *self, int task, int fd, struct page_set *pages)
{
	struct pager_space *space = pager_add_space(self, task, pages);
	struct error err;

	if (space != NULL)
		return attach_new(self, space, fd);
	(void) close(fd);
	(void) fail_errno(&err, ENOMEM, "follow a fork of task %d", task);
	pager_fail(self, &err);
	return err.code;
}

static void receive_task(struct pager *self, int task)
{
	struct error err;
	size_t count = 0;
	int fds[FD_PASS_MAX];
	char byte;

	if (task <= 0)
		return; /* a zombie has no memory */
	if (fd_pass_receive(self->criu_fd, &byte, 1, fds, &count) != 1 || count != 1) {
		(void) fail_because(&err, EPROTO, "CRIU announced task %d without its userfaultfd", task);
		pager_fail(self, &err);
		return;
	}
	for (size_t i = 0; i < self->space_count; i++) {
		if (self->spaces[i]->task == task && self->spaces[i]->fd < 0) {
			(void) attach_new(self, self->spaces[i], fds[0]);
			return;
		}
	}
	(void) pager_adopt(self, task, fds[0], &(struct page_set){0});
}

static void handle_criu(struct event_source *source, uint32_t events)
{
	struct pager *self = source->context;
	int32_t message = 0;
	int r = fd_read_full(self->criu_fd, &message, sizeof(message));

	(void) events;
	if (r < 0) { /* what the end means is known from the restore process */
		event_loop_remove(self->loop, &self->criu_source);
		owned_fd_release(&self->criu_fd);
		self->criu_fd = FD_NONE;
		return;
	}
	if ((uint32_t) message == RESTORE_FINISHED)
		self->is_restored = true;
	else
		receive_task(self, message);
}

static void handle_listen(struct event_source *source, uint32_t events)
{
	struct pager *self = source->context;
	struct timeval patience = {.tv_sec = CRIU_PATIENCE_S};
	int fd = accept4(self->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct error err;

	(void) events;
	if (fd < 0)
		return;
	if (self->criu_fd >= 0 || !socket_peer_is_trusted(fd)) {
		(void) close(fd);
		return;
	}
	(void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	self->criu_fd = fd;
	self->criu_source = (struct event_source){.handle = handle_criu, .context = self, .fd = FD_NONE};
	if (event_loop_add(self->loop, &self->criu_source, fd, EPOLLIN, &err) < 0)
		pager_fail(self, &err);
}

static int load_pagemaps(struct pager *self, struct error *err)
{
	auto_free int *tasks = NULL;
	size_t count = 0;
	int r = pagemap_list_tasks(self->images_fd, &tasks, &count, err);

	if (r == 0)
		r = pager_load_local(self, tasks, count, err);
	for (size_t i = 0; i < count && r == 0; i++) {
		struct page_set pages;

		r = pagemap_load(self->images_fd, tasks[i], &pages, err);
		if (r < 0)
			break;
		if (pager_add_space(self, tasks[i], &pages) == NULL)
			return fail_errno(err, ENOMEM, "prepare for the pages of task %d", tasks[i]);
		pager_find_local(self->spaces[self->space_count - 1]);
		self->pages_total += page_set_remote(&self->spaces[self->space_count - 1]->pages);
	}
	return r;
}

int pager_prepare(struct pager *self, struct event_loop *loop, struct link *link, const struct pager_places *places,
		  struct error *err)
{
	*self = (struct pager){.loop = loop, .link = link, .images_fd = FD_NONE, .listen_fd = FD_NONE, .criu_fd = FD_NONE,
			       .keeper_fd = FD_NONE};
	self->listen_source = (struct event_source){.handle = handle_listen, .context = self, .fd = FD_NONE};
	self->criu_source.fd = self->keeper_source.fd = FD_NONE;
	bulk_window_init(&self->bulk);
	if (sysconf(_SC_PAGESIZE) != PAGE_BYTES)
		return fail_because(err, EOPNOTSUPP, "post-copy needs pages of %u bytes", PAGE_BYTES);
	self->images_fd = open(places->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (self->images_fd < 0)
		return fail_errno(err, errno, "open '%s'", places->images);
	heat_load(&self->heat, self->images_fd, HEAT_FILE);
	heat_load(&self->huge.ranges, self->images_fd, HUGE_FILE);
	return load_pagemaps(self, err);
}

int pager_start(struct pager *self, struct event_loop *loop, struct link *link, const struct pager_places *places,
		struct error *err)
{
	auto_free char *path = text_format("%s/" LAZY_SOCKET, places->images);
	int r = pager_prepare(self, loop, link, places, err);

	if (r == 0)
		r = pager_journal_make(&self->journal, places->folder, err);
	if (r == 0)
		r = socket_listen(path, &self->listen_fd, err);
	if (r == 0)
		r = event_loop_add(loop, &self->listen_source, self->listen_fd, EPOLLIN, err);
	return r < 0 ? fail_while(err, "prepare for the pages") : 0;
}

void pager_stop(struct pager *self)
{
	if (self->loop == NULL)
		return;
	event_loop_remove(self->loop, &self->listen_source);
	event_loop_remove(self->loop, &self->criu_source);
	event_loop_remove(self->loop, &self->keeper_source);
	for (size_t i = 0; i < self->space_count; i++) {
		pager_space_give_up(self->spaces[i]);
		stalls_deinit(&self->spaces[i]->stalls);
		free(self->spaces[i]);
	}
	free(self->spaces);
	for (size_t i = 0; i < self->local_count; i++)
		local_pages_deinit(&self->locals[i]);
	free(self->locals);
	heat_deinit(&self->heat);
	heat_deinit(&self->huge.ranges);
	proc_tasks_deinit(&self->huge.tasks);
	owned_fd_release(&self->listen_fd);
	owned_fd_release(&self->criu_fd);
	owned_fd_release(&self->keeper_fd);
	owned_fd_release(&self->images_fd);
	pager_journal_close(&self->journal);
	*self = (struct pager){.images_fd = FD_NONE, .listen_fd = FD_NONE, .criu_fd = FD_NONE, .keeper_fd = FD_NONE};
}

static void handle_keeper(struct event_source *source, uint32_t events)
{
	struct pager *self = source->context;
	char byte;
	ssize_t got = recv(self->keeper_fd, &byte, 1, MSG_DONTWAIT);

	(void) events;
	if (got > 0 || (got < 0 && errno == EAGAIN))
		return;
	event_loop_remove(self->loop, &self->keeper_source);
	owned_fd_release(&self->keeper_fd);
	self->keeper_fd = FD_NONE;
}

void pager_watch_keeper(struct pager *self, int fd)
{
	struct error err;

	self->keeper_fd = fd;
	self->keeper_source = (struct event_source){.handle = handle_keeper, .context = self, .fd = FD_NONE};
	if (event_loop_add(self->loop, &self->keeper_source, fd, EPOLLIN, &err) < 0)
		pager_fail(self, &err);
}

void pager_set_keeper(struct pager *self, int fd)
{

	if (self->keeper_fd >= 0) {
		(void) close(fd);
		return;
	}
	pager_watch_keeper(self, fd);
	for (size_t i = 0; i < self->space_count; i++)
		keep(self, self->spaces[i]);
}

int pager_receive(struct pager *self, const struct frame *frame, struct error *err)
{
	static unsigned char room[PAGES_PER_FRAME * PAGE_BYTES];
	const unsigned char *pages = NULL;
	struct page_frame head;
	int r = page_frame_open(frame, self->is_sealed, &head, err);

	if (r == 0)
		r = page_frame_unpack(frame, &head, room, &pages, err);
	if (r < 0)
		return r;
	if ((head.flags & PAGE_FLAG_URGENT) == 0)
		bulk_window_answered(&self->bulk, clock_monotonic_ns(), pages == NULL);
	for (size_t i = 0; i < self->space_count; i++) { /* grows when a task forks meanwhile */
		if ((uint32_t) self->spaces[i]->task == head.task)
			pager_space_install(self->spaces[i], head.address, head.count, pages);
	}
	return self->has_failed ? (*err = self->error, err->code) : 0;
}

static void ask_awaited(struct pager *self, const struct pager_space *space)
{
	for (size_t at = 0; at < space->pages.count; at++) {
		const struct page_range *range = &space->pages.ranges[at];
		size_t cursor = 0, index, count;

		while (page_range_next(range, PAGE_AWAITED, PAGES_PER_FRAME, &cursor, &index, &count))
			(void) pager_request(self, space, range, index, count, true);
	}
}

void pager_set_fault_link(struct pager *self, struct link *link)
{
	self->fault_link = link;
	for (size_t i = 0; i < self->space_count && link == NULL; i++)
		ask_awaited(self, self->spaces[i]);
}

static void forget_asked(struct page_set *pages)
{
	for (size_t at = 0; at < pages->count; at++) {
		for (size_t page = 0; page < pages->ranges[at].count; page++) {
			if (pages->ranges[at].states[page] == PAGE_ASKED)
				page_set_mark(pages, &pages->ranges[at], page, PAGE_MISSING);
		}
	}
}

void pager_ask_again(struct pager *self)
{
	bulk_window_init(&self->bulk);
	self->cursor_space = 0;
	self->heat_cursor = (struct heat_cursor){0};
	for (size_t i = 0; i < self->space_count; i++) {
		self->spaces[i]->cursor_range = self->spaces[i]->cursor_page = 0;
		forget_asked(&self->spaces[i]->pages);
		ask_awaited(self, self->spaces[i]);
	}
}

bool pager_is_complete(const struct pager *self)
{
	if (!self->is_restored)
		return false;
	for (size_t i = 0; i < self->space_count; i++) {
		if (self->spaces[i]->pages.open_count > 0 && !self->spaces[i]->is_gone)
			return false;
	}
	return true;
}

void pager_complete(struct pager *self)
{
	if (self->keeper_fd >= 0)
		(void) fd_pass_send(self->keeper_fd, "complete", sizeof("complete"), NULL, 0);
}

bool pager_is_finished(const struct pager *self)
{
	return self->keeper_fd < 0;
}

void pager_check_tasks(struct pager *self)
{
	for (size_t i = 0; i < self->space_count; i++) {
		if (self->spaces[i]->fd >= 0 && !uffd_is_alive(self->spaces[i]->fd))
			pager_space_give_up(self->spaces[i]);
	}
}
