/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/output.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/owned.h"
#include "shim/log_file.h"
#include "shim/log_format.h"
#include "shim/log_journal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_NS      (1 * NS_PER_S)
#define MARK_SIZE_MAX 100

#define DROP_OLDEST_SIZE (64ULL << 10)
/* only what is in the pipes when a container has ended */
#define BLOCK_SIZE (4ULL << 20)

struct policy {
	Hydra__V1__LogPolicy policy;
	bool holds_back;
	uint64_t limit; /* 0: spill_size_bytes */
};

static const struct policy policies[] = {
	{HYDRA__V1__LOG_POLICY__LOG_POLICY_SPILL, false, 0},
	{HYDRA__V1__LOG_POLICY__LOG_POLICY_BLOCK, true, BLOCK_SIZE},
	{HYDRA__V1__LOG_POLICY__LOG_POLICY_DROP_OLDEST, false, DROP_OLDEST_SIZE},
};

struct output {
	struct output_owner owner;
	struct queue queue;
	struct log_file file;
	struct log_journal journal;
	struct event_source room_source; /* while the journal or a pipe is full */
	const struct log_format *format;
	bool holds_back;
	uint64_t limit;
	struct event_timer timer;
	int error; /* why the last attempt failed; 0: it did not */
	bool is_unread; /* it has been full for a while: nobody reads there */
	bool has_warned;
};

/* One for all: there is one thread. */
static uint8_t out[OUTPUT_WRITE_SIZE];

static const struct policy *find_policy(Hydra__V1__LogPolicy policy)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (policies[i].policy == policy)
			return &policies[i];
	}
	return &policies[0];
}

static uint64_t spill_size(uint64_t wanted)
{
	if (wanted == 0)
		return LOG_SPILL_SIZE_DEFAULT;
	return wanted < LOG_SPILL_SIZE_LEAST ? LOG_SPILL_SIZE_LEAST : wanted > LOG_SPILL_SIZE_MOST ? LOG_SPILL_SIZE_MOST : wanted;
}

static void configure(struct output *self, const Hydra__V1__LogConfig *config)
{
	const struct policy *policy = find_policy(config->policy);

	self->format = log_format_find(config->format);
	self->holds_back = policy->holds_back;
	self->limit = policy->limit > 0 ? policy->limit : spill_size(config->spill_size_bytes);
}

/* A predecessor was killed while it wrote to the log: its size says whether it was before or after. */
static void settle_intent(struct output *self)
{
	struct queue_intent *intent = &self->queue.now.intent;
	uint64_t whole = intent->size_before + intent->size;
	struct stat info;

	if (intent->size == 0)
		return;
	if (lstat(self->file.path, &info) == 0 && info.st_ino == intent->inode && (uint64_t) info.st_size >= whole)
		queue_fulfil(&self->queue);
	else if (log_file_open(&self->file) == 0 && self->file.inode == intent->inode && self->file.size > intent->size_before)
		(void) !ftruncate(self->file.fd, (off_t) intent->size_before);
	intent->size = 0;
	queue_commit(&self->queue);
}

/* The bytes' way into the log, as the intent says. */
static int write_block(struct output *self, const uint8_t *bytes, size_t size)
{
	struct queue_intent *intent = &self->queue.now.intent;
	int r;

	intent->size = (uint32_t) size;
	intent->ends_line = size > 0 && bytes[size - 1] == '\n';
	if (self->format->is_datagram) {
		r = log_journal_send(&self->journal, bytes, size);
	} else {
		r = log_file_prepare(&self->file, size);
		if (r == 0) {
			intent->inode = self->file.inode;
			intent->size_before = self->file.size;
			queue_commit(&self->queue);
			fault_point("shim.before-log");
			r = log_file_append(&self->file, bytes, size);
			fault_point("shim.after-log");
		}
	}
	if (r == 0)
		queue_fulfil(&self->queue);
	else
		intent->size = 0;
	queue_commit(&self->queue);
	return r;
}

