/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sub-commands of hydra-checkpoint and of hydra-pager.
 */
#pragma once

#include "checkpoint/command_line.h"

extern const struct command command_check, command_dump, command_restore, command_seal, command_unseal, command_guard;
extern const struct command command_send, command_receive, command_take_over, command_recover, command_await, command_resolve, command_lost, command_farewell, command_phases, command_ask;
