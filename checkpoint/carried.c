/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/carried.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/carried_writes.h"
#include "checkpoint/layer_digest.h"
#include "checkpoint/proc.h"

/* What a tmpfs is made with, and what mountinfo says besides. */
static const char *const kept_options[] = {"size", "nr_inodes", "mode", "uid", "gid", "huge", "noswap", "inode32", "inode64", NULL};
static const char *const implied_options[] = {"rw", "seclabel", NULL};

char *carried_options(const char *super_options)
{
	auto_free char *words = text_copy(super_options);
	char *kept = text_copy("");

	if (strcmp(super_options, "rw") != 0 && !text_has_prefix(super_options, "rw,")) {
		free(kept);
		return NULL;
	}
	for (char *rest = words, *word; (word = strsep(&rest, ",")) != NULL;) {
		auto_free char *name = text_format("%.*s", (int) strcspn(word, "="), word);
		auto_free char *before = kept;

		if (text_is_one_of(name, implied_options))
			kept = text_copy(before);
		else if (text_is_one_of(name, kept_options))
			kept = text_format("%s%s%s", before, *before != '\0' ? "," : "", word);
		else
			return NULL;
	}
	return kept;
}

static bool is_same(const struct proc_mount *mount, const struct proc_mount *other)
{
	return strcmp(mount->device, other->device) == 0;
}

/* Nobody else has it, and nothing of it is mounted but all of it. */
static bool is_carried(const struct proc_mounts *theirs, const struct proc_mounts *ours, const struct proc_mount *mount)
{
	if (strcmp(mount->fstype, "tmpfs") != 0)
		return false;
	for (size_t i = 0; i < ours->count; i++) {
		if (is_same(mount, &ours->items[i]))
			return false;
	}
	for (size_t i = 0; i < theirs->count; i++) {
		const struct proc_mount *other = &theirs->items[i];

		if (is_same(mount, other) && (strcmp(other->root, "/") != 0 || strcmp(other->mountpoint, "/") == 0 || other->is_shared))
			return false;
	}
	return true;
}

/* The folder that the container sees there; FD_NONE also when something else is mounted over it. */
static int open_mount(int top_fd, const struct proc_mount *mount)
{
	auto_close int fd = kernel_openat2(top_fd, mount->mountpoint + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0,
					   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	struct stat status;
	char device[24];

	if (fd < 0 || fstat(fd, &status) < 0)
		return FD_NONE;
	(void) text_fit(device, sizeof(device), "%u:%u", major(status.st_dev), minor(status.st_dev));
	return strcmp(device, mount->device) == 0 ? take_fd(&fd) : FD_NONE;
}

static Hydra__V1__CarriedMount *describe(const struct proc_mounts *theirs, const struct proc_mount *mount, char *options)
{
	Hydra__V1__CarriedMount *self = malloc(sizeof(*self));

	if (self == NULL)
		abort();
	hydra__v1__carried_mount__init(self);
	self->options = options;
	self->source = text_copy(mount->source);
	self->mountpoints = calloc(theirs->count, sizeof(char *));
	if (self->mountpoints == NULL)
		abort();
	for (size_t i = 0; i < theirs->count; i++) {
		if (is_same(mount, &theirs->items[i]))
			self->mountpoints[self->n_mountpoints++] = text_copy(theirs->items[i].mountpoint);
	}
	return self;
}

static bool is_first(const struct proc_mounts *theirs, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (is_same(&theirs->items[i], &theirs->items[index]))
			return false;
	}
	return true;
}

/* Watched before it is listed: what is written later is seen one way or the other. */
static void add(struct carried *self, Hydra__V1__CheckpointMetadata *metadata, const struct proc_mounts *theirs,
		const struct proc_mount *mount, int top_fd)
{
	struct carried_mount *item = &self->items[self->count];
	auto_close int fd = open_mount(top_fd, mount);
	char *options = fd >= 0 ? carried_options(mount->super_options) : NULL;
	struct error ignored;

	if (options == NULL || self->count == CARRIED_MAX)
		return free(options);
	if (!carried_watch_add(self->watch_fd, fd)) {
		owned_fd_release(&self->watch_fd);
		self->watch_fd = FD_NONE;
	}
	if (layer_list_take_mount(&item->before, fd, &ignored) < 0)
		return free(options);
	item->root_fd = take_fd(&fd);
	metadata->carried[self->count++] = describe(theirs, mount, options);
	metadata->n_carried = self->count;
}