static size_t format_out(const struct output *self, const struct log_origin *origin, const uint8_t *bytes, size_t size, size_t *ret_taken)
{
	/* what is written at once must fit a file */
	bool is_limited = !self->format->is_datagram && self->file.max_size < OUTPUT_WRITE_SIZE;

	return self->format->write(origin, bytes, size, out, is_limited ? (size_t) self->file.max_size : OUTPUT_WRITE_SIZE, ret_taken);
}

/* "[hydra: N bytes of output could not be written here]", where needed on a line of its own. */
static size_t print_mark(const struct output *self, bool needs_line, char line[static MARK_SIZE_MAX])
{
	const struct queue_state *now = &self->queue.now;

	return (size_t) snprintf(line, MARK_SIZE_MAX, "%s[hydra: %llu bytes of output could not be written here]\n",
				 needs_line && now->is_mid_line ? "\n" : "", (unsigned long long) now->unmarked);
}

static int write_mark(struct output *self)
{
	struct log_origin origin = {.time_ns = clock_realtime_ns(), .is_error = true, .is_last = true, .id = self->owner.id,
				    .namespace = self->owner.namespace};
	struct queue_state *now = &self->queue.now;
	char line[MARK_SIZE_MAX];
	size_t taken;
	size_t size = print_mark(self, self->format->needs_line_before_mark, line);
	size_t used = format_out(self, &origin, (const uint8_t *) line, size, &taken);

	now->intent = (struct queue_intent){.marks = now->unmarked, .is_error = 1, .rest = now->rests[1]};
	return write_block(self, out, used);
}

/* The rest of its stream, then the bytes: what of it is a whole number of characters. Both follow each other at `bytes`. */
static int write_bytes(struct output *self, const struct log_origin *origin, const uint8_t *bytes, size_t size)
{
	struct queue_rest *rest = &self->queue.now.rests[origin->is_error];
	struct queue_intent *intent = &self->queue.now.intent;
	size_t taken;
	size_t used = format_out(self, origin, bytes, size, &taken);

	*intent = (struct queue_intent){.taken = (uint32_t) taken, .is_error = origin->is_error};
	if (used == 0) { /* the start of a character */
		assert(size < sizeof(intent->rest.bytes));
		intent->consumed = (uint32_t) (size - rest->size);
		intent->rest.size = (uint32_t) size;
		memcpy(intent->rest.bytes, bytes, size);
		queue_fulfil(&self->queue);
		queue_commit(&self->queue);
		return 0;
	}
	if (taken >= rest->size) {
		intent->consumed = (uint32_t) (taken - rest->size);
	} else {
		intent->rest.size = (uint32_t) (rest->size - taken);
		memcpy(intent->rest.bytes, bytes + taken, intent->rest.size);
	}
	return write_block(self, out, used);
}

static int write_chunk(struct output *self)
{
	static uint8_t buffer[sizeof(((struct queue_rest *) NULL)->bytes) + QUEUE_CHUNK_MAX];
	uint8_t *bytes = buffer + sizeof(((struct queue_rest *) NULL)->bytes);
	struct queue_chunk chunk;
	size_t size = queue_peek(&self->queue, bytes, &chunk);
	struct log_origin origin = {.id = self->owner.id, .namespace = self->owner.namespace};
	const struct queue_rest *rest;

	if (size == 0)
		return 0;
	origin.time_ns = chunk.time_ns;
	origin.is_error = chunk.is_error != 0;
	rest = &self->queue.now.rests[origin.is_error];
	bytes -= rest->size;
	memcpy(bytes, rest->bytes, rest->size);
	return write_bytes(self, &origin, bytes, rest->size + size);
}

/* Where marks go: stderr, if somebody asked for that. */
static int mark_pipe(const int *pipes)
{
	return pipes[1] != PIPE_UNWANTED ? pipes[1] : pipes[0];
}

static int fill_pipe(struct output *self)
{
	const int *pipes = self->owner.pipes;
	char line[MARK_SIZE_MAX];

	if (self->queue.now.unmarked > 0)
		return queue_deliver_mark(&self->queue, mark_pipe(pipes), line, print_mark(self, true, line));
	return (int) queue_deliver(&self->queue, pipes);
}

