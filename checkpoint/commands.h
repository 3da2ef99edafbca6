/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sub-commands of hydra-checkpoint.
 */
#pragma once

#include "checkpoint/command_line.h"

extern const struct command command_dump, command_restore, command_check, command_send, command_receive, command_recover;
