/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods of containerd's task service that look at tasks or signal them.
 */
#pragma once

#include "proto/ttrpc_server.h"

struct container;
struct process;

/* NULL: the call was refused with NotFound. */
struct container *containerd_container(struct ttrpc_call *call, const char *id);
struct process *containerd_process(struct ttrpc_call *call, struct container *container, const char *exec_id);

void containerd_handle_state(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_kill(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_pause(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_resume(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_pids(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_resize(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_close_io(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_update(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_wait(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_stats(struct ttrpc_call *call, const ProtobufCMessage *message);
void containerd_handle_connect(struct ttrpc_call *call, const ProtobufCMessage *message);
