/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/layer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/proc.h"

/* A file changed this close to a listing may change again without its time showing it. */
#define RACY_NS (2 * NS_PER_S)
#define DEPTH_MAX 256

static int compare_entries(const void *left, const void *right)
{
	return strcmp(((const struct layer_entry *) left)->path, ((const struct layer_entry *) right)->path);
}

static int add(struct layer_list *self, const char *path, const struct stat *status, struct error *err)
{
	if (self->count == self->capacity) {
		size_t capacity = self->capacity == 0 ? 256 : self->capacity * 2;
		struct layer_entry *grown = reallocarray(self->items, capacity, sizeof(*grown));

		if (grown == NULL || self->count >= LAYER_ENTRIES_MAX)
			return fail_errno(err, ENOMEM, "list the writable layer");
		self->items = grown;
		self->capacity = capacity;
	}
	self->items[self->count++] = (struct layer_entry){.path = text_copy(path), .status = *status};
	if (S_ISREG(status->st_mode))
		self->bytes += (uint64_t) status->st_size;
	return 0;
}

static int refuse_metacopy(int dir_fd, const char *name, const char *path, struct error *err)
{
	auto_free char *proc_path = text_format("/proc/self/fd/%d/%s", dir_fd, name);

	if (lgetxattr(proc_path, "trusted.overlay.metacopy", NULL, 0) < 0)
		return 0;
	return fail_because(err, EOPNOTSUPP, "'%s' in the writable layer has only its attributes there (overlay mounted with "
			    "metacopy=on); such a layer cannot be moved", path);
}

/* What is mounted there is not part of it; what is below that can't be seen, only that there is something to mount on. */
static void cover(struct stat *status)
{
	*status = (struct stat){.st_dev = status->st_dev, .st_nlink = 1, .st_mode = S_ISDIR(status->st_mode) ? S_IFDIR | 0755 : S_IFREG};
}

static int walk(struct layer_list *self, int dir_fd, const char *prefix, int depth, struct error *err)
{
	DIR *folder = fdopendir(dir_fd);
	struct dirent *entry;
	int r = 0;

	if (folder == NULL) {
		(void) close(dir_fd);
		return fail_errno(err, errno, "list '%s'", prefix);
	}
	if (depth > DEPTH_MAX)
		r = fail_because(err, ELOOP, "the writable layer is nested deeper than %d folders", DEPTH_MAX);
	while (r == 0 && (entry = readdir(folder)) != NULL) {
		auto_free char *path = text_format("%s%s%s", prefix, *prefix != '\0' ? "/" : "", entry->d_name);
		struct stat status;
		bool is_other;
		int child_fd;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* gone meanwhile */
		is_other = self->device != 0 && status.st_dev != self->device;
		if (is_other)
			cover(&status);
		if (S_ISSOCK(status.st_mode)) {
			self->socket_count++;
			continue;
		}
		if (S_ISREG(status.st_mode) && self->device == 0)
			r = refuse_metacopy(dirfd(folder), entry->d_name, path, err);
		if (r == 0)
			r = add(self, path, &status, err);
		if (r < 0 || !S_ISDIR(status.st_mode) || is_other)
			continue;
		child_fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child_fd >= 0)
			r = walk(self, child_fd, path, depth + 1, err);
	}
	(void) closedir(folder);
	return r;
}

static int take(struct layer_list *self, int root_fd, bool is_mount, struct error *err)
{
	int top_fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat status;
	int r;

	*self = (struct layer_list){.taken_ns = clock_realtime_ns()};
	if (top_fd < 0 || fstat(top_fd, &status) < 0)
		return fail_errno(err, errno, "open the writable layer");
	self->device = is_mount ? status.st_dev : 0;
	r = add(self, "", &status, err);
	if (r == 0)
		r = walk(self, top_fd, "", 0, err);
	else
		(void) close(top_fd);
	if (r < 0)
		layer_list_deinit(self);
	else
		qsort(self->items, self->count, sizeof(*self->items), compare_entries);
	return r;
}

