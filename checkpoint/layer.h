/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writable layer of a container: listing it, sending what changed, writing it down at the target.
 *
 * Sent are regular files (with holes), folders, symbolic and hard links, devices (among them whiteouts) and fifos,
 * with owners, modes, times and extended attributes. Sockets are left out: CRIU makes them anew.
 */
#pragma once

#include "base/error.h"
#include "checkpoint/session.h"
#include "handoff.pb-c.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define LAYER_ENTRIES_MAX (8U << 20)
#define LAYER_PATH_MAX    4095U

struct layer_entry {
	char *path; /* below the layer; "" is the layer itself */
	struct stat status;
};

struct layer_list {
	struct layer_entry *items; /* sorted by path, so folders come before what is in them */
	size_t count, capacity;
	uint64_t bytes;      /* of regular files */
	uint64_t taken_ns;   /* real time when the listing began */
	size_t socket_count;
	dev_t device; /* the only one; 0: any */
	bool settles; /* sending all of it gets what was written by mappings to the disk first: what is written later shows in the times */
};

/* -EOPNOTSUPP: the layer cannot be moved (overlay's metacopy). */
int layer_list_take(struct layer_list *self, int root_fd, struct error *err);
/* Of one file system: where others are mounted there is an empty folder or file. */
int layer_list_take_mount(struct layer_list *self, int root_fd, struct error *err);
void layer_list_deinit(struct layer_list *self);
/* What its files take. */
uint64_t layer_list_disk_bytes(const struct layer_list *self);
const struct layer_entry *layer_list_find(const struct layer_list *self, const char *path);

struct string_set {
	char **items; /* sorted */
	size_t count;
};

struct layer_progress {
	void (*report)(void *context, uint64_t bytes_done);
	void *context;
};

/* Sends entries of now which are not the same in before (may be empty), what disappeared since, and files in forced.
 * Ends with LAYER_DONE. */
int layer_send(struct session *session, int root_fd, const struct layer_list *now, const struct layer_list *before,
	       const struct string_set *forced, const struct layer_progress *progress, struct error *err);
/* Whether an entry has to be sent again; pure. */
bool layer_entry_changed(const struct layer_entry *now, const struct layer_entry *before, uint64_t before_taken_ns);

/* Files that tasks have mapped shared and writable: their changes do not show in their times. */
int layer_collect_mapped(struct string_set *ret_paths, pid_t init, struct error *err);
bool string_set_has(const struct string_set *self, const char *item);
void string_set_deinit(struct string_set *self);

struct layer_sink {
	int root_fd;
	int file_fd; /* the file whose data come; FD_NONE */
	uint64_t file_size;
	struct timespec file_time;
	unsigned char capability[64]; /* a file's security.capability, which writing to it would remove: it comes last */
	size_t capability_size;
	struct layer_entry *folders; /* their times are set at the end */
	size_t folder_count;
	uint64_t bytes, entries;
	uint64_t bytes_max, entries_max; /* what was announced; 0: anything */
};

/* root_fd stays the caller's. */
void layer_sink_init(struct layer_sink *self, int root_fd);
void layer_sink_deinit(struct layer_sink *self);
int layer_sink_entry(struct layer_sink *self, const Hydra__V1__LayerEntry *entry, struct error *err);
int layer_sink_data(struct layer_sink *self, const unsigned char *data, size_t size, struct error *err);
int layer_sink_done(struct layer_sink *self, struct error *err);
/* A LAYER_ENTRY frame: unpacks it, checks it, carries it out. */
int layer_sink_frame(struct layer_sink *self, const struct frame *frame, struct error *err);
/* No empty, "." or ".." component, not absolute, not too long. "" is the layer itself. */
bool layer_path_is_safe(const char *path);
