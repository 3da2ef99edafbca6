/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stdio of containerd's clients: FIFOs that exist already, or files ("file:///path").
 *
 * Both ends of each FIFO stay open here, so that a client that goes away causes neither EPIPE nor end of file and another
 * one can take its place. A FIFO that nobody reads fills, and then holds the output back, as containerd's own shim does.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct process;
struct fifos;

/* Any name may be "". */
int fifos_open(struct process *process, const char *in, const char *out, const char *err_name, struct error *err);
void fifos_free(struct process *process);
/* is_error: stderr. True when all was taken; otherwise the rest is kept and process_resume_output() called later. */
void fifos_write(struct process *process, bool is_error, const uint8_t *data, size_t size);
bool fifos_are_full(const struct process *process);
/* The process runs: input may flow. */
void fifos_start_input(struct process *process);
/* CloseIO: no further client will write; end of file reaches the process when what is there is read. */
void fifos_close_input(struct process *process);
