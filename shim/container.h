/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container under this shim: its record, its processes, and the operations on it.
 *
 * Operations that need the OCI runtime end later: their `then` is called exactly once, err->code 0 on success.
 */
#pragma once

#include "shim/cgroup.h"
#include "shim/lifecycle.h"
#include "shim/process.h"
#include "state/journal.h"
#include "state/run_dir.h"

#include <stdbool.h>

typedef void container_then(struct container *container, const struct error *err, void *context);

struct container {
	struct shim *shim;
	struct run_dir dir;
	record *record;
	struct journal journal;
	struct process *init;      /* NULL before the first create */
	struct process *processes; /* init and execs, running or ended and not yet forgotten */
	struct ttrpc_call *waiting_events;
	struct deferred *deferred; /* requests that wait for the operation's end */
	container_then *then; /* of the operation under way; NULL: none */
	void *then_context;
	const char *operation; /* its name, for messages */
	struct event_timer kill_timer;    /* stop: SIGKILL when it fires */
	struct event_timer restart_timer;
	struct event_timer health_timer; /* of the next check, or of the end of the one that runs */
	uint64_t restart_delay_ns;
	struct cgroup_paths cgroup; /* of init */
	uint64_t oom_kills; /* counted so far */
	struct fifos *kept_fifos; /* of a Create that a predecessor began, for the next one */
	bool is_forgotten;  /* containerd was told that it is deleted */
	bool is_cleaned;    /* nothing of it is left with the runtime */
	bool is_check_interrupted; /* the health check that runs is being killed by us */
	bool is_vanishing;  /* its restore failed: it is removed when we end */
	bool awaits_workers; /* of a migration away, that a predecessor granted */
	uint8_t killed_workers; /* that asked the target what became of it */
	struct event_source lease;  /* of a migration away */
	struct event_source keeper; /* tells of userfaultfds while pages are still coming */
	int *kept_fds;
	size_t kept_count;
	uint32_t pager_starts;
	bool is_pager_lost; /* while its tasks were still being restored */
	bool has_all_memory; /* the same */
	struct container *next;
};

/* Loads its record and takes LOCK_SHIM. */
int container_open(struct container **ret_self, struct shim *shim, const char *id, struct error *err);
void container_free(struct container *self);

void container_create(struct container *self, container_then *then, void *context);
void container_start(struct container *self, container_then *then, void *context);
void container_pause(struct container *self, container_then *then, void *context);
void container_resume(struct container *self, container_then *then, void *context);
void container_checkpoint(struct container *self, const Hydra__V1__CheckpointRequest *request, container_then *then,
			  void *context);
/* restore.c: of a record that is RESTORING; runs when it is done. Failed, the container is removed. */
void container_restore(struct container *self, container_then *then, void *context);
/* Its tasks run, and the shim before us died before it could say so. */
void restore_go_on(struct container *self);

/* keeper.c: *ret_theirs is for who serves the pages; what it sends there is kept until it says that all is complete. */
int keeper_open(struct container *self, int *ret_theirs, struct error *err);
/* The tasks are there: has the pager died meanwhile? */
void keeper_check(struct container *self);
/* The container is in service: lets go of memory that is complete. */
void keeper_conclude(struct container *self);
void keeper_forget(struct container *self);
/* A monitor is there to take it all. */
void keeper_deposit(struct container *self);
/* A successor gets back what was deposited (number as in deposit.h; takes fd), then goes on. */
void keeper_take(struct container *self, int number, int fd);
void keeper_resume(struct container *self);

/* migration.c: source side. On success the caller hands over the lease with migration_hold(). */
int migration_begin(struct container *self, const Hydra__V1__MigrationBeginRequest *request, struct error *err);
/* Takes lease_fd; FD_NONE: the client is gone already. */
void migration_hold(struct container *self, int lease_fd);
/* A successor: the predecessor granted it, and asked again by the same it is answered again. */
bool migration_is(const struct container *self, const char *migration_id);
/* A successor: nobody holds the lease; goes on when the last one who works on it has gone, as if that had been the lease's end. */
void migration_adopt(struct container *self);
/* A successor: the container has ended meanwhile. */
void migration_ended_unseen(struct container *self);
int migration_end(struct container *self, const Hydra__V1__MigrationEndRequest *request, struct error *err);
/* The container belongs to another host. */
bool migration_is_handed_over(struct container *self);
bool migration_is_under_way(const struct container *self);

