/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sub-commands of hydra-checkpoint and hydra-pager. argv[0] is the sub-command. They return an exit status.
 */
#pragma once

int command_check(int argc, char **argv);
int command_dump(int argc, char **argv);
int command_restore(int argc, char **argv);

int command_send(int argc, char **argv);
int command_receive(int argc, char **argv);
int command_recover(int argc, char **argv);