/* 1: there may be more; 0: nothing is left. */
static int write_next(struct output *self)
{
	int r;

	if (self->owner.pipes != NULL && (self->queue.now.unmarked > 0 || !queue_is_empty(&self->queue)))
		r = fill_pipe(self);
	else if (self->queue.now.unmarked > 0)
		r = write_mark(self);
	else if (!queue_is_empty(&self->queue))
		r = write_chunk(self);
	else
		return 0;
	return r < 0 ? r : 1;
}

static void retry(struct output *self);

static void handle_timer(struct event_timer *timer)
{
	struct output *self = timer->context;
	bool was_full = self->error == EAGAIN;

	retry(self);
	self->is_unread = was_full && self->error == EAGAIN;
	if (self->is_unread)
		event_loop_disarm(self->owner.loop, timer); /* the room will be announced */
	self->owner.on_change(self->owner.context);
}

static void handle_room(struct event_source *source, uint32_t events)
{
	struct output *self = source->context;

	(void) events;
	retry(self);
	self->is_unread = false;
	self->owner.on_change(self->owner.context);
}

/* The journal's socket, or the pipe that is full. */
static int full_fd(struct output *self)
{
	const int *pipes = self->owner.pipes;

	if (pipes == NULL)
		return self->journal.fd;
	return self->queue.now.unmarked > 0 ? mark_pipe(pipes) : queue_next_pipe(&self->queue, pipes);
}

static void note_failure(struct output *self, int error)
{
	struct error ignored;

	if (!self->has_warned && error != EAGAIN) {
		log_warning("log not written", "container=%s error=\"%s\"", self->owner.id, strerrordesc_np(error));
		self->has_warned = true;
	}
	self->error = error;
	if (error == EAGAIN) {
		self->room_source = (struct event_source){.handle = handle_room, .context = self, .fd = FD_NONE};
		(void) event_loop_add(self->owner.loop, &self->room_source, full_fd(self), EPOLLOUT, &ignored);
	}
	event_loop_arm(self->owner.loop, &self->timer, RETRY_NS);
}

void output_deliver(struct output *self)
{
	uint64_t end = self->queue.now.written + OUTPUT_TURN_SIZE;
	int r = 1;

	if (self->error != 0)
		return; /* the timer tries again */
	while (r > 0 && self->queue.now.written < end)
		r = write_next(self);
	if (r < 0) {
		note_failure(self, -r);
		return;
	}
	if (r > 0) /* others have their turn first */
		event_loop_arm(self->owner.loop, &self->timer, 0);
	if (self->has_warned)
		log_info("log written again", "container=%s", self->owner.id);
	self->has_warned = false;
}

static void retry(struct output *self)
{
	event_loop_remove(self->owner.loop, &self->room_source);
	event_loop_disarm(self->owner.loop, &self->timer);
	self->error = 0;
	output_deliver(self);
}

int output_open(struct output **ret_self, const struct output_owner *owner, const Hydra__V1__LogConfig *config, struct error *err)
{
	struct output *self = calloc(1, sizeof(*self));
	bool is_log = owner->pipes == NULL;
	int r = self == NULL ? -ENOMEM : is_log ? log_file_init(&self->file, config) : 0;

	if (r < 0) {
		if (self != NULL)
			log_file_deinit(&self->file);
		free(self);
		return fail_errno(err, -r, "open the log '%s'", config->path);
	}
	self->owner = *owner;
	self->file.fd = is_log ? self->file.fd : FD_NONE;
	self->journal.fd = self->room_source.fd = FD_NONE;
	self->timer = (struct event_timer){.handle = handle_timer, .context = self};
	configure(self, config);
	if (!queue_init(&self->queue, owner->dir_fd, !is_log)) {
		log_error("output on its way not understood, set aside", "container=%s files=\"" STDIO_PAGE_NAME QUEUE_ASIDE ", spill" QUEUE_ASIDE "\"",
			  owner->id);
		owner->on_gap(owner->context);
	}
	if (is_log)
		settle_intent(self);
	if (is_log && !self->format->is_datagram)
		r = log_file_open(&self->file);
	if (log_file_is_misnamed(r)) {
		r = fail_errno(err, -r, "open the log '%s'", config->path);
		output_free(self);
		return r;
	}
	if (queue_pending(&self->queue) > 0 || self->queue.now.unmarked > 0)
		event_loop_arm(owner->loop, &self->timer, 0);
	*ret_self = self;
	return 0;
}

