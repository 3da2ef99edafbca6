/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page that cannot be read is an error, never a page of zeros: it exists, or nobody would ask for it.
 */
#include "checkpoint/page_server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"

int page_server_init(struct page_server *self, pid_t init, struct error *err)
{
	int r;

	*self = (struct page_server){0};
	r = proc_tasks_read(&self->tasks, init, err);
	if (r < 0)
		return r;
	self->memory_fds = malloc(self->tasks.count * sizeof(int));
	if (self->memory_fds == NULL)
		return fail_errno(err, ENOMEM, "serve pages");
	for (size_t i = 0; i < self->tasks.count; i++)
		self->memory_fds[i] = FD_NONE;
	return 0;
}

void page_server_deinit(struct page_server *self)
{
	for (size_t i = 0; self->memory_fds != NULL && i < self->tasks.count; i++)
		owned_fd_release(&self->memory_fds[i]);
	free(self->memory_fds);
	free(self->faults.items);
	free(self->urgent.items);
	free(self->background.items);
	proc_tasks_deinit(&self->tasks);
	*self = (struct page_server){0};
}

void page_server_forget(struct page_server *self)
{
	self->urgent.from = self->urgent.to = self->background.from = self->background.to = 0;
	page_server_forget_faults(self);
}

void page_server_forget_faults(struct page_server *self)
{
	self->faults.from = self->faults.to = 0;
}

static int queue_push(struct page_queue *self, const struct page_frame *item, struct error *err)
{
	if (self->from == self->to)
		self->from = self->to = 0;
	if (self->to - self->from >= PAGE_REQUESTS_MAX)
		return fail_because(err, EPROTO, "the target asks for too many pages at once");
	if (self->to == self->capacity && self->from > 0) {
		memmove(self->items, self->items + self->from, (self->to - self->from) * sizeof(*item));
		self->to -= self->from;
		self->from = 0;
	}
	if (self->to == self->capacity) {
		size_t capacity = self->capacity == 0 ? 64 : self->capacity * 2;
		struct page_frame *grown = reallocarray(self->items, capacity, sizeof(*grown));

		if (grown == NULL)
			return fail_errno(err, ENOMEM, "queue a request for pages");
		self->items = grown;
		self->capacity = capacity;
	}
	self->items[self->to++] = *item;
	return 0;
}

static size_t task_index(const struct page_server *self, uint32_t task)
{
	size_t i = 0;

	while (i < self->tasks.count && (uint32_t) self->tasks.items[i].virtual_pid != task)
		i++;
	return i;
}

int page_server_request(struct page_server *self, const struct frame *frame, bool is_from_faults, struct error *err)
{
	struct page_queue *queue = &self->background;
	struct page_frame request;

	if (frame->size != sizeof(request))
		return fail_because(err, EPROTO, "a request for pages has %zu bytes", frame->size);
	memcpy(&request, frame->data, sizeof(request));
	if (request.count == 0 || request.count > PAGES_PER_FRAME || request.address % PAGE_BYTES != 0 ||
	    request.address > UINT64_MAX - (uint64_t) request.count * PAGE_BYTES ||
	    task_index(self, request.task) == self->tasks.count)
		return fail_because(err, EPROTO, "the target asks for pages that do not exist (task %" PRIu32 ", %#" PRIx64 ")",
				    request.task, request.address);
	if ((request.flags & PAGE_FLAG_URGENT) != 0) {
		self->faults_asked++;
		queue = &self->urgent;
	}
	return queue_push(is_from_faults ? &self->faults : queue, &request, err);
}

