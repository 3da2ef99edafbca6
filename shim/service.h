/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra.v1.Shim (proto/shim.proto): requests to operations, results to answers.
 */
#pragma once

#include "proto/ttrpc_server.h"

struct process;

extern const struct ttrpc_method service_methods[];

/* The process ended: answers Wait and Stop. */
void service_answer_waiting(struct process *process);
