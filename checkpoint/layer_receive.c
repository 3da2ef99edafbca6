/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a layer down. Entries come from another host: no path may lead out of the layer, not even through links
 * that came with it, so every folder is opened anew below the layer without following any.
 */
#include "checkpoint/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"

#define CAPABILITY "security.capability"

void layer_sink_init(struct layer_sink *self, int root_fd)
{
	*self = (struct layer_sink){.root_fd = root_fd, .file_fd = FD_NONE};
}

static int finish_file(struct layer_sink *self, struct error *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, self->file_time};
	int r = 0;

	if (self->file_fd < 0)
		return 0;
	if (self->capability_size > 0 && fsetxattr(self->file_fd, CAPABILITY, self->capability, self->capability_size, 0) < 0)
		r = fail_errno(err, errno, "set the capabilities of a file");
	self->capability_size = 0;
	if (r == 0 && futimens(self->file_fd, times) < 0)
		r = fail_errno(err, errno, "set the time of a file");
	if (close(take_fd(&self->file_fd)) < 0 && r == 0)
		r = fail_errno(err, errno, "write a file");
	return r;
}

void layer_sink_deinit(struct layer_sink *self)
{
	owned_fd_release(&self->file_fd);
	for (size_t i = 0; i < self->folder_count; i++)
		free(self->folders[i].path);
	free(self->folders);
	*self = (struct layer_sink){.root_fd = FD_NONE, .file_fd = FD_NONE};
}

