/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/layer_digest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/layer_xattrs.h"

#define FORM          "hydra layer 1\n"
#define BLOCK_BYTES   4096U
#define CHUNK_BYTES   (256U << 10)
#define RACY_NS       (2 * NS_PER_S)
#define ENTRIES_TURN  512U

struct digester {
	EVP_MD_CTX *context;
	int root_fd;
	bool settles;
	const struct layer_turn *turn;
	const struct layer_entry **by_inode; /* those with several names */
	size_t by_inode_count;
	struct layer_xattrs *xattrs;
	unsigned char *chunk;
	bool has_failed;
};

static void put_bytes(struct digester *self, const void *data, size_t size)
{
	self->has_failed |= EVP_DigestUpdate(self->context, data, size) != 1;
}

static void put_number(struct digester *self, uint64_t number)
{
	unsigned char bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (unsigned char) (number >> (8 * i));
	put_bytes(self, bytes, sizeof(bytes));
}

static void put_string(struct digester *self, const void *data, size_t size)
{
	put_number(self, size);
	put_bytes(self, data, size);
}

static void put_text(struct digester *self, const char *text)
{
	put_string(self, text, strlen(text));
}

static int begin(struct digester *self, struct error *err)
{
	self->context = EVP_MD_CTX_new();
	self->chunk = malloc(CHUNK_BYTES);
	self->xattrs = calloc(1, sizeof(*self->xattrs));
	if (self->context == NULL || self->chunk == NULL || self->xattrs == NULL || EVP_DigestInit_ex(self->context, EVP_sha256(), NULL) != 1)
		return fail_errno(err, ENOMEM, "compute a digest");
	return 0;
}

static void end(struct digester *self, char ret_digest[LAYER_DIGEST_SIZE])
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	self->has_failed |= EVP_DigestFinal_ex(self->context, bytes, &size) != 1;
	for (unsigned int i = 0; i < size && i < (LAYER_DIGEST_SIZE - 1) / 2; i++)
		(void) text_fit(ret_digest + 2 * i, 3, "%02x", bytes[i]);
}

static void digester_deinit(struct digester *self)
{
	EVP_MD_CTX_free(self->context);
	free(self->chunk);
	free(self->xattrs);
	free(self->by_inode);
}

static int compare_inodes(const struct layer_entry *a, const struct layer_entry *b)
{
	if (a->status.st_dev != b->status.st_dev)
		return a->status.st_dev < b->status.st_dev ? -1 : 1;
	return a->status.st_ino == b->status.st_ino ? 0 : a->status.st_ino < b->status.st_ino ? -1 : 1;
}

static int compare_names(const void *left, const void *right)
{
	const struct layer_entry *a = *(const struct layer_entry *const *) left, *b = *(const struct layer_entry *const *) right;
	int order = compare_inodes(a, b);

	return order != 0 ? order : strcmp(a->path, b->path);
}

static bool has_names(const struct layer_entry *entry)
{
	return !S_ISDIR(entry->status.st_mode) && entry->status.st_nlink > 1;
}

static int index_inodes(struct digester *self, const struct layer_list *list, struct error *err)
{
	self->by_inode = calloc(list->count + 1, sizeof(*self->by_inode));
	if (self->by_inode == NULL)
		return fail_errno(err, ENOMEM, "compute a digest");
	for (size_t i = 0; i < list->count; i++) {
		if (has_names(&list->items[i]))
			self->by_inode[self->by_inode_count++] = &list->items[i];
	}
	qsort(self->by_inode, self->by_inode_count, sizeof(*self->by_inode), compare_names);
	return 0;
}

/* The first name of the file. */
static const struct layer_entry *first_name(const struct digester *self, const struct layer_entry *entry)
{
	size_t low = 0, high = self->by_inode_count;

	if (!has_names(entry))
		return entry;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_inodes(self->by_inode[middle], entry) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return self->by_inode[low];
}

