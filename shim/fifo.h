/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stdio of containerd's clients: FIFOs that exist already, by name.
 *
 * Each is open for reading and writing here, so that a client that goes away causes neither EPIPE nor end of file and another
 * one can take its place; the monitor keeps it too. Bytes never pass through our hands, the kernel moves them from pipe to pipe: a shim
 * that is killed loses none and doubles none. Output of init waits in its queue while nobody reads (shim/output.h); that of an
 * exec is a session's, and waits in the exec.
 */
#pragma once

#include "base/error.h"
#include "shim/process.h"

#include <stdbool.h>
#include <sys/types.h>

enum { FIFO_STDIN, FIFO_STDOUT, FIFO_STDERR, FIFO_COUNT };

/* Opens those of process->stdio_names that are not open yet; without names nothing is done. -EINVAL: not a name that we know. */
int fifos_open(struct process *process, struct error *err);
void fifos_free(struct process *process);
/* Where stdout and stderr go, for output_owner; NULL: the process has no FIFOs. */
const int *fifos_pipes(const struct process *process);

/* An exec: moves what is in one of its ends into its FIFO. How much, 0 at the end, or -errno; -EAGAIN when the FIFO is full as well,
 * which fifos_are_full() tells, and process_resume_output() is called when it is not any more. */
ssize_t fifos_take(struct process *process, int end_fd, bool is_error);
bool fifos_are_full(const struct process *process);
/* The process runs, or has taken what there was: input may flow. */
void fifos_start_input(struct process *process);
/* CloseIO: no further client will write; end of file reaches the process when what is there is read. */
void fifos_close_input(struct process *process);

/* Nothing more will come: true when something is in them that nobody has read, and it has not been so for limit_ns. What is in a FIFO that
 * its reader has not opened yet would be lost with our end. */
bool fifos_are_unread(struct process *process, uint64_t limit_ns);
/* Who reads sees the end. */
void fifos_close_output(struct process *process);

/* For and from a successor or another binary; number: as above. Takes fd. */
int fifos_fd(const struct process *process, int number);
void fifos_keep(struct process *process, int number, int fd);
/* The same for an init that is still to be made: otherwise the client would see an end. */
void fifos_keep_for_init(struct container *container, int number, int fd);
/* Of these; FD_NONE: none. */
int fifos_kept_fd(const struct container *container, int number);
void fifos_forget_kept(struct container *container);
