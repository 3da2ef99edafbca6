/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-checkpoint: what CRIU can do here, containers to disk and back.
 */
#include "checkpoint/commands.h"

int main(int argc, char **argv)
{
	static const struct command *const commands[] = {&command_check, &command_dump, &command_restore, &command_seal, &command_unseal, &command_guard, NULL};

	return command_line_main("hydra-checkpoint", commands, argc, argv);
}
