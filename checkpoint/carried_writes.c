/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/carried_writes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/proc.h"

#define EVENTS_BYTES 65536U
#define HANDLE_BYTES 32U /* tmpfs: 12 */
#define MAPS_MAX     (64U << 20)

struct carried_inode {
	dev_t device;
	ino_t inode;
};

struct carried_handle {
	unsigned int size;
	int type;
	unsigned char bytes[HANDLE_BYTES];
};

int carried_watch_open(void)
{
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_FID | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS,
			       O_RDONLY | O_CLOEXEC);

	return fd < 0 ? FD_NONE : fd;
}

bool carried_watch_add(int watch_fd, int root_fd)
{
	return watch_fd >= 0 &&
	       fanotify_mark(watch_fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CLOSE_WRITE, root_fd, NULL) == 0;
}

static int compare_inodes(const void *left, const void *right)
{
	const struct carried_inode *a = left, *b = right;

	if (a->device != b->device)
		return a->device < b->device ? -1 : 1;
	return a->inode == b->inode ? 0 : a->inode < b->inode ? -1 : 1;
}

static int compare_handles(const void *left, const void *right)
{
	const struct carried_handle *a = left, *b = right;

	if (a->size != b->size || a->type != b->type)
		return a->size != b->size ? (a->size < b->size ? -1 : 1) : a->type < b->type ? -1 : 1;
	return memcmp(a->bytes, b->bytes, a->size);
}

/* Room for one more; arrays grow at powers of two. */
static void *grow(void *items, size_t count, size_t size)
{
	if ((count & (count - 1)) != 0)
		return items;
	items = reallocarray(items, count == 0 ? 1 : count * 2, size);
	if (items == NULL)
		abort();
	return items;
}

static void add_inode(struct carried_writes *self, dev_t device, ino_t inode)
{
	self->inodes = grow(self->inodes, self->inode_count, sizeof(*self->inodes));
	self->inodes[self->inode_count++] = (struct carried_inode){device, inode};
}

static bool fill_handle(struct carried_handle *self, const struct file_handle *handle)
{
	if (handle->handle_bytes > HANDLE_BYTES)
		return false;
	*self = (struct carried_handle){.size = handle->handle_bytes, .type = handle->handle_type};
	memcpy(self->bytes, handle->f_handle, handle->handle_bytes);
	return true;
}

static void add_event(struct carried_writes *self, const struct fanotify_event_metadata *event)
{
	const struct fanotify_event_info_fid *info = (const void *) ((const char *) event + event->metadata_len);
	struct carried_handle handle;

	if ((event->mask & FAN_Q_OVERFLOW) != 0 || event->vers != FANOTIFY_METADATA_VERSION ||
	    event->event_len < event->metadata_len + sizeof(*info) + sizeof(struct file_handle) ||
	    info->hdr.info_type != FAN_EVENT_INFO_TYPE_FID || !fill_handle(&handle, (const void *) info->handle)) {
		self->is_any = true;
		return;
	}
	self->handles = grow(self->handles, self->handle_count, sizeof(*self->handles));
	self->handles[self->handle_count++] = handle;
}

static void read_events(struct carried_writes *self, int watch_fd)
{
	auto_free char *buffer = malloc(EVENTS_BYTES);
	ssize_t size = 0;

	if (buffer == NULL)
		abort();
	while (!self->is_any && ((size = read(watch_fd, buffer, EVENTS_BYTES)) > 0 || errno == EINTR)) {
		const struct fanotify_event_metadata *event = (const void *) buffer;

		for (; FAN_EVENT_OK(event, size); event = FAN_EVENT_NEXT(event, size))
			add_event(self, event);
	}
	self->is_any |= size < 0 && errno != EAGAIN;
}

/* "7f00-7f01 rw-s 00000000 00:2a 123   /dev/shm/file" */
static void add_mapping(struct carried_writes *self, char *line)
{
	char *fields[5] = {NULL};
	char *end;
	unsigned long first;

	for (int i = 0; i < 5; i++) {
		fields[i] = strsep(&line, " ");
		if (fields[i] == NULL)
			return;
	}
	if (strlen(fields[1]) != 4 || fields[1][3] != 's')
		return;
	first = strtoul(fields[3], &end, 16);
	if (*end == ':')
		add_inode(self, makedev(first, strtoul(end + 1, NULL, 16)), strtoul(fields[4], NULL, 10));
}

static void add_mappings(struct carried_writes *self, pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/maps", (int) pid);
	auto_free char *maps = NULL;
	struct error ignored;

	if (file_read(AT_FDCWD, path, MAPS_MAX, &maps, NULL, &ignored) < 0) {
		self->is_any = true;
		return;
	}
	for (char *rest = maps, *line; (line = strsep(&rest, "\n")) != NULL;)
		add_mapping(self, line);
}

static void add_descriptors(struct carried_writes *self, pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/fd", (int) pid);
	DIR *folder = opendir(path);
	struct dirent *entry;

	self->is_any |= folder == NULL;
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		struct stat link, status;

		/* the link's mode tells what it was opened for */
		if (fstatat(dirfd(folder), entry->d_name, &link, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(link.st_mode) &&
		    (link.st_mode & S_IWUSR) != 0 && fstatat(dirfd(folder), entry->d_name, &status, 0) == 0 && S_ISREG(status.st_mode))
			add_inode(self, status.st_dev, status.st_ino);
	}
	if (folder != NULL)
		(void) closedir(folder);
}

void carried_writes_collect(struct carried_writes *self, int watch_fd, pid_t init)
{
	struct proc_tasks tasks;
	struct error ignored;

	*self = (struct carried_writes){.is_any = watch_fd < 0 || proc_tasks_read(&tasks, init, &ignored) < 0};
	if (self->is_any)
		return;
	for (size_t i = 0; i < tasks.count; i++) {
		add_mappings(self, tasks.items[i].pid);
		add_descriptors(self, tasks.items[i].pid);
	}
	proc_tasks_deinit(&tasks);
	read_events(self, watch_fd);
	if (self->inode_count > 0)
		qsort(self->inodes, self->inode_count, sizeof(*self->inodes), compare_inodes);
	if (self->handle_count > 0)
		qsort(self->handles, self->handle_count, sizeof(*self->handles), compare_handles);
}

static bool was_closed(const struct carried_writes *self, int root_fd, const char *path)
{
	union {
		struct file_handle handle;
		unsigned char space[sizeof(struct file_handle) + HANDLE_BYTES];
	} found = {.handle = {.handle_bytes = HANDLE_BYTES}};
	struct carried_handle key;
	int mount_id;

	if (self->handle_count == 0)
		return false;
	if (name_to_handle_at(root_fd, path, &found.handle, &mount_id, 0) < 0 || !fill_handle(&key, &found.handle))
		return true;
	return bsearch(&key, self->handles, self->handle_count, sizeof(key), compare_handles) != NULL;
}

bool carried_writes_has(const struct carried_writes *self, int root_fd, const struct layer_entry *entry)
{
	struct carried_inode key = {entry->status.st_dev, entry->status.st_ino};

	if (self->is_any)
		return true;
	return (self->inode_count > 0 &&
		bsearch(&key, self->inodes, self->inode_count, sizeof(key), compare_inodes) != NULL) ||
	       was_closed(self, root_fd, entry->path);
}

void carried_writes_deinit(struct carried_writes *self)
{
	free(self->inodes);
	free(self->handles);
	*self = (struct carried_writes){0};
}
