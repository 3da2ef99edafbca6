/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and folders: whole reads with a limit, atomic durable replacement, complete writes.
 *
 * Folder arguments are descriptors (AT_FDCWD for the working directory), so that a path
 * is resolved once and cannot be exchanged under us.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Reads the whole file, at most limit bytes (-EFBIG beyond). *ret_data is the caller's to free and is followed by
 * a NUL that *ret_size does not count; ret_size may be NULL. A missing file is -ENOENT. */
int file_read(int dir_fd, const char *path, size_t limit, char **ret_data, size_t *ret_size, struct error *err);

/* The same from an open descriptor, from its current position on. name is for messages only. */
int file_read_fd(int fd, const char *name, size_t limit, char **ret_data, size_t *ret_size, struct error *err);

/* Replaces path with data: readers see the old or the new content, whole; durable when it returns 0. */
int file_replace(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, struct error *err);

/* As file_replace without the wait for the disk: for what need not outlive the machine (/run). */
int file_replace_fast(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, struct error *err);

/* Locks the whole file for as long as this open file description lives, in whichever processes (fcntl(2), F_OFD_SETLK). fd must be
 * writable. -EAGAIN: another one has it, and waits is false. */
int file_lock_fd(int fd, bool waits);
/* Whether another open file description has it locked. Looks without taking the lock for a moment, as flock(2) would have to:
 * who just then wants it is not refused. */
bool file_is_locked(int fd);
/* Locks path, made when it is missing, for as long as the descriptor is open. -EBUSY: another process has it. */
int file_lock(const char *path, int *ret_fd, struct error *err);

/* Writes text to an existing file in one write(2) (cgroupfs, procfs, sysfs). */
int file_set(int dir_fd, const char *path, const char *text, struct error *err);

/* Writes or reads all of it, going on after EINTR and short counts; blocking descriptors only.
 * fd_read_full gives -EPIPE when the other end closes before size bytes. Return 0 or -errno, without a report. */
int fd_write_full(int fd, const void *data, size_t size);
int fd_read_full(int fd, void *data, size_t size);

/* Makes path and its missing parents. */
int dir_make_all(const char *path, mode_t mode, struct error *err);

/* Removes what is below dir_fd/path and path itself; never follows links, never crosses into another mount
 * (-EXDEV: something is mounted there). A missing path is success. */
int dir_remove_all(int dir_fd, const char *path, struct error *err);
/* Whatever is mounted right below the folder is detached: what dir_remove_all() would refuse. */
void dir_unmount_all(const char *path);
/* When more than `most` files of the folder have names that begin with prefix, the one goes that was not written to for the longest
 * time; of those only that may_go, NULL: any, allows. Hidden files are passed over. */
void dir_forget_oldest(int dir_fd, const char *prefix, size_t most, bool (*may_go)(int dir_fd, const char *name));

/* Opens path below root_fd so that no link or ".." leads outside of root_fd (openat2 RESOLVE_IN_ROOT). */
int open_in_root(int root_fd, const char *path, int flags, mode_t mode);

bool path_exists(int dir_fd, const char *path);
