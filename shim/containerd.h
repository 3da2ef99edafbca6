/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shim as `containerd-shim-hydra-v1`: containerd.task.v2.Task and v3, containerd's events, its command line.
 *
 * The core is the same; containers come by Create, stdio are FIFOs, and only Shutdown ends the shim.
 */
#pragma once

#include "proto/ttrpc_client.h"
#include "proto/ttrpc_server.h"
#include "shim/container.h"
#include "task.pb-c.h"

#include <stdbool.h>

struct published;

struct containerd {
	struct shim *shim;
	const char *namespace;
	const char *ttrpc_address; /* NULL or "": nobody wants events */
	struct ttrpc_client client;
	bool has_client;
	bool is_sending;
	struct published *first, **last_link; /* events not yet taken by containerd, in order */
	unsigned waiting;
	struct event_timer retry_timer;
	bool shutdown_asked;
};

extern const struct ttrpc_method containerd_methods[];

/* containerd_main.c: everything that the program does under this name. */
int containerd_main(int argc, char **argv);

/* containerd_events.c */
void containerd_events_init(struct containerd *self, struct shim *shim, const char *namespace, const char *ttrpc_address);
/* Keeps and sends an event; type is the message's full name. */
void containerd_publish(struct containerd *self, const char *topic, const char *type, const ProtobufCMessage *notice);
/* What container_note() saw: the events that containerd has for it. */
void containerd_noted(struct container *container, const char *type, const struct process *process);
bool containerd_events_are_sent(const struct containerd *self);
void containerd_timestamp(uint64_t time_ns, Containerd__Task__Timestamp *ret_timestamp);

/* containerd_task.c: the answers to Wait and Delete, when their time has come. */
void containerd_reply_wait(struct ttrpc_call *call, const exit_record *exit);
void containerd_progress(struct shim *shim);

/* containerd_rootfs.c */
int containerd_mount_rootfs(const Containerd__Task__CreateRequest *request, struct error *err);
void containerd_unmount_rootfs(const char *bundle);
