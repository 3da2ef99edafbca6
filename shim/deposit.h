/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our ends of the processes' stdio, kept a second time by hydra-monitor (proto/store.h): a shim that is killed
 * takes no pipe with it, and its successor goes on reading where it stopped.
 *
 * Without a monitor nothing is deposited; when one comes (back), everything is deposited then.
 */
#pragma once

#include "base/error.h"

struct shim;
struct container;
struct process;

void deposits_init(struct shim *shim);
/* Every open end of every process; what is kept under the same name is replaced, what was closed meanwhile dropped. */
void deposit_everything(struct shim *shim);
/* Keeps an end of process; name it by exec id and number. */
void deposit_put(struct process *process, int end);
void deposit_drop(struct process *process, int end);
/* The container is at its end. */
void deposit_drop_all(struct container *container);
/* A successor: takes up the ends that its predecessor left, into the container's processes. */
int deposit_take_all(struct container *container, struct error *err);
