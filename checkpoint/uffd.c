/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "base/owned.h"

/* From what vm.mmap_min_addr mostly is to the end of what a program can have without asking for more. */
#define FIRST_ADDRESS   0x10000UL
#define LAST_ADDRESS    0x7ffffffff000UL
#define UFFD_PAGE_BYTES 4096UL

#define EVENTS_WANTED                                                                                                 \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)

static enum uffd_outcome outcome_of(int errno_value)
{
	switch (errno_value) {
	case EEXIST:
		return UFFD_EXISTS;
	case EAGAIN:
		return UFFD_RETRY;
	case ENOENT:
		return UFFD_NO_AREA;
	case ESRCH:
	case ENOSPC:
		return UFFD_GONE;
	default:
		return UFFD_FAILED;
	}
}

enum uffd_outcome uffd_copy(int fd, uint64_t address, const void *data, size_t size, size_t *ret_bytes)
{
	struct uffdio_copy copy = {.dst = address, .src = (uintptr_t) data, .len = size};

	*ret_bytes = 0;
	if (ioctl(fd, UFFDIO_COPY, &copy) == 0) {
		*ret_bytes = size;
		return UFFD_DONE;
	}
	if (copy.copy > 0) {
		*ret_bytes = (size_t) copy.copy;
		return UFFD_RETRY;
	}
	if (copy.copy < 0 && copy.copy >= -4095)
		errno = (int) -copy.copy;
	return outcome_of(errno);
}

enum uffd_outcome uffd_zero(int fd, uint64_t address, size_t size)
{
	struct uffdio_zeropage zero = {.range = {.start = address, .len = size}};

	return ioctl(fd, UFFDIO_ZEROPAGE, &zero) == 0 ? UFFD_DONE : outcome_of(errno);
}

enum uffd_outcome uffd_poison(int fd, uint64_t address, size_t size)
{
	struct uffdio_poison poison = {.range = {.start = address, .len = size}};

	return ioctl(fd, UFFDIO_POISON, &poison) == 0 ? UFFD_DONE : outcome_of(errno);
}

void uffd_wake(int fd, uint64_t address, size_t size)
{
	struct uffdio_range range = {.start = address, .len = size};

	(void) ioctl(fd, UFFDIO_WAKE, &range);
}

static bool translate(const struct uffd_msg *message, struct uffd_event *ret_event)
{
	switch (message->event) {
	case UFFD_EVENT_PAGEFAULT:
		*ret_event = (struct uffd_event){.kind = UFFD_EVENT_KIND_FAULT, .address = message->arg.pagefault.address};
		return true;
	case UFFD_EVENT_FORK:
		*ret_event = (struct uffd_event){.kind = UFFD_EVENT_KIND_FORK, .fd = (int) message->arg.fork.ufd};
		return true;
	case UFFD_EVENT_REMAP:
		*ret_event = (struct uffd_event){.kind = UFFD_EVENT_KIND_REMAP, .address = message->arg.remap.from,
						 .end = message->arg.remap.from + message->arg.remap.len,
						 .target = message->arg.remap.to};
		return true;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		*ret_event = (struct uffd_event){.kind = message->event == UFFD_EVENT_REMOVE ? UFFD_EVENT_KIND_REMOVE
											     : UFFD_EVENT_KIND_UNMAP,
						 .address = message->arg.remove.start, .end = message->arg.remove.end};
		return true;
	default:
		return false;
	}
}

_Static_assert(sizeof(struct uffd_msg) == UFFD_MESSAGE_BYTES, "the kernel's message");

int uffd_read(int fd, void *room)
{
	ssize_t size = read(fd, room, UFFD_EVENTS_MAX * sizeof(struct uffd_msg));

	if (size < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return (int) ((size_t) size / sizeof(struct uffd_msg));
}

size_t uffd_translate(const void *messages, size_t count, struct uffd_event ret_events[static UFFD_EVENTS_MAX])
{
	const struct uffd_msg *message = messages;
	size_t known = 0;

	for (size_t i = 0; i < count && i < UFFD_EVENTS_MAX; i++)
		known += translate(&message[i], &ret_events[known]);
	return known;
}

size_t uffd_count(const void *room)
{
	const struct uffd_msg *message = room;
	size_t count = 0;

	while (count < UFFD_EVENTS_MAX && message[count].event != 0)
		count++;
	return count;
}

void uffd_wake_all(int fd)
{
	uffd_wake(fd, FIRST_ADDRESS, LAST_ADDRESS - FIRST_ADDRESS);
}

/* Nothing is registered so low; without memory it is not even looked for. */
bool uffd_is_alive(int fd)
{
	return uffd_zero(fd, FIRST_ADDRESS, UFFD_PAGE_BYTES) != UFFD_GONE;
}

bool uffd_is_complete(void)
{
	auto_close int fd = (int) syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = {.api = UFFD_API, .features = EVENTS_WANTED};

	return fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && (api.features & EVENTS_WANTED) == EVENTS_WANTED;
}
