/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/fifo.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/owned.h"
#include "base/text.h"
#include "shim/container.h"
#include "shim/deposit.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define STEP_SIZE     65536
#define CAPACITY_SIZE (256 << 10) /* what is moved there takes a page of it, however small it is */

struct fifo {
	struct process *process;
	int fd; /* FD_NONE: nobody asked for it, or its end was reached */
	bool is_full;
	struct event_source source;
};

struct fifos {
	struct fifo fifo[FIFO_COUNT];
	int pipes[2]; /* of these, for the queue */
	uint64_t unread_since_ns; /* its end; 0: that was not looked for */
};

static struct event_loop *loop_of(const struct fifo *self)
{
	return &self->process->container->shim->loop;
}

static void fifo_close(struct fifo *self)
{
	event_loop_remove(loop_of(self), &self->source);
	owned_fd_release(&self->fd);
	self->fd = FD_NONE;
	self->is_full = false;
}

static struct fifos *fifos_new(void)
{
	struct fifos *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return NULL;
	for (int i = 0; i < FIFO_COUNT; i++)
		self->fifo[i] = (struct fifo){.fd = FD_NONE, .source.fd = FD_NONE};
	self->pipes[0] = self->pipes[1] = PIPE_UNWANTED;
	return self;
}

static struct fifos *need_fifos(struct process *process)
{
	struct fifos **kept = &process->container->kept_fifos;

	if (process->fifos != NULL)
		return process->fifos;
	process->fifos = process->exec_id[0] == '\0' && *kept != NULL ? take_ptr(kept) : fifos_new();
	for (int i = 0; i < FIFO_COUNT && process->fifos != NULL; i++)
		process->fifos->fifo[i].process = process;
	return process->fifos;
}

/* A terminal has no stderr; files are the log's. */
static bool is_named(const struct process *process, int number)
{
	const char *name = process->stdio_names[number];

	return name != NULL && name[0] != '\0' && !(number == FIFO_STDERR && process->is_terminal) && !text_has_prefix(name, "file://");
}

static int open_one(const char *name, int *ret_fd, struct error *err)
{
	const char *path = text_has_prefix(name, "fifo://") ? name + 7 : name;
	auto_close int fd = FD_NONE;

	if (strstr(path, "://") != NULL)
		return fail_because(err, EINVAL, "stdio '%s': expected the path of a FIFO, or file:///PATH", name);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(err, errno, "open FIFO '%s'", path);
	if (fcntl(fd, F_GETPIPE_SZ) < 0)
		return fail_because(err, EINVAL, "stdio '%s': expected a FIFO", name);
	(void) fcntl(fd, F_SETPIPE_SZ, CAPACITY_SIZE);
	*ret_fd = take_fd(&fd);
	return 0;
}

static void note_pipes(const struct process *process)
{
	for (int i = 0; i < 2; i++) {
		int fd = process->fifos->fifo[FIFO_STDOUT + i].fd;

		process->fifos->pipes[i] = fd >= 0 ? fd : is_named(process, FIFO_STDOUT + i) ? PIPE_LOST : PIPE_UNWANTED;
	}
}

int fifos_open(struct process *process, struct error *err)
{
	struct fifos *self = process->stdio_names[0] != NULL ? need_fifos(process) : NULL;
	int r = 0;

	if (self == NULL)
		return process->stdio_names[0] != NULL ? fail_errno(err, ENOMEM, "open stdio") : 0;
	for (int i = 0; i < FIFO_COUNT && r == 0; i++) {
		if (!is_named(process, i))
			continue;
		if (self->fifo[i].fd < 0)
			r = open_one(process->stdio_names[i], &self->fifo[i].fd, err);
		if (r == 0)
			deposit_put_fifo(process, i);
	}
	note_pipes(process);
	return r;
}

void fifos_free(struct process *process)
{
	if (process->fifos == NULL)
		return;
	for (int i = 0; i < FIFO_COUNT; i++) {
		deposit_drop_fifo(process, i);
		fifo_close(&process->fifos->fifo[i]);
	}
	free(process->fifos);
	process->fifos = NULL;
}

const int *fifos_pipes(const struct process *process)
{
	return process->fifos != NULL ? process->fifos->pipes : NULL;
}

int fifos_fd(const struct process *process, int number)
{
	return process->fifos != NULL ? process->fifos->fifo[number].fd : FD_NONE;
}

void fifos_keep(struct process *process, int number, int fd)
{
	struct fifos *self = number >= 0 && number < FIFO_COUNT ? need_fifos(process) : NULL;

	if (self == NULL || self->fifo[number].fd >= 0) {
		(void) close(fd);
		return;
	}
	self->fifo[number].fd = fd;
	note_pipes(process);
}

void fifos_keep_for_init(struct container *container, int number, int fd)
{
	if (container->kept_fifos == NULL)
		container->kept_fifos = fifos_new();
	if (container->kept_fifos != NULL && number >= 0 && number < FIFO_COUNT && container->kept_fifos->fifo[number].fd < 0)
		container->kept_fifos->fifo[number].fd = fd;
	else
		(void) close(fd);
}

