/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-pager: the two ends of a migration. Each stays until the last page has arrived.
 */
#include "checkpoint/commands.h"

int main(int argc, char **argv)
{
	static const struct command *const commands[] = {&command_send, &command_receive, &command_take_over, &command_recover, &command_resolve, &command_lost, &command_farewell, &command_phases, &command_await, &command_ask, NULL};

	return command_line_main("hydra-pager", commands, argc, argv);
}