int layer_list_take(struct layer_list *self, int root_fd, struct error *err)
{
	return take(self, root_fd, false, err);
}

int layer_list_take_mount(struct layer_list *self, int root_fd, struct error *err)
{
	return take(self, root_fd, true, err);
}

void layer_list_deinit(struct layer_list *self)
{
	for (size_t i = 0; i < self->count; i++)
		free(self->items[i].path);
	free(self->items);
	*self = (struct layer_list){0};
}

uint64_t layer_list_disk_bytes(const struct layer_list *self)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < self->count; i++)
		blocks += (uint64_t) self->items[i].status.st_blocks;
	return blocks * 512;
}

const struct layer_entry *layer_list_find(const struct layer_list *self, const char *path)
{
	struct layer_entry key = {.path = (char *) (uintptr_t) path};

	if (self->count == 0)
		return NULL;
	return bsearch(&key, self->items, self->count, sizeof(*self->items), compare_entries);
}

static uint64_t in_ns(const struct timespec *time)
{
	return (uint64_t) time->tv_sec * NS_PER_S + (uint64_t) time->tv_nsec;
}

bool layer_entry_changed(const struct layer_entry *now, const struct layer_entry *before, uint64_t before_taken_ns)
{
	const struct stat *new = &now->status, *old;

	if (before == NULL)
		return true;
	old = &before->status;
	return new->st_ino != old->st_ino || new->st_dev != old->st_dev || new->st_mode != old->st_mode ||
	       new->st_size != old->st_size || in_ns(&new->st_mtim) != in_ns(&old->st_mtim) ||
	       in_ns(&new->st_ctim) != in_ns(&old->st_ctim) || in_ns(&new->st_ctim) + RACY_NS > before_taken_ns;
}

static int compare_strings(const void *left, const void *right)
{
	return strcmp(*(char *const *) left, *(char *const *) right);
}

static int add_string(struct string_set *self, const char *item)
{
	char **grown = reallocarray(self->items, self->count + 1, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	self->items = grown;
	self->items[self->count++] = text_copy(item);
	return 0;
}

/* "7f00-7f01 rw-s 00000000 00:2a 123   /data/file" */
static int collect_task(struct string_set *self, pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/maps", (int) pid);
	auto_free char *maps = NULL;
	struct error ignored;
	int r = 0;

	if (file_read(AT_FDCWD, path, 64U << 20, &maps, NULL, &ignored) < 0)
		return 0;
	for (char *rest = maps, *line; r == 0 && (line = strsep(&rest, "\n")) != NULL;) {
		char *mode = strchr(line, ' ');
		char *name = strchr(line, '/');

		if (mode != NULL && name != NULL && mode[2] == 'w' && mode[4] == 's')
			r = add_string(self, name + 1);
	}
	return r;
}

int layer_collect_mapped(struct string_set *ret_paths, pid_t init, struct error *err)
{
	struct string_set set = {0};
	struct proc_tasks tasks;
	int r = proc_tasks_read(&tasks, init, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < tasks.count && r == 0; i++)
		r = collect_task(&set, tasks.items[i].pid);
	proc_tasks_deinit(&tasks);
	if (set.count > 0)
		qsort(set.items, set.count, sizeof(*set.items), compare_strings);
	*ret_paths = set;
	return r < 0 ? fail_errno(err, -r, "list mapped files") : 0;
}

bool string_set_has(const struct string_set *self, const char *item)
{
	return self->count > 0 && bsearch(&item, self->items, self->count, sizeof(*self->items), compare_strings) != NULL;
}

void string_set_deinit(struct string_set *self)
{
	for (size_t i = 0; i < self->count; i++)
		free(self->items[i]);
	free(self->items);
	*self = (struct string_set){0};
}