int fifos_kept_fd(const struct container *container, int number)
{
	return container->kept_fifos != NULL ? container->kept_fifos->fifo[number].fd : FD_NONE;
}

void fifos_forget_kept(struct container *container)
{
	for (int i = 0; i < FIFO_COUNT && container->kept_fifos != NULL; i++)
		owned_fd_release(&container->kept_fifos->fifo[i].fd);
	free(container->kept_fifos);
	container->kept_fifos = NULL;
}

bool fifos_are_full(const struct process *process)
{
	return process->fifos != NULL && (process->fifos->fifo[FIFO_STDOUT].is_full || process->fifos->fifo[FIFO_STDERR].is_full);
}

static void handle_room(struct event_source *source, uint32_t events)
{
	struct fifo *self = source->context;
	struct process *process = self->process;

	(void) events;
	self->is_full = false;
	event_loop_remove(loop_of(self), source);
	process_resume_output(process);
	shim_consider_end(process->container->shim);
}

static void watch(struct fifo *self, event_handler *handle, uint32_t events)
{
	struct error ignored;

	self->source = (struct event_source){.handle = handle, .context = self, .fd = FD_NONE};
	(void) event_loop_add(loop_of(self), &self->source, self->fd, events, &ignored);
}

/* Nobody wants it. */
static ssize_t discard(int fd)
{
	static uint8_t bytes[4096];
	ssize_t got = read(fd, bytes, sizeof(bytes));

	return got < 0 ? -errno : got;
}

ssize_t fifos_take(struct process *process, int end_fd, bool is_error)
{
	struct fifo *self = &process->fifos->fifo[is_error ? FIFO_STDERR : FIFO_STDOUT];
	ssize_t got;

	if (self->fd < 0)
		return discard(end_fd);
	got = splice(end_fd, NULL, self->fd, NULL, STEP_SIZE, SPLICE_F_NONBLOCK);
	if (got < 0)
		got = -errno;
	fault_point("shim.fifo-written");
	if (got != -EAGAIN)
		return got;
	/* there was something to take */
	self->is_full = true;
	watch(self, handle_room, EPOLLOUT);
	process_resume_output(process);
	return got;
}

static void end_input(struct fifo *self)
{
	struct process *process = self->process;

	deposit_drop_fifo(process, FIFO_STDIN);
	fifo_close(self);
	process_end_input(process);
}

static void handle_input(struct event_source *source, uint32_t events)
{
	struct fifo *self = source->context;
	ssize_t got = splice(self->fd, NULL, process_input_fd(self->process), NULL, STEP_SIZE, SPLICE_F_NONBLOCK);
	int error = got < 0 ? errno : 0;

	(void) events;
	fault_point("shim.input-moved");
	if (got > 0 || error == EINTR)
		return;
	if (error == EAGAIN) {
		event_loop_remove(loop_of(self), source); /* it goes on when the process has read */
		process_await_input_room(self->process);
	} else {
		end_input(self); /* its end, or nobody reads any more */
	}
}

void fifos_start_input(struct process *process)
{
	struct fifo *self = process->fifos != NULL ? &process->fifos->fifo[FIFO_STDIN] : NULL;

	if (self == NULL || self->fd < 0 || self->source.fd >= 0)
		return;
	if (process->pid > 0 && process_input_fd(process) >= 0)
		watch(self, handle_input, EPOLLIN);
}

bool fifos_are_unread(struct process *process, uint64_t limit_ns)
{
	uint64_t now_ns = clock_monotonic_ns();
	int unread = 0;

	for (int i = FIFO_STDOUT; i <= FIFO_STDERR && process->fifos != NULL && unread == 0; i++) {
		if (process->fifos->fifo[i].fd >= 0 && ioctl(process->fifos->fifo[i].fd, FIONREAD, &unread) < 0)
			unread = 0;
	}
	if (unread == 0)
		return false;
	if (process->fifos->unread_since_ns == 0)
		process->fifos->unread_since_ns = now_ns;
	return now_ns - process->fifos->unread_since_ns < limit_ns;
}

void fifos_close_output(struct process *process)
{
	for (int i = FIFO_STDOUT; i <= FIFO_STDERR && process->fifos != NULL; i++) {
		deposit_drop_fifo(process, i);
		fifo_close(&process->fifos->fifo[i]);
		process->fifos->pipes[i - FIFO_STDOUT] = PIPE_UNWANTED;
	}
}

/* For reading alone, it has an end as soon as nobody has it open for writing. */
void fifos_close_input(struct process *process)
{
	struct fifo *self = process->fifos != NULL ? &process->fifos->fifo[FIFO_STDIN] : NULL;
	auto_free char *path = NULL;
	int reader;

	if (self == NULL || self->fd < 0) {
		process_end_input(process);
		return;
	}
	path = text_format("/proc/self/fd/%d", self->fd);
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (reader < 0)
		return;
	deposit_drop_fifo(process, FIFO_STDIN);
	fifo_close(self);
	self->fd = reader;
	deposit_put_fifo(process, FIFO_STDIN);
	fifos_start_input(process);
}
