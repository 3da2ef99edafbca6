/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/fifo.h"

#include "base/owned.h"
#include "base/text.h"
#include "shim/container.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_STEP 4096

struct fifo {
	struct process *process;
	int fd;     /* the end we use */
	int keeper; /* the other end, held open */
	struct event_source source;
	uint8_t *rest; /* output that did not fit */
	size_t rest_size;
};

struct fifos {
	struct fifo in, out, err;
};

static struct event_loop *loop_of(struct fifo *self)
{
	return &self->process->container->shim->loop;
}

static void fifo_close(struct fifo *self)
{
	event_loop_remove(loop_of(self), &self->source);
	owned_fd_release(&self->fd);
	owned_fd_release(&self->keeper);
	self->fd = self->keeper = FD_NONE;
	free(self->rest);
	self->rest = NULL;
	self->rest_size = 0;
}

static void fifo_init(struct fifo *self, struct process *process)
{
	*self = (struct fifo){.process = process, .fd = FD_NONE, .keeper = FD_NONE, .source.fd = FD_NONE};
}

static int open_output(struct fifo *self, const char *name, struct error *err)
{
	const char *path = text_has_prefix(name, "fifo://") ? name + 7 : name;
	struct stat info;

	if (name[0] == '\0')
		return 0;
	if (text_has_prefix(name, "file://")) {
		self->fd = open(name + 7, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		return self->fd < 0 ? fail_errno(err, errno, "open '%s'", name) : 0;
	}
	if (strstr(path, "://") != NULL)
		return fail_because(err, EINVAL, "unknown STDIO scheme in '%s'", name);
	if (stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
		self->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
		return self->fd < 0 ? fail_errno(err, errno, "open '%s'", path) : 0;
	}
	self->keeper = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	self->fd = self->keeper < 0 ? FD_NONE : open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	return self->fd < 0 ? fail_errno(err, errno, "open FIFO '%s'", path) : 0;
}

static int open_input(struct fifo *self, const char *name, struct error *err)
{
	const char *path = text_has_prefix(name, "fifo://") ? name + 7 : name;

	if (name[0] == '\0')
		return 0;
	self->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	self->keeper = self->fd < 0 ? FD_NONE : open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	return self->keeper < 0 ? fail_errno(err, errno, "open FIFO '%s'", path) : 0;
}

int fifos_open(struct process *process, const char *in, const char *out, const char *err_name, struct error *err)
{
	struct fifos *self = calloc(1, sizeof(*self));
	int r;

	if (self == NULL)
		return fail_errno(err, ENOMEM, "open stdio");
	fifo_init(&self->in, process);
	fifo_init(&self->out, process);
	fifo_init(&self->err, process);
	process->fifos = self;
	r = open_input(&self->in, in, err);
	if (r == 0)
		r = open_output(&self->out, out, err);
	if (r == 0 && !process->is_terminal)
		r = open_output(&self->err, err_name, err);
	return r;
}

void fifos_free(struct process *process)
{
	if (process->fifos == NULL)
		return;
	fifo_close(&process->fifos->in);
	fifo_close(&process->fifos->out);
	fifo_close(&process->fifos->err);
	free(process->fifos);
	process->fifos = NULL;
}

bool fifos_are_full(const struct process *process)
{
	return process->fifos != NULL && (process->fifos->out.rest_size > 0 || process->fifos->err.rest_size > 0);
}

/* Writes what waits. */
static void flush(struct fifo *self)
{
	ssize_t written = self->rest_size > 0 ? write(self->fd, self->rest, self->rest_size) : 0;

	if (written < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (written < 0) /* a file on a full disk: lost, the application goes on */
		written = (ssize_t) self->rest_size;
	self->rest_size -= (size_t) written;
	memmove(self->rest, self->rest + written, self->rest_size);
	if (self->rest_size > 0)
		return;
	free(self->rest);
	self->rest = NULL;
	event_loop_remove(loop_of(self), &self->source);
}

static void handle_room(struct event_source *source, uint32_t events)
{
	struct fifo *self = source->context;
	struct process *process = self->process;

	(void) events;
	flush(self);
	process_resume_output(process);
	shim_consider_end(process->container->shim);
}

void fifos_write(struct process *process, bool is_error, const uint8_t *data, size_t size)
{
	struct fifo *self = process->fifos == NULL ? NULL : is_error ? &process->fifos->err : &process->fifos->out;
	uint8_t *larger;
	struct error ignored;

	if (self == NULL || self->fd < 0)
		return;
	larger = realloc(self->rest, self->rest_size + size);
	if (larger == NULL)
		return;
	memcpy(larger + self->rest_size, data, size);
	self->rest = larger;
	self->rest_size += size;
	flush(self);
	if (self->rest_size == 0 || self->source.fd >= 0)
		return;
	self->source = (struct event_source){.handle = handle_room, .context = self, .fd = FD_NONE};
	(void) event_loop_add(loop_of(self), &self->source, self->fd, EPOLLOUT, &ignored);
}

static void handle_input(struct event_source *source, uint32_t events)
{
	struct fifo *self = source->context;
	uint8_t data[INPUT_STEP];
	ssize_t got = read(self->fd, data, sizeof(data));

	(void) events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		struct process *process = self->process;

		fifo_close(self);
		process_end_input(process);
		return;
	}
	if (process_write_input(self->process, data, (size_t) got) == -EAGAIN)
		event_loop_remove(loop_of(self), &self->source); /* fifos_start_input() goes on */
}

void fifos_start_input(struct process *process)
{
	struct fifo *self = process->fifos != NULL ? &process->fifos->in : NULL;
	struct error ignored;

	if (self == NULL || self->fd < 0 || self->source.fd >= 0)
		return;
	self->source = (struct event_source){.handle = handle_input, .context = self, .fd = FD_NONE};
	(void) event_loop_add(loop_of(self), &self->source, self->fd, EPOLLIN, &ignored);
}

void fifos_close_input(struct process *process)
{
	if (process->fifos == NULL)
		return;
	owned_fd_release(&process->fifos->in.keeper);
	process->fifos->in.keeper = FD_NONE;
	if (process->fifos->in.fd < 0)
		process_end_input(process);
}