void output_free(struct output *self)
{
	if (self == NULL)
		return;
	event_loop_remove(self->owner.loop, &self->room_source);
	event_loop_disarm(self->owner.loop, &self->timer);
	log_journal_close(&self->journal);
	log_file_deinit(&self->file);
	queue_deinit(&self->queue);
	free(self);
}

ssize_t output_read_from(struct output *self, const struct queue_source *source)
{
	return queue_read_from(&self->queue, source, self->limit);
}

size_t output_copy_newest(struct output *self, uint8_t bytes[static QUEUE_CHUNK_MAX], bool *ret_is_error)
{
	*ret_is_error = self->queue.now.newest.is_error != 0;
	return queue_copy_newest(&self->queue, bytes);
}

/* The start of a character stays one. */
static void write_rests(struct output *self)
{
	for (int is_error = 0; is_error < 2 && self->error == 0; is_error++) {
		struct queue_rest rest = self->queue.now.rests[is_error];
		struct log_origin origin = {.time_ns = clock_realtime_ns(), .is_error = is_error != 0, .is_last = true, .id = self->owner.id,
					    .namespace = self->owner.namespace};
		int r = rest.size > 0 ? write_bytes(self, &origin, rest.bytes, rest.size) : 0;

		if (r < 0)
			note_failure(self, -r);
	}
}

void output_end(struct output *self)
{
	retry(self);
	if (queue_is_empty(&self->queue) && self->owner.pipes == NULL)
		write_rests(self);
}

bool output_holds_back(const struct output *self)
{
	return self->holds_back && self->error != 0 && !queue_is_empty(&self->queue);
}

bool output_is_busy(const struct output *self)
{
	return !queue_is_empty(&self->queue) && (self->error == 0 || (self->error == EAGAIN && !self->is_unread));
}

struct output_counters output_count(const struct output *self)
{
	const struct queue_state *now = &self->queue.now;
	const char *problem = self->is_unread ? "nobody reads it" : self->error != 0 && self->error != EAGAIN ? strerrordesc_np(self->error) : NULL;

	return (struct output_counters){now->read, now->written, now->dropped, queue_pending(&self->queue), problem,
					queue_is_partial(&self->queue)};
}

/* Where it goes containerd says; the rest of the configuration is for everybody. */
static int update_pipes(struct output *self, const Hydra__V1__LogConfig *config)
{
	configure(self, config);
	retry(self);
	return 0;
}

int output_update(struct output *self, const Hydra__V1__LogConfig *config, struct error *err)
{
	struct log_file file = {.fd = FD_NONE};
	bool has_moved;
	int r;

	if (self->owner.pipes != NULL)
		return update_pipes(self, config);
	has_moved = strcmp(config->path, self->file.path) != 0;
	r = log_file_init(&file, config);
	/* each file keeps one format; another path's is not ours to change */
	if (r == 0 && !has_moved && file.format != self->file.format)
		r = log_file_retire(&self->file);
	if (r == 0 && log_format_suffix(config->format) != NULL) {
		r = log_file_open(&file);
		r = log_file_is_misnamed(r) ? r : 0;
	}
	if (r < 0) {
		log_file_deinit(&file);
		return fail_errno(err, -r, "change the log to '%s'", config->path);
	}
	log_file_deinit(&self->file);
	self->file = file;
	configure(self, config);
	retry(self);
	return 0;
}
