/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-checkpoint: the only program that knows CRIU.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "checkpoint/commands.h"

static const struct command *const commands[] = {
	&command_check, &command_dump, &command_restore, &command_send, &command_receive, &command_recover,
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int usage(int status)
{
	(void) fprintf(status == 0 ? stdout : stderr, "Usage: hydra-checkpoint COMMAND [OPTIONS]\n\nCommands:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		(void) fprintf(status == 0 ? stdout : stderr, "  %-10s %s\n", commands[i]->name, commands[i]->purpose);
	return status;
}

int main(int argc, char **argv)
{
	log_open("hydra-checkpoint", LOG_INFO);
	if (argc < 2)
		return usage(2);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return usage(0);
	if (strcmp(argv[1], "--version") == 0) {
		printf("hydra-checkpoint %s\n", HYDRA_VERSION);
		return EXIT_SUCCESS;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(argv[1], commands[i]->name) == 0)
			return command_line_run(commands[i], argc - 1, argv + 1);
	}
	return usage(2);
}
