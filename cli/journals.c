/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/journals.h"

#include "base/clock.h"
#include "base/descriptor_limit.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "state/record.h"
#include "state/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER_EVENTS (IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)
#define END_LOOKS     100
#define READ_MAX      (4U * JOURNAL_FILE_MAX)

struct followed {
	char *namespace;
	char *id;
	int dir_fd;
	int fd; /* of "journal": what is written last can be read when it is removed; FD_NONE: there is none yet */
	off_t at;
	uint64_t last;
	int watch;
	struct followed *next;
};

struct journals {
	struct journals_options options;
	int inotify_fd; /* watches the containers that are followed, namespaces, and their folder */
	struct followed *followed;
	bool is_silent; /* events are counted and not given */
	bool has_waited;
	bool is_over;   /* the only container that is followed has ended */
};

struct gather {
	struct journals *self;
	struct followed *followed;
};

static bool take_event(const event *entry, void *context)
{
	const struct gather *gather = context;
	struct followed *followed = gather->followed;
	const struct journals_options *options = &gather->self->options;

	if (entry->sequence <= followed->last)
		return true;
	if (!gather->self->is_silent && entry->sequence > followed->last + 1 && options->miss != NULL)
		options->miss(followed->namespace, followed->id, entry->sequence - followed->last - 1, options->context);
	followed->last = entry->sequence;
	if (!gather->self->is_silent)
		options->give(followed->namespace, entry, options->context);
	return true;
}

/* What was written behind what we have. */
static void read_rest(struct journals *self, struct followed *followed)
{
	struct gather gather = {self, followed};
	auto_free char *data = NULL;
	struct error ignored;
	size_t size;

	if (followed->fd < 0 || lseek(followed->fd, followed->at, SEEK_SET) < 0 ||
	    file_read_fd(followed->fd, "journal", READ_MAX, &data, &size, &ignored) < 0)
		return;
	followed->at += (off_t) journal_parse((uint8_t *) data, size, take_event, &gather);
}

static bool is_current(const struct followed *followed)
{
	struct stat ours, current;

	if (fstatat(followed->dir_fd, "journal", &current, 0) < 0)
		return true; /* removed, or just being rotated: then there is another event soon */
	return followed->fd >= 0 && fstat(followed->fd, &ours) == 0 && ours.st_ino == current.st_ino;
}

static void look(struct journals *self, struct followed *followed)
{
	struct gather gather = {self, followed};
	struct error ignored;

	read_rest(self, followed);
	if (is_current(followed))
		return;
	/* rotated, perhaps more than once */
	(void) journal_replay(followed->dir_fd, followed->last, take_event, &gather, &ignored);
	owned_fd_release(&followed->fd);
	followed->fd = openat(followed->dir_fd, "journal", O_RDONLY | O_CLOEXEC);
	followed->at = 0;
	read_rest(self, followed);
}

static void forget(struct journals *self, struct followed *gone)
{
	struct followed **link = &self->followed;

	while (*link != gone)
		link = &(*link)->next;
	*link = gone->next;
	(void) inotify_rm_watch(self->inotify_fd, gone->watch);
	owned_fd_release(&gone->fd);
	owned_fd_release(&gone->dir_fd);
	free(gone->namespace);
	free(gone->id);
	free(gone);
}

static struct followed *find(const struct journals *self, const char *namespace, const char *id)
{
	struct followed *followed = self->followed;

	while (followed != NULL && (strcmp(followed->id, id) != 0 || strcmp(followed->namespace, namespace) != 0))
		followed = followed->next;
	return followed;
}

static bool is_same_folder(const struct followed *followed, int dir_fd)
{
	struct stat ours, other;

	return fstat(followed->dir_fd, &ours) == 0 && fstat(dir_fd, &other) == 0 && ours.st_ino == other.st_ino;
}

/* Watches it first, then reads: nothing falls in between. */
static bool follow(const char *namespace, const char *id, void *context)
{
	struct journals *self = context;
	struct followed *known = find(self, namespace, id);
	auto_free char *path = text_format("%s/%s/%s", self->options.root, namespace, id);
	auto_close int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct followed *made;

	if (dir_fd < 0 || (self->options.id != NULL && strcmp(self->options.id, id) != 0))
		return true;
	if (known != NULL && is_same_folder(known, dir_fd)) {
		look(self, known);
		return true;
	}
	if (known != NULL) { /* another one of the same name */
		read_rest(self, known);
		forget(self, known);
	}
	made = calloc(1, sizeof(*made));
	if (made == NULL)
		return false;
	*made = (struct followed){.namespace = text_copy(namespace), .id = text_copy(id), .fd = FD_NONE, .next = self->followed};
	made->watch = inotify_add_watch(self->inotify_fd, path, FOLDER_EVENTS | IN_MODIFY | IN_CLOSE_WRITE | IN_DELETE_SELF);
	made->dir_fd = take_fd(&dir_fd);
	self->followed = made;
	look(self, made);
	return true;
}

static bool watch_namespace(const char *namespace, void *context)
{
	const struct journals *self = context;
	auto_free char *path = text_format("%s/%s", self->options.root, namespace);

	(void) inotify_add_watch(self->inotify_fd, path, FOLDER_EVENTS);
	return true;
}

static void look_at_all(struct journals *self)
{
	struct error ignored;

	if (self->options.namespace != NULL)
		(void) watch_namespace(self->options.namespace, self);
	else
		(void) run_dir_visit_namespaces(self->options.root, watch_namespace, self, &ignored);
	(void) run_dir_visit(self->options.root, self->options.namespace, follow, self, &ignored);
}

