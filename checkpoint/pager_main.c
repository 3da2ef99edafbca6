/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-pager: the two ends of a migration. Each stays until the last page has arrived.
 */
#include "checkpoint/command_line.h"
#include "checkpoint/commands.h"

static const struct command commands[] = {
	{"send", command_send, "move a container to another host (source side)"},
	{"receive", command_receive, "move a container to this host (target side)"},
	{"recover", command_recover, "undo what a killed send left behind"},
	{0},
};

int main(int argc, char **argv)
{
	return command_line_run("hydra-pager", commands, argc, argv);
}