/* process_vm_readv honours protections; /proc/PID/mem reads what the task itself could not. */
static int read_pages(struct page_server *self, const struct page_frame *request, unsigned char *data, struct error *err)
{
	size_t index = task_index(self, request->task), size = (size_t) request->count * PAGE_BYTES, done = 0;
	pid_t pid = self->tasks.items[index].pid;
	struct iovec local = {.iov_base = data, .iov_len = size};
	struct iovec remote = {.iov_base = (void *) (uintptr_t) request->address, .iov_len = size};
	ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	done = got > 0 ? (size_t) got / PAGE_BYTES * PAGE_BYTES : 0;
	if (done < size && self->memory_fds[index] < 0) {
		auto_free char *path = text_format("/proc/%d/mem", (int) pid);

		self->memory_fds[index] = open(path, O_RDONLY | O_CLOEXEC);
	}
	while (done < size) {
		got = pread(self->memory_fds[index], data + done, size - done, (off_t) (request->address + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fail_because(err, EFAULT, "memory at %#" PRIx64 " of task %d cannot be read: %s",
					    request->address + done, (int) pid,
					    got == 0 ? "it is gone" : strerrordesc_np(errno));
		done += (size_t) got;
	}
	return 0;
}

static bool is_zero(const unsigned char *data, size_t size)
{
	return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* The size of what is in room then. */
static size_t pack(struct page_server *self, const unsigned char *pages, size_t size, struct page_frame *head,
		   unsigned char *room)
{
	static const uint32_t flags[COMPRESS_METHODS] = {[COMPRESS_LZ4] = PAGE_FLAG_LZ4, [COMPRESS_ZSTD] = PAGE_FLAG_ZSTD};
	enum compress_method method = self->is_choosing ? compress_choice_next(&self->choice) : self->method;
	uint64_t began = clock_monotonic_ns();
	size_t packed = method == COMPRESS_NONE ? 0 : compress_pages(method, pages, size, room, size - size / 8);

	if (method != COMPRESS_NONE && self->is_choosing)
		compress_choice_measured(&self->choice, method, size, packed > 0 ? packed : size, clock_monotonic_ns() - began);
	if (packed > 0) {
		head->flags |= flags[method];
		return packed;
	}
	memcpy(room, pages, size);
	return size;
}

static bool may_pack(const struct page_server *self, const struct page_frame *request)
{
	return (request->flags & PAGE_FLAG_URGENT) == 0 && (self->is_choosing || self->method != COMPRESS_NONE);
}

static int answer(struct page_server *self, struct link *link, const struct page_frame *request, struct error *err)
{
	static unsigned char plain[PAGES_PER_FRAME * PAGE_BYTES];
	size_t size = (size_t) request->count * PAGE_BYTES, left = size;
	unsigned char *room = link_reserve(link, FRAME_PAGES, sizeof(*request) + size);
	unsigned char *pages = may_pack(self, request) ? plain : room + sizeof(*request);
	struct page_frame head = *request;
	int r;

	if (room == NULL)
		return fail_errno(err, ENOMEM, "send pages");
	r = read_pages(self, request, pages, err);
	if (r < 0)
		return r;
	head.flags &= PAGE_FLAG_URGENT;
	if (is_zero(pages, size)) {
		head.flags |= PAGE_FLAG_ZERO;
		left = 0;
	} else if (pages == plain) {
		left = pack(self, plain, size, &head, room + sizeof(head));
	}
	link_shrink(link, FRAME_PAGES, sizeof(head) + size, sizeof(head) + left);
	memcpy(room, &head, sizeof(head));
	page_frame_seal(room, sizeof(head) + left);
	self->pages_sent += head.count;
	return 0;
}

static int produce(struct page_server *self, struct page_queue *queue, struct link *link, size_t limit, struct error *err)
{
	int r = 0;

	while (r == 0 && queue->from < queue->to && link_queued(link) < limit)
		r = answer(self, link, &queue->items[queue->from++], err);
	return r;
}

int page_server_produce(struct page_server *self, struct link *faults, struct link *link, size_t limit, struct error *err)
{
	int r = faults != NULL ? produce(self, &self->faults, faults, limit, err) : 0;

	if (r == 0)
		r = produce(self, &self->urgent, link, limit, err);
	return r == 0 ? produce(self, &self->background, link, limit, err) : r;
}

bool page_queue_has_work(const struct page_queue *self)
{
	return self->from < self->to;
}