int journals_open(struct journals **ret_self, const struct journals_options *options, struct error *err)
{
	struct journals *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return fail_errno(err, ENOMEM, "follow events");
	(void) descriptor_limit_raise();
	*self = (struct journals){.options = *options, .is_silent = true};
	self->inotify_fd = inotify_init1(IN_CLOEXEC);
	if (self->inotify_fd < 0) {
		free(self);
		return fail_errno(err, errno, "watch files");
	}
	/* what is not there can't be watched */
	(void) dir_make_all(options->root, 0700, err);
	(void) inotify_add_watch(self->inotify_fd, options->root, FOLDER_EVENTS);
	look_at_all(self);
	self->is_silent = false;
	*ret_self = self;
	return 0;
}

void journals_close(struct journals *self)
{
	while (self->followed != NULL)
		forget(self, self->followed);
	(void) close(self->inotify_fd);
	free(self);
}

/* Events of many journals, to be put in order. */
struct collected {
	const struct followed *of;
	event *entry;
};

struct collection {
	uint64_t since_ns;
	const struct followed *from;
	struct collected *list;
	size_t count;
};

static bool collect(const event *entry, void *context)
{
	struct collection *self = context;
	struct collected *larger;

	if (entry->time_ns < self->since_ns || entry->sequence > self->from->last)
		return true;
	larger = realloc(self->list, (self->count + 1) * sizeof(*larger));
	if (larger == NULL)
		return false;
	self->list = larger;
	self->list[self->count] = (struct collected){self->from, (event *) (void *) message_copy(&entry->base)};
	self->count += self->list[self->count].entry != NULL;
	return true;
}

/* By time; those of one journal stay in its order, whatever the clock did. */
static int compare(const void *one, const void *other)
{
	const struct collected *a = one, *b = other;

	if (a->of == b->of)
		return a->entry->sequence < b->entry->sequence ? -1 : 1;
	return a->entry->time_ns < b->entry->time_ns ? -1 : a->entry->time_ns > b->entry->time_ns;
}

int journals_replay(struct journals *self, uint64_t since, uint64_t since_ns, struct error *err)
{
	struct collection collection = {.since_ns = since_ns};
	int r = 0;

	for (struct followed *followed = self->followed; followed != NULL && r == 0; followed = followed->next) {
		collection.from = followed;
		r = journal_replay(followed->dir_fd, since, collect, &collection, err);
	}
	if (collection.count > 0)
		qsort(collection.list, collection.count, sizeof(*collection.list), compare);
	for (size_t i = 0; i < collection.count; i++) {
		self->options.give(collection.list[i].of->namespace, collection.list[i].entry, self->options.context);
		message_free(collection.list[i].entry);
	}
	free(collection.list);
	return r;
}

/* Nobody supervises it, and nobody will. The kernel tells that a lock's file is closed just before the lock is free. */
static bool has_ended(const struct journals *self)
{
	const struct timespec pause = {.tv_nsec = NS_PER_MS};
	struct run_dir dir;
	struct error ignored;
	bool is_ended = false;

	if (run_dir_open(&dir, self->options.root, self->options.namespace, self->options.id, &ignored) < 0)
		return true;
	for (int look = 0; look < END_LOOKS && !is_ended; look++) {
		auto_record *container = NULL;

		if (look > 0)
			(void) nanosleep(&pause, NULL);
		if (record_load(dir.fd, &container, &ignored) < 0 || container->restart_is_pending ||
		    container->state != HYDRA__V1__CONTAINER_STATE__STATE_STOPPED)
			break;
		is_ended = !run_dir_is_locked(&dir, LOCK_SHIM);
	}
	run_dir_close(&dir);
	return is_ended;
}

static void handle(struct journals *self, const struct inotify_event *change)
{
	struct followed *followed = self->followed;

	while (followed != NULL && followed->watch != change->wd)
		followed = followed->next;
	/* of a container that is forgotten, or of a namespace that is gone: should that come again, its folder says so */
	if (followed == NULL && (change->mask & IN_IGNORED) != 0)
		return;
	if (followed == NULL || (change->mask & IN_Q_OVERFLOW) != 0) {
		look_at_all(self);
	} else if (change->mask & (IN_DELETE_SELF | IN_IGNORED)) {
		read_rest(self, followed);
		forget(self, followed);
	} else if (change->len > 0 && strcmp(change->name, "journal") == 0) {
		look(self, followed);
	} else if (change->len > 0 && strcmp(change->name, LOCK_SHIM) == 0 && change->mask & IN_CLOSE_WRITE) {
		look(self, followed);
		self->is_over = self->options.id != NULL && has_ended(self);
	}
}

bool journals_wait(struct journals *self)
{
	_Alignas(struct inotify_event) char buffer[16384];
	const struct inotify_event *change;
	ssize_t size;

	if (!self->has_waited && self->options.id != NULL && has_ended(self))
		return false;
	self->has_waited = true;
	size = read(self->inotify_fd, buffer, sizeof(buffer));

	for (ssize_t at = 0; at < size; at += (ssize_t) (sizeof(*change) + change->len)) {
		change = (const void *) (buffer + at);
		handle(self, change);
	}
	if (size < 0 && errno != EINTR)
		return false;
	return self->options.id == NULL || (self->followed != NULL && !self->is_over);
}
