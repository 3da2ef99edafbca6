/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program to execute and its environment.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

/* process.env, HOME if it is missing, and LISTEN_FDS. Never freed: exec follows. */
int process_build_environment(const struct spec_process *process, int listen_fds, char ***ret_environment,
			      struct error *err);
/* Looks for args[0] as execvp would, with the messages that callers know from runc. */
int process_find_program(const struct spec_process *process, char **ret_program, struct error *err);

/* The home folder that passwd gives to this user, "/" without one. Pure. */
char *process_home_from_passwd(const char *passwd, uint32_t uid);