/* exec.c: process is new and has its exec id and options; the runtime starts process_json in the container. NULL: that is in its
 * file already. Should it fail, process is freed behind `then`. */
void container_exec(struct process *process, const uint8_t *process_json, size_t size, container_then *then, void *context);

/* adopt.c: takes over the processes that the record names; their output is gone unless somebody kept its pipes. */
int container_adopt(struct container *self, struct error *err);

/* Signals a process, or with all every process of the container. */
int container_kill(struct container *self, struct process *process, int signal_number, bool all, struct error *err);
/* SIGTERM now, SIGKILL after the time-out; the container will not be restarted. */
int container_stop(struct container *self, uint32_t timeout_s, uint32_t signal_number, struct error *err);
/* It is being stopped: what is left is SIGKILL after the time-out. */
bool container_is_stopping(const struct container *self);

/* The process of an exec id ("" is init); NULL: no such process. */
struct process *container_find(struct container *self, const char *exec_id);
/* Init just began to run as pid: follows it and puts it into the record (not saved). */
int container_follow_init(struct container *self, pid_t pid, struct error *err);
/* Makes the process object of init with its stdio and log. */
int container_new_init(struct container *self, struct error *err);
/* The names of the FIFOs that containerd gave it. */
void container_name_stdio(struct container *self);
/* The pid in a file that the runtime wrote into the run directory. */
int container_read_pid(struct container *self, const char *name, pid_t *ret_pid, struct error *err);
/* Its program was let go: puts that into the record. */
int container_started(struct container *self, struct error *err);
/* Forgets what the runtime keeps of it; is_cleaned is true afterwards. */
void container_clean(struct container *self);

/* Called by process.c: an exit record is durable and the process reaped. */
void container_process_ended(struct container *self, struct process *process);

int container_save(struct container *self, struct error *err);
/* Moves the record's state by the event and saves it. */
int container_move(struct container *self, enum lifecycle_event on, struct error *err);
/* Writes an event into the journal and answers who waits for it. exit and detail may be NULL. */
void container_note(struct container *self, const char *type, const struct process *process, const char *detail);

/* execs.c: frees execs that are over: their exit records are on disk, the last EXIT_RECORDS_KEPT of them. */
void container_forget_execs(struct container *self);
/* Frees it, and it is in no list any more. */
int container_forget_exec(struct process *process, struct error *err);
/* The record's list of execs, as the processes are now; not saved. */
int container_list_execs(struct container *self, struct error *err);
/* The processes of the record's list, followed if they still run. */
void container_adopt_execs(struct container *self);
/* A predecessor asked the runtime for them, which is done by now: they run, or never were. */
void container_settle_execs(struct container *self);
/* exec.c: the runtime made the process. */
int container_exec_started(struct process *process, pid_t pid, struct error *err);
/* The others end, with the status that is on disk or an unknown one. */
void container_end_unseen_execs(struct container *self);

/* log_update.c: what changes names is different from now on; not saved. On failure everything is as it was. */
int container_update_log(struct container *self, const Hydra__V1__LogConfig *changes, struct error *err);

/* True when neither a process, nor output, nor an operation is left. */
bool container_is_at_rest(const struct container *self);

/* For the files of an operation: claims the container for it (false: `then` was told that it is busy), and ends it. */
bool container_begin(struct container *self, const char *operation, container_then *then, void *context);
void container_finish(struct container *self, const struct error *err);

/* runtime.c: runs `hydra OPERATION ARGUMENTS`; arguments end with NULL and hold the container's id. */
int runtime_start(struct container *self, const char *operation, const char *const *arguments, const struct child_fd *fds,
		  size_t fd_count, task_done *done, void *context, struct error *err);
/* What the runtime wrote as its last error, as a report; -EIO with the status if it wrote nothing. */
int runtime_failure(struct container *self, const char *operation, int exit_status, struct error *err);
/* Its init is made and waits before its program. */
bool runtime_waits_for_start(const struct container *self);