bool layer_path_is_safe(const char *path)
{
	if (strlen(path) > LAYER_PATH_MAX || *path == '/')
		return false;
	for (const char *at = path; *at != '\0';) {
		size_t length = strcspn(at, "/");

		if (length == 0 || length > 255 || (length == 1 && at[0] == '.') || (length == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at += length;
		if (*at == '/' && *++at == '\0')
			return false;
	}
	return true;
}

/* The folder that holds path and the last component. The caller closes. */
static int open_parent(int root_fd, const char *path, const char **ret_name, struct error *err)
{
	const char *slash = strrchr(path, '/');
	auto_free char *folder = slash != NULL ? text_format("%.*s", (int) (slash - path), path) : text_copy(".");
	int fd = kernel_openat2(root_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0,
				RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);

	if (fd < 0)
		return fail_errno(err, errno, "open folder '%s' of the layer", folder);
	*ret_name = slash != NULL ? slash + 1 : path;
	return fd;
}

/* True: it is set when all of the file has come. */
static bool is_deferred(struct layer_sink *self, const Hydra__V1__LayerXattr *xattr)
{
	if (self->file_fd < 0 || xattr->value.len > sizeof(self->capability) || strcmp(xattr->name, CAPABILITY) != 0)
		return false;
	if (xattr->value.len > 0)
		memcpy(self->capability, xattr->value.data, xattr->value.len);
	self->capability_size = xattr->value.len;
	return true;
}

static int set_xattrs(struct layer_sink *self, const char *proc_path, const Hydra__V1__LayerEntry *entry, struct error *err)
{
	for (size_t i = 0; i < entry->n_xattrs; i++) {
		const Hydra__V1__LayerXattr *xattr = entry->xattrs[i];

		if (is_deferred(self, xattr))
			continue;
		if (lsetxattr(proc_path, xattr->name, xattr->value.data, xattr->value.len, 0) < 0)
			return fail_errno(err, errno, "set attribute '%.64s' of '%.200s'", xattr->name, entry->path);
	}
	return 0;
}

static int set_owner(int folder_fd, const char *name, const Hydra__V1__LayerEntry *entry, struct error *err)
{
	bool is_link = entry->kind == HYDRA__V1__LAYER_ENTRY_KIND__LAYER_SYMLINK;

	if (fchownat(folder_fd, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_errno(err, errno, "set the owner of '%s'", entry->path);
	if (!is_link && fchmodat(folder_fd, name, entry->mode & 07777, 0) < 0)
		return fail_errno(err, errno, "set the mode of '%s'", entry->path);
	return 0;
}

/* Files and folders get theirs when they are complete. */
static int set_time(int folder_fd, const char *name, const Hydra__V1__LayerEntry *entry, struct error *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = entry->mtime_s, .tv_nsec = entry->mtime_ns}};
	bool is_later = entry->kind == HYDRA__V1__LAYER_ENTRY_KIND__LAYER_REGULAR ||
			entry->kind == HYDRA__V1__LAYER_ENTRY_KIND__LAYER_DIRECTORY;

	if (!is_later && utimensat(folder_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail_errno(err, errno, "set the time of '%s'", entry->path);
	return 0;
}

static int make_regular(struct layer_sink *self, int folder_fd, const char *name, const Hydra__V1__LayerEntry *entry,
			struct error *err)
{
	auto_close int fd = openat(folder_fd, name, O_WRONLY | O_NOFOLLOW | O_TRUNC | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail_errno(err, errno, "make '%s'", entry->path);
	if (!S_ISREG(status.st_mode))
		return fail_because(err, EEXIST, "'%s' is no file here", entry->path);
	if (ftruncate(fd, (off_t) entry->size) < 0)
		return fail_errno(err, errno, "make '%s'", entry->path);
	self->file_fd = take_fd(&fd);
	self->file_size = entry->size;
	self->file_time = (struct timespec){.tv_sec = entry->mtime_s, .tv_nsec = entry->mtime_ns};
	return 0;
}

static int remember_folder(struct layer_sink *self, const Hydra__V1__LayerEntry *entry, struct error *err)
{
	struct layer_entry *grown = self->folders;

	if ((self->folder_count & (self->folder_count - 1)) == 0)
		grown = reallocarray(self->folders, self->folder_count == 0 ? 1 : self->folder_count * 2, sizeof(*grown));
	if (grown == NULL || self->folder_count >= LAYER_ENTRIES_MAX)
		return fail_errno(err, ENOMEM, "receive the layer");
	self->folders = grown;
	self->folders[self->folder_count] = (struct layer_entry){.path = text_copy(entry->path)};
	self->folders[self->folder_count].status.st_mtim =
		(struct timespec){.tv_sec = entry->mtime_s, .tv_nsec = entry->mtime_ns};
	self->folder_count++;
	return 0;
}

static int make_hard_link(struct layer_sink *self, int folder_fd, const char *name, const Hydra__V1__LayerEntry *entry,
			  struct error *err)
{
	auto_close int target_fd = FD_NONE;
	const char *target_name;

	if (!layer_path_is_safe(entry->target) || *entry->target == '\0')
		return fail_because(err, EPROTO, "a hard link in the layer leads out of it");
	target_fd = open_parent(self->root_fd, entry->target, &target_name, err);
	if (target_fd < 0)
		return target_fd;
	(void) unlinkat(folder_fd, name, 0);
	if (linkat(target_fd, target_name, folder_fd, name, 0) < 0)
		return fail_errno(err, errno, "link '%s'", entry->path);
	return 0;
}

static int make_special(int folder_fd, const char *name, const Hydra__V1__LayerEntry *entry, struct error *err)
{
	mode_t type = entry->kind == HYDRA__V1__LAYER_ENTRY_KIND__LAYER_FIFO	     ? S_IFIFO
		      : entry->kind == HYDRA__V1__LAYER_ENTRY_KIND__LAYER_CHARACTER ? S_IFCHR
										    : S_IFBLK;

	(void) unlinkat(folder_fd, name, 0);
	if (mknodat(folder_fd, name, type | 0600, makedev(entry->major, entry->minor)) < 0)
		return fail_errno(err, errno, "make '%s'", entry->path);
	return 0;
}

static int make(struct layer_sink *self, int folder_fd, const char *name, const Hydra__V1__LayerEntry *entry,
		struct error *err)
{
	switch (entry->kind) {
	case HYDRA__V1__LAYER_ENTRY_KIND__LAYER_REGULAR:
		return make_regular(self, folder_fd, name, entry, err);
	case HYDRA__V1__LAYER_ENTRY_KIND__LAYER_DIRECTORY:
		if (mkdirat(folder_fd, name, 0700) < 0 && errno != EEXIST)
			return fail_errno(err, errno, "make '%s'", entry->path);
		return remember_folder(self, entry, err);
	case HYDRA__V1__LAYER_ENTRY_KIND__LAYER_SYMLINK:
		(void) unlinkat(folder_fd, name, 0);
		if (symlinkat(entry->target, folder_fd, name) < 0)
			return fail_errno(err, errno, "make '%s'", entry->path);
		return 0;
	case HYDRA__V1__LAYER_ENTRY_KIND__LAYER_CHARACTER:
	case HYDRA__V1__LAYER_ENTRY_KIND__LAYER_BLOCK:
	case HYDRA__V1__LAYER_ENTRY_KIND__LAYER_FIFO:
		return make_special(folder_fd, name, entry, err);
	default:
		return fail_because(err, EPROTO, "'%s' in the layer is of an unknown kind", entry->path);
	}
}

static int make_root(struct layer_sink *self, const Hydra__V1__LayerEntry *entry, struct error *err)
{
	auto_free char *proc_path = text_format("/proc/self/fd/%d/.", self->root_fd);
	int r = entry->kind == HYDRA__V1__LAYER_ENTRY_KIND__LAYER_DIRECTORY
			? set_owner(self->root_fd, ".", entry, err)
			: fail_because(err, EPROTO, "the layer itself is no folder");

	if (r == 0)
		r = remember_folder(self, entry, err);
	return r == 0 ? set_xattrs(self, proc_path, entry, err) : r;
}

int layer_sink_entry(struct layer_sink *self, const Hydra__V1__LayerEntry *entry, struct error *err)
{
	auto_close int folder_fd = FD_NONE;
	auto_free char *proc_path = NULL;
	const char *name;
	int r = finish_file(self, err);

	if (r < 0)
		return r;
	if (!layer_path_is_safe(entry->path))
		return fail_because(err, EPROTO, "a path in the layer leads out of it");
	self->entries++;
	if (self->entries_max > 0 && self->entries > self->entries_max)
		return fail_because(err, EPROTO, "more comes than was announced");
	if (*entry->path == '\0')
		return make_root(self, entry, err);
	folder_fd = open_parent(self->root_fd, entry->path, &name, err);
	if (folder_fd < 0)
		return entry->kind == HYDRA__V1__LAYER_ENTRY_KIND__LAYER_REMOVE && folder_fd == -ENOENT ? 0 : folder_fd;
	if (entry->kind == HYDRA__V1__LAYER_ENTRY_KIND__LAYER_REMOVE)
		return dir_remove_all(folder_fd, name, err);
	if (entry->kind == HYDRA__V1__LAYER_ENTRY_KIND__LAYER_HARD_LINK)
		return make_hard_link(self, folder_fd, name, entry, err);
	r = make(self, folder_fd, name, entry, err);
	if (r == 0)
		r = set_owner(folder_fd, name, entry, err);
	proc_path = text_format("/proc/self/fd/%d/%s", folder_fd, name);
	if (r == 0)
		r = set_xattrs(self, proc_path, entry, err);
	return r == 0 ? set_time(folder_fd, name, entry, err) : r;
}

int layer_sink_frame(struct layer_sink *self, const struct frame *frame, struct error *err)
{
	Hydra__V1__LayerEntry *entry = hydra__v1__layer_entry__unpack(NULL, frame->size, frame->data);
	int r = entry == NULL ? fail_because(err, EPROTO, "an entry of the layer is damaged") : layer_sink_entry(self, entry, err);

	hydra__v1__layer_entry__free_unpacked(entry, NULL);
	return r;
}

int layer_sink_data(struct layer_sink *self, const unsigned char *data, size_t size, struct error *err)
{
	uint64_t offset;

	if (self->file_fd < 0 || size < sizeof(offset))
		return fail_because(err, EPROTO, "contents came without a file");
	memcpy(&offset, data, sizeof(offset));
	data += sizeof(offset);
	size -= sizeof(offset);
	if (offset > self->file_size || size > self->file_size - offset)
		return fail_because(err, EPROTO, "contents came for behind the end of a file");
	self->bytes += size;
	if (self->bytes_max > 0 && self->bytes > self->bytes_max)
		return fail_because(err, EPROTO, "more comes than was announced");
	while (size > 0) {
		ssize_t written = pwrite(self->file_fd, data, size, (off_t) offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return fail_errno(err, written == 0 ? EIO : errno, "write the layer");
		data += written;
		size -= (size_t) written;
		offset += (uint64_t) written;
	}
	return 0;
}

/* Deepest first is not needed: setting a folder's time does not change its parent's. */
int layer_sink_done(struct layer_sink *self, struct error *err)
{
	int r = finish_file(self, err);

	for (size_t i = 0; i < self->folder_count; i++) {
		struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, self->folders[i].status.st_mtim};
		const char *name;
		struct error ignored;
		auto_close int folder_fd = open_parent(self->root_fd, self->folders[i].path, &name, &ignored);

		if (folder_fd >= 0) /* a folder may have been removed again */
			(void) utimensat(folder_fd, *name != '\0' ? name : ".", times, AT_SYMLINK_NOFOLLOW);
		free(self->folders[i].path);
	}
	free(self->folders);
	self->folders = NULL;
	self->folder_count = 0;
	return r;
}
