/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-checkpoint: what CRIU can do here, containers to disk and back.
 */
#include "checkpoint/command_line.h"
#include "checkpoint/commands.h"

static const struct command commands[] = {
	{"check", command_check, "what this host can do"},
	{"dump", command_dump, "save a container to disk"},
	{"restore", command_restore, "bring a container back"},
	{0},
};

int main(int argc, char **argv)
{
	return command_line_run("hydra-checkpoint", commands, argc, argv);
}