int carried_find(struct carried *self, Hydra__V1__CheckpointMetadata *metadata, pid_t init, struct error *err)
{
	auto_free char *top = text_format("/proc/%d/root", (int) init);
	auto_close int top_fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct proc_mounts theirs = {0}, ours = {0};
	int r = top_fd < 0 ? fail_errno(err, errno, "open '%s'", top) : proc_mounts_read(&theirs, init, err);

	if (r == 0)
		r = proc_mounts_read(&ours, 0, err);
	self->watch_fd = carried_watch_open();
	metadata->carried = calloc(CARRIED_MAX, sizeof(metadata->carried[0]));
	if (metadata->carried == NULL)
		abort();
	for (size_t i = 0; r == 0 && i < theirs.count; i++) {
		if (is_first(&theirs, i) && is_carried(&theirs, &ours, &theirs.items[i]))
			add(self, metadata, &theirs, &theirs.items[i], top_fd);
	}
	proc_mounts_deinit(&theirs);
	proc_mounts_deinit(&ours);
	return r < 0 ? fail_while(err, "look for what is in memory file systems") : 0;
}

/* Where times don't tell what was written, it is watched, before it is listed. */
int carried_add_folder(struct carried *self, const char *path, struct error *err)
{
	struct carried_mount *item = &self->items[self->count];
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return fail_errno(err, errno, "open volume '%s'", path);
	if (self->count == CARRIED_MAX)
		return fail_because(err, E2BIG, "more than %d volumes are to be carried along", CARRIED_MAX);
	item->times_tell = layer_times_tell(fd);
	if (!item->times_tell && self->watch_fd < 0)
		self->watch_fd = carried_watch_open();
	if (!item->times_tell && !carried_watch_add(self->watch_fd, fd))
		self->cannot_watch = true;
	r = layer_list_take_mount(&item->before, fd, err);
	if (r < 0)
		return fail_while(err, "list volume '%s'", path);
	item->before.settles = item->times_tell;
	item->root_fd = take_fd(&fd);
	self->count++;
	return 0;
}

void carried_leave(struct carried *self, Hydra__V1__CheckpointMetadata *metadata)
{
	for (size_t i = 0; i < metadata->n_carried; i++)
		hydra__v1__carried_mount__free_unpacked(metadata->carried[i], NULL);
	metadata->n_carried = 0;
	carried_deinit(self);
}

void carried_deinit(struct carried *self)
{
	for (size_t i = 0; i < self->count; i++) {
		owned_fd_release(&self->items[i].root_fd);
		layer_list_deinit(&self->items[i].before);
	}
	owned_fd_release(&self->watch_fd);
	*self = CARRIED_NONE;
}

uint64_t carried_bytes(const struct carried *self)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < self->count; i++)
		bytes += self->items[i].before.bytes;
	return bytes;
}

int carried_send(const struct carried *self, struct session *session, const struct layer_progress *progress, struct error *err)
{
	struct layer_list nothing = {0};
	int r = 0;

	for (size_t i = 0; i < self->count && r == 0; i++)
		r = layer_send(session, self->items[i].root_fd, &self->items[i].before, &nothing, &(struct string_set){0}, progress, err);
	return r;
}

/* Of a sorted list, sorted. */
static void choose(struct string_set *ret_forced, const struct carried_writes *writes, int root_fd, const struct layer_list *now)
{
	*ret_forced = (struct string_set){.items = calloc(now->count, sizeof(char *))};
	if (ret_forced->items == NULL)
		abort();
	for (size_t i = 0; i < now->count; i++) {
		if (S_ISREG(now->items[i].status.st_mode) && now->items[i].status.st_size > 0 &&
		    carried_writes_has(writes, root_fd, &now->items[i]))
			ret_forced->items[ret_forced->count++] = text_copy(now->items[i].path);
	}
}

static int send_changes(const struct carried_mount *self, struct session *session, const struct carried_writes *writes, struct error *err)
{
	struct string_set forced = {0};
	struct layer_list now;
	int r = layer_list_take_mount(&now, self->root_fd, err);

	if (r < 0)
		return r;
	if (!self->times_tell)
		choose(&forced, writes, self->root_fd, &now);
	r = layer_send(session, self->root_fd, &now, &self->before, &forced, NULL, err);
	string_set_deinit(&forced);
	layer_list_deinit(&now);
	return r;
}

int carried_send_rest(const struct carried *self, struct session *session, pid_t init, struct error *err)
{
	struct carried_writes writes = {0};
	int r = 0;

	if (self->count > 0)
		carried_writes_collect(&writes, self->cannot_watch ? FD_NONE : self->watch_fd, init);
	for (size_t i = 0; i < self->count && r == 0; i++)
		r = send_changes(&self->items[i], session, &writes, err);
	carried_writes_deinit(&writes);
	return r;
}
