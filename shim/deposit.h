/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our ends of the processes' stdio, the connections of attached clients, and what waits for these, kept a second time by
 * hydra-monitor (proto/store.h): a shim that is killed takes no pipe with it and hangs up on nobody, and its successor goes on
 * where it stopped.
 *
 * Without a monitor nothing is deposited; when one comes (back), everything is deposited then.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct shim;
struct container;
struct process;

void deposits_init(struct shim *shim);
/* A monitor is there to take them. */
bool deposits_are_taken(const struct shim *shim);
/* See shim/calls.h. */
void deposit_put_calls(struct shim *shim);
void deposit_put_connection(struct shim *shim, unsigned number, int fd);
void deposit_drop_connection(struct shim *shim, unsigned number);
/* Everything that is open; what the monitor keeps besides, of a shim before us or closed meanwhile, is forgotten there. */
void deposit_everything(struct shim *shim);
/* Keeps an end of process; name it by exec id and number. */
void deposit_put(struct process *process, int end);
void deposit_drop(struct process *process, int end);
/* That of the process itself. */
void deposit_put_pidfd(struct process *process);
void deposit_drop_pidfd(struct process *process);
/* See shim/fifo.h. */
void deposit_put_fifo(struct process *process, int number);
void deposit_drop_fifo(struct process *process, int number);
/* See shim/feed.h and shim/client.h. */
void deposit_put_feed(struct process *process);
void deposit_drop_feed(struct process *process);
void deposit_put_client(struct process *process, int place, int fd);
void deposit_drop_client(struct process *process, int place);
/* Asks the monitor how a child of a shim before us ended; false: there is none. Its answer goes to process_hear_end(). */
bool deposit_ask_end(struct process *process);
/* See keeper.c: the userfaultfds that are kept, by number, and the socket to the pager (KEPT_SOCKET). */
#define KEPT_SOCKET (-1)
void deposit_put_kept(struct container *container, int number, int fd);
void deposit_drop_kept(struct container *container, int number);
/* The container is at its end. */
void deposit_drop_all(struct container *container);
/* A successor: takes up what its predecessor left, into the container's processes. */
int deposit_take_all(struct container *container, struct error *err);