static Hydra__V1__LayerEntryKind kind_of(mode_t mode)
{
	static const struct {
		mode_t mode;
		Hydra__V1__LayerEntryKind kind;
	} kinds[] = {{S_IFREG, HYDRA__V1__LAYER_ENTRY_KIND__LAYER_REGULAR},   {S_IFDIR, HYDRA__V1__LAYER_ENTRY_KIND__LAYER_DIRECTORY},
		     {S_IFLNK, HYDRA__V1__LAYER_ENTRY_KIND__LAYER_SYMLINK},   {S_IFCHR, HYDRA__V1__LAYER_ENTRY_KIND__LAYER_CHARACTER},
		     {S_IFBLK, HYDRA__V1__LAYER_ENTRY_KIND__LAYER_BLOCK},     {S_IFIFO, HYDRA__V1__LAYER_ENTRY_KIND__LAYER_FIFO}};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if ((mode & S_IFMT) == kinds[i].mode)
			return kinds[i].kind;
	}
	return HYDRA__V1__LAYER_ENTRY_KIND__LAYER_REMOVE; /* there is no such */
}

static int put_status(struct digester *self, const struct layer_entry *entry, struct error *err)
{
	const struct stat *status = &entry->status;
	bool is_device = S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode);
	char target[LAYER_PATH_MAX + 1];
	ssize_t size = 0;

	put_number(self, status->st_mode & 07777);
	put_number(self, status->st_uid);
	put_number(self, status->st_gid);
	put_number(self, (uint64_t) status->st_mtim.tv_sec);
	put_number(self, (uint64_t) status->st_mtim.tv_nsec);
	if (S_ISLNK(status->st_mode))
		size = readlinkat(self->root_fd, entry->path, target, LAYER_PATH_MAX);
	if (size < 0)
		return fail_errno(err, errno, "read link '%s'", entry->path);
	put_string(self, target, (size_t) size);
	put_number(self, is_device ? major(status->st_rdev) : 0);
	put_number(self, is_device ? minor(status->st_rdev) : 0);
	return 0;
}

static int put_xattrs(struct digester *self, const struct layer_entry *entry, struct error *err)
{
	auto_free char *proc_path = text_format("/proc/self/fd/%d/%s", self->root_fd, entry->path);
	int r = layer_xattrs_read(self->xattrs, proc_path, entry->path, err);

	put_number(self, self->xattrs->count);
	for (size_t i = 0; i < self->xattrs->count; i++) {
		put_text(self, self->xattrs->list[i]->name);
		put_string(self, self->xattrs->list[i]->value.data, self->xattrs->list[i]->value.len);
	}
	layer_xattrs_clear(self->xattrs);
	return r;
}

static void put_blocks(struct digester *self, uint64_t offset, size_t size)
{
	static const unsigned char zeros[BLOCK_BYTES];

	for (size_t at = 0; at < size; at += BLOCK_BYTES) {
		size_t length = size - at < BLOCK_BYTES ? size - at : BLOCK_BYTES;

		if (memcmp(self->chunk + at, zeros, length) == 0)
			continue;
		put_number(self, (offset + at) / BLOCK_BYTES + 1);
		put_string(self, self->chunk + at, length);
	}
}

static int ask_turn(const struct digester *self, struct error *err)
{
	return self->turn == NULL ? 0 : self->turn->turn(self->turn->context, err);
}

static ssize_t read_full(int fd, unsigned char *data, size_t size, off_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(fd, data + done, size - done, offset + (off_t) done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t) got;
	}
	return (ssize_t) done;
}

/* From the first byte that is no hole. */
static int put_data(struct digester *self, int fd, const struct layer_entry *entry, struct error *err)
{
	off_t size = entry->status.st_size, offset = 0;
	int r = 0;

	while (r == 0 && offset < size) {
		off_t data = lseek(fd, offset, SEEK_DATA);
		ssize_t got;

		if (data < 0 && errno == ENXIO)
			break; /* a hole up to the end */
		offset = (data > offset ? data : offset) / BLOCK_BYTES * BLOCK_BYTES;
		if (offset >= size)
			break;
		got = read_full(fd, self->chunk, (uint64_t) (size - offset) < CHUNK_BYTES ? (size_t) (size - offset) : CHUNK_BYTES, offset);
		if (got < 0)
			return fail_errno(err, (int) -got, "read '%s'", entry->path);
		if (got == 0)
			return fail_because(err, EAGAIN, "'%s' changes", entry->path);
		put_blocks(self, (uint64_t) offset, (size_t) got);
		offset += got;
		r = ask_turn(self, err);
	}
	return r;
}

