/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a container between two commands: <root>/<id>/state.json, config.json and two pipes.
 *
 * state.json is replaced whole; a folder without one was left by a crash and counts as no container at all, except
 * for `delete --force`. What a container is doing now is never stored but asked from the kernel.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CONTAINER_START_PIPE "exec.fifo"   /* a byte written here lets init go on; gone once started */
#define CONTAINER_REPLY_PIPE "reply.fifo"  /* init's complaint when it cannot */

enum container_status {
	CONTAINER_CREATING,
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_PAUSED,
	CONTAINER_STOPPED,
};

struct container_state {
	struct json_int pid; /* 0 until init exists */
	struct json_uint start_time;
	const char *id;
	const char *oci_version;
	const char *bundle;
	const char *rootfs;
	const char *created;
	const char *cgroup_path; /* "": none of its own */
	const char *systemd_unit; /* what made the cgroup; "": ourselves */
	const char *resctrl_group, *resctrl_folder; /* see resctrl.h */
	struct json_uint owner;
	/* 0 or 1; not set by earlier versions. What saves `start`, `kill` and `delete` a look at the configuration, which takes longer than
	 * all else they do */
	struct json_uint has_late_hooks; /* poststart, poststop */
	struct json_uint has_own_pids;   /* a pid namespace of its own */
	struct json_map annotations;
};

struct container {
	char *id;
	char *root;
	char *dir;  /* <root>/<id> */
	int dir_fd; /* also holds the lock */
	struct container_state state;
	struct spec_part part; /* what state points into after container_open() */
};

bool container_id_is_valid(const char *id);

/* Makes the folder, locked. -EEXIST when there is one with a state; one that a crash left is taken over. */
int container_make(struct container *self, const char *root, const char *id, struct error *err);
/* Opens it and reads its state. -ENOENT: "container does not exist". is_locked waits for other commands. */
int container_open(struct container *self, const char *root, const char *id, bool is_locked, struct error *err);
/* As container_open, for folders without a usable state: state is then empty. */
int container_open_remains(struct container *self, const char *root, const char *id, struct error *err);
int container_save(const struct container *self, struct error *err);
/* Removes the folder. */
int container_forget(struct container *self, struct error *err);
void container_close(struct container *self);

enum container_status container_status(const struct container *self);
const char *container_status_name(enum container_status status);
/* True when init lives (and is the process that was started, not a later one with its number). */
bool container_is_alive(const struct container *self);
/* Field 22 of /proc/PID/stat; 0 when there is no such process or it is a zombie. */
uint64_t container_process_start_time(pid_t pid);

/* The state as the specification wants it; pid is 0 when stopped. The caller frees. */
char *container_state_json(const struct container_state *state, enum container_status status, bool is_pretty);
/* False: it certainly has no hooks that run after its creation. */
bool container_may_have_late_hooks(const struct container *self);
/* Loads the copy of config.json that was taken at creation. */
int container_load_spec(const struct container *self, struct spec *ret_spec, struct error *err);
