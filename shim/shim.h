/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor of one container, or of the containers of one pod: one event loop, no threads.
 *
 * It must never block, and never end while a container that it supervises runs.
 */
#pragma once

#include "base/event_loop.h"
#include "proto/replacement.h"
#include "proto/ttrpc_server.h"
#include "seal.pb-c.h"

#include <stdbool.h>

struct container;
struct containerd;
struct task;

struct shim {
	struct event_loop loop;
	struct ttrpc_server server;
	int listen_fd;
	const char *root;
	const char *namespace;
	char *runtime_path;
	char *checkpoint_path;
	char *pager_path;
	struct container *containers;
	struct task *tasks;
	struct event_timer end_timer;
	struct event_source store_source; /* the monitor's fd store; fd FD_NONE: there is none */
	struct event_timer store_timer;
	uint64_t store_retry_ns;
	uint64_t store_lost_ns;      /* CLOCK_BOOTTIME at which the last monitor went, until the next one knows it; 0: no such */
	int lock_fd;                 /* handed on by the binary before us; FD_NONE mostly */
	struct replacement upgrade;  /* waits for the end of what is under way */
	int calls_fd;                /* kept calls (shim/calls.h); FD_NONE: none was yet */
	Hydra__V1__SealedServer *inherited; /* what a successor has not gone on with yet */
	struct containerd *containerd; /* NULL: started by hydra-setup or the monitor */
	bool is_ending;
};

/* listen_fd: bound, listening, and the caller's. */
int shim_init(struct shim *self, const char *root, const char *namespace, int listen_fd, struct error *err);

/* The only container of a shim that hydra-setup or the monitor started. */
struct container *shim_container(const struct shim *self);

/* Called whenever something came to its end: leaves the loop when nothing is left to do. */
void shim_consider_end(struct shim *self);
/* SIGCHLD: somebody ended. */
void shim_reap(struct shim *self);
