/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removed things go first, so that what takes their place is not removed again. A file whose inode is another one
 * than before is removed too: writing into the old one could reach its other hard links.
 */
#include "checkpoint/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/layer_xattrs.h"

#define QUEUE_BYTES  (1U << 20)
#define CHUNK_BYTES  (256U << 10)

struct sender {
	struct session *session;
	int root_fd;
	const struct layer_list *now, *before;
	const struct string_set *forced;
	const struct layer_progress *progress;
	const struct layer_entry **by_inode; /* entries with several links, sorted by inode */
	size_t by_inode_count;
	uint64_t bytes_done;
};

static bool kind_of(mode_t mode, Hydra__V1__LayerEntryKind *ret_kind)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		*ret_kind = HYDRA__V1__LAYER_ENTRY_KIND__LAYER_REGULAR;
		return true;
	case S_IFDIR:
		*ret_kind = HYDRA__V1__LAYER_ENTRY_KIND__LAYER_DIRECTORY;
		return true;
	case S_IFLNK:
		*ret_kind = HYDRA__V1__LAYER_ENTRY_KIND__LAYER_SYMLINK;
		return true;
	case S_IFCHR:
		*ret_kind = HYDRA__V1__LAYER_ENTRY_KIND__LAYER_CHARACTER;
		return true;
	case S_IFBLK:
		*ret_kind = HYDRA__V1__LAYER_ENTRY_KIND__LAYER_BLOCK;
		return true;
	case S_IFIFO:
		*ret_kind = HYDRA__V1__LAYER_ENTRY_KIND__LAYER_FIFO;
		return true;
	default:
		return false;
	}
}

static int queue_entry(struct sender *self, const struct layer_entry *entry, const char *hard_link_to, struct error *err)
{
	Hydra__V1__LayerEntry message = HYDRA__V1__LAYER_ENTRY__INIT;
	auto_free char *proc_path = text_format("/proc/self/fd/%d/%s", self->root_fd, entry->path);
	struct layer_xattrs *xattrs = calloc(1, sizeof(*xattrs));
	char target[LAYER_PATH_MAX + 1] = "";
	int r = 0;

	if (xattrs == NULL)
		return fail_errno(err, ENOMEM, "send '%s'", entry->path);
	message.path = entry->path;
	message.mode = entry->status.st_mode & 07777;
	message.uid = entry->status.st_uid;
	message.gid = entry->status.st_gid;
	message.size = (uint64_t) entry->status.st_size;
	message.mtime_s = entry->status.st_mtim.tv_sec;
	message.mtime_ns = (uint32_t) entry->status.st_mtim.tv_nsec;
	message.major = major(entry->status.st_rdev);
	message.minor = minor(entry->status.st_rdev);
	message.target = target;
	if (hard_link_to != NULL) {
		message.kind = HYDRA__V1__LAYER_ENTRY_KIND__LAYER_HARD_LINK;
		message.target = (char *) (uintptr_t) hard_link_to;
	} else if (kind_of(entry->status.st_mode, &message.kind)) {
		r = layer_xattrs_read(xattrs, proc_path, entry->path, err);
		message.xattrs = xattrs->list;
		message.n_xattrs = xattrs->count;
	}
	if (r == 0 && S_ISLNK(entry->status.st_mode) && hard_link_to == NULL) {
		ssize_t size = readlinkat(self->root_fd, entry->path, target, LAYER_PATH_MAX);

		target[size > 0 ? size : 0] = '\0';
	}
	if (r == 0)
		r = link_queue_message(&self->session->link, FRAME_LAYER_ENTRY, &message, err);
	layer_xattrs_clear(xattrs);
	free(xattrs);
	return r;
}

static int queue_removal(struct sender *self, const char *path, struct error *err)
{
	Hydra__V1__LayerEntry message = HYDRA__V1__LAYER_ENTRY__INIT;

	message.kind = HYDRA__V1__LAYER_ENTRY_KIND__LAYER_REMOVE;
	message.path = (char *) (uintptr_t) path;
	return link_queue_message(&self->session->link, FRAME_LAYER_ENTRY, &message, err);
}

static int send_chunk(struct sender *self, int fd, off_t offset, size_t wanted, size_t *ret_sent, struct error *err)
{
	size_t reserved = sizeof(uint64_t) + wanted;
	unsigned char *room = link_reserve(&self->session->link, FRAME_LAYER_DATA, reserved);
	uint64_t position = (uint64_t) offset;
	ssize_t got;

	if (room == NULL)
		return fail_errno(err, ENOMEM, "send a file");
	memcpy(room, &position, sizeof(position));
	got = pread(fd, room + sizeof(position), wanted, offset);
	if (got < 0)
		return fail_errno(err, errno, "read a file of the writable layer");
	link_shrink(&self->session->link, FRAME_LAYER_DATA, reserved, sizeof(position) + (size_t) got);
	*ret_sent = (size_t) got;
	self->bytes_done += (uint64_t) got;
	if (self->progress != NULL)
		self->progress->report(self->progress->context, self->bytes_done);
	return session_flush(self->session, QUEUE_BYTES, err);
}

