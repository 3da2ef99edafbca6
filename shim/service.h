/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra.v1.Shim (proto/shim.proto): requests to operations, results to answers.
 */
#pragma once

#include "proto/ttrpc_server.h"

struct container;
struct process;

extern const struct ttrpc_method service_methods[];

/* The end of every operation: its result is the answer to context, a call. */
void service_answer(struct container *container, const struct error *err, void *context);
/* Answers when the process has ended, now or later. */
void service_wait_for(struct ttrpc_call *call, struct process *process);
/* A predecessor may have sent the signal: twice SIGKILL is as good as once, of others nobody knows. True: the call is answered. */
bool service_answer_signal_again(struct ttrpc_call *call, const struct process *process, int signal_number);
/* service_checkpoint.c */
void service_migration_begin(struct ttrpc_call *call, const ProtobufCMessage *message);
void service_migration_end(struct ttrpc_call *call, const ProtobufCMessage *message);
void service_checkpoint(struct ttrpc_call *call, const ProtobufCMessage *message);

/* The process ended: answers Wait and Stop. */
void service_answer_waiting(struct process *process);