static int put_file(struct digester *self, const struct layer_entry *entry, struct error *err)
{
	auto_close int fd = FD_NONE;
	int r = 0;

	put_number(self, (uint64_t) entry->status.st_size);
	if (entry->status.st_size > 0) {
		fd = kernel_openat2(self->root_fd, entry->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0,
				    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
		if (fd < 0)
			return fail_errno(err, errno, "open '%s'", entry->path);
		if (self->settles)
			(void) sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
		r = put_data(self, fd, entry, err);
	}
	put_number(self, 0);
	return r;
}

static int put_entry(struct digester *self, const struct layer_entry *entry, struct error *err)
{
	const struct layer_entry *first = first_name(self, entry);
	int r;

	put_number(self, first != entry ? HYDRA__V1__LAYER_ENTRY_KIND__LAYER_HARD_LINK : kind_of(entry->status.st_mode));
	put_text(self, entry->path);
	if (first != entry) {
		put_text(self, first->path);
		return 0;
	}
	r = put_status(self, entry, err);
	if (r == 0)
		r = put_xattrs(self, entry, err);
	return r == 0 && S_ISREG(entry->status.st_mode) ? put_file(self, entry, err) : r;
}

int layer_digest(int root_fd, const struct layer_list *list, bool settles, const struct layer_turn *turn, char ret_digest[LAYER_DIGEST_SIZE],
		 struct error *err)
{
	struct digester self = {.root_fd = root_fd, .settles = settles, .turn = turn};
	int r = begin(&self, err);

	if (r == 0)
		r = index_inodes(&self, list, err);
	if (r == 0)
		put_bytes(&self, FORM, strlen(FORM));
	for (size_t i = 0; i < list->count && r == 0; i++) {
		r = put_entry(&self, &list->items[i], err);
		if (r == 0 && i % ENTRIES_TURN == 0)
			r = ask_turn(&self, err);
	}
	if (r == 0)
		end(&self, ret_digest);
	if (r == 0 && self.has_failed)
		r = fail_because(err, EIO, "compute a digest: OpenSSL failed");
	digester_deinit(&self);
	return r;
}

void layer_fingerprint(const struct layer_list *list, char ret_fingerprint[LAYER_DIGEST_SIZE])
{
	struct digester self = {.root_fd = FD_NONE};
	struct error err;

	if (begin(&self, &err) < 0)
		abort();
	for (size_t i = 0; i < list->count; i++) {
		const struct stat *status = &list->items[i].status;
		uint64_t numbers[] = {status->st_dev, status->st_ino, status->st_mode, status->st_uid, status->st_gid, status->st_nlink,
				      status->st_rdev, (uint64_t) status->st_size, (uint64_t) status->st_mtim.tv_sec,
				      (uint64_t) status->st_mtim.tv_nsec, (uint64_t) status->st_ctim.tv_sec, (uint64_t) status->st_ctim.tv_nsec};

		put_text(&self, list->items[i].path);
		for (size_t j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++)
			put_number(&self, numbers[j]);
	}
	end(&self, ret_fingerprint);
	digester_deinit(&self);
}

/* They write-protect what is mapped when it gets to the disk, and note the time of the next write. A tmpfs does not, and of a file system of
 * other hosts what is seen here may be old. */
bool layer_times_tell(int root_fd)
{
	static const uint32_t known[] = {0xef53 /* ext4 */, 0x58465342 /* XFS */, 0x9123683e /* Btrfs */, 0xf2f52010 /* F2FS */};
	struct statfs disk;

	if (fstatfs(root_fd, &disk) < 0)
		return false;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if ((uint32_t) disk.f_type == known[i])
			return true;
	}
	return false;
}

bool layer_is_racy(const struct layer_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct timespec *time = &list->items[i].status.st_ctim;

		if ((uint64_t) time->tv_sec * NS_PER_S + (uint64_t) time->tv_nsec + RACY_NS > list->taken_ns)
			return true;
	}
	return false;
}

void layer_sum(const void *data, size_t size, char ret_sum[LAYER_DIGEST_SIZE])
{
	struct digester self = {.root_fd = FD_NONE};
	struct error err;

	if (begin(&self, &err) < 0)
		abort();
	put_bytes(&self, data, size);
	end(&self, ret_sum);
	digester_deinit(&self);
}