static int send_data(struct sender *self, const struct layer_entry *entry, struct error *err)
{
	/* whoever writes to it may have put a link in the place of a folder meanwhile */
	auto_close int fd = kernel_openat2(self->root_fd, entry->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0,
					   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	off_t size = entry->status.st_size, offset = 0;
	int r = 0;

	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? 0 : fail_errno(err, errno, "open '%s'", entry->path);
	if (self->now->settles)
		(void) sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	while (r == 0 && offset < size) {
		off_t data = lseek(fd, offset, SEEK_DATA), hole;
		size_t sent = 0;

		if (data < 0)
			break; /* nothing but a hole up to the end (or it was cut meanwhile) */
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0 || hole > size)
			hole = size;
		for (offset = data; r == 0 && offset < hole; offset += (off_t) sent) {
			size_t wanted = (size_t) (hole - offset) < CHUNK_BYTES ? (size_t) (hole - offset) : CHUNK_BYTES;

			r = send_chunk(self, fd, offset, wanted, &sent, err);
			if (sent == 0)
				break;
		}
		if (sent == 0)
			break;
	}
	return r < 0 ? fail_while(err, "'%s'", entry->path) : 0;
}

static int compare_inodes(const void *left, const void *right)
{
	const struct layer_entry *a = *(const struct layer_entry *const *) left, *b = *(const struct layer_entry *const *) right;

	if (a->status.st_ino != b->status.st_ino)
		return a->status.st_ino < b->status.st_ino ? -1 : 1;
	return strcmp(a->path, b->path);
}

static int index_inodes(struct sender *self, struct error *err)
{
	self->by_inode = calloc(self->now->count + 1, sizeof(*self->by_inode));
	if (self->by_inode == NULL)
		return fail_errno(err, ENOMEM, "send the writable layer");
	for (size_t i = 0; i < self->now->count; i++) {
		if (!S_ISDIR(self->now->items[i].status.st_mode) && self->now->items[i].status.st_nlink > 1)
			self->by_inode[self->by_inode_count++] = &self->now->items[i];
	}
	qsort(self->by_inode, self->by_inode_count, sizeof(*self->by_inode), compare_inodes);
	return 0;
}

static bool is_known(const struct sender *self, const struct layer_entry *entry)
{
	const struct layer_entry *old = layer_list_find(self->before, entry->path);

	return old != NULL && old->status.st_ino == entry->status.st_ino;
}

/* The name under which the target gets or has the contents: one it knows already, else the first one. */
static const struct layer_entry *canonical(const struct sender *self, const struct layer_entry *entry)
{
	const struct layer_entry *first = entry;
	size_t low = 0, high = self->by_inode_count;

	if (S_ISDIR(entry->status.st_mode) || entry->status.st_nlink < 2)
		return entry;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (self->by_inode[middle]->status.st_ino < entry->status.st_ino)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low; i < self->by_inode_count && self->by_inode[i]->status.st_ino == entry->status.st_ino; i++) {
		if (i == low)
			first = self->by_inode[i];
		if (is_known(self, self->by_inode[i]))
			return self->by_inode[i];
	}
	return first;
}

static int send_removals(struct sender *self, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < self->before->count && r == 0; i++) {
		const struct layer_entry *old = &self->before->items[i], *new;

		new = layer_list_find(self->now, old->path);
		if (new == NULL || (new->status.st_mode & S_IFMT) != (old->status.st_mode & S_IFMT) ||
		    (new->status.st_ino != old->status.st_ino && !S_ISDIR(new->status.st_mode)))
			r = queue_removal(self, old->path, err);
		if (r == 0)
			r = session_flush(self->session, QUEUE_BYTES, err);
	}
	return r;
}

static int send_entry(struct sender *self, const struct layer_entry *entry, struct error *err)
{
	const struct layer_entry *old = layer_list_find(self->before, entry->path), *source = canonical(self, entry);
	bool is_forced = string_set_has(self->forced, entry->path);
	int r;

	if (!is_forced && !layer_entry_changed(entry, old, self->before->taken_ns))
		return 0;
	if (source != entry)
		return is_known(self, entry) ? 0 : queue_entry(self, entry, source->path, err);
	r = queue_entry(self, entry, NULL, err);
	if (r == 0 && S_ISREG(entry->status.st_mode) && entry->status.st_size > 0)
		r = send_data(self, entry, err);
	return r == 0 ? session_flush(self->session, QUEUE_BYTES, err) : r;
}

int layer_send(struct session *session, int root_fd, const struct layer_list *now, const struct layer_list *before,
	       const struct string_set *forced, const struct layer_progress *progress, struct error *err)
{
	struct sender self = {.session = session, .root_fd = root_fd, .now = now, .before = before, .forced = forced,
			      .progress = progress};
	int r = index_inodes(&self, err);

	if (r == 0)
		r = send_removals(&self, err);
	/* Names that others are linked to go before those links, whatever their order. */
	for (size_t i = 0; i < now->count && r == 0; i++) {
		if (canonical(&self, &now->items[i]) == &now->items[i])
			r = send_entry(&self, &now->items[i], err);
	}
	for (size_t i = 0; i < now->count && r == 0; i++) {
		if (canonical(&self, &now->items[i]) != &now->items[i])
			r = send_entry(&self, &now->items[i], err);
	}
	free(self.by_inode);
	if (r == 0)
		r = link_queue(&session->link, FRAME_LAYER_DONE, NULL, 0, err);
	return r < 0 ? fail_while(err, "send the writable layer") : 0;
}
