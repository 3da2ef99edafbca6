/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of the program, as one table.
 */
#pragma once

#include "base/error.h"
#include "base/options.h"
#include "runtime/spec.h"

#include <stdbool.h>
#include <stddef.h>

struct global_options {
	const char *root; /* never NULL once main has it */
	const char *log;
	const char *log_format;
	const char *log_level;
	const char *rootless;
	const char *cgroup_manager;
	bool is_debug;
	bool has_systemd_cgroup;
	bool wants_version;
	bool has_default_root;
	/* from cgroup_manager and has_systemd_cgroup */
	bool has_cgroups;
	bool uses_systemd;
	char *own_root; /* what root points to when it is below the user's folder */
};

struct command {
	const char *name;
	const char *arguments; /* for --help */
	const char *summary;
	const struct option_table *options;
	size_t options_size;
	int positional_min;
	int positional_max; /* < 0: any number */
	int failure_status; /* what the program exits with when run fails */
	bool runs_container_code; /* the program must not be writable from inside */
	/* options points to options_size bytes. Returns the program's exit status, or < 0 with err. */
	int (*run)(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err);
};

extern const struct command command_create, command_run, command_start, command_exec, command_state, command_list,
	command_ps, command_kill, command_delete, command_pause, command_resume, command_update, command_events, command_spec,
	command_features, command_checkpoint, command_restore, command_adopt_prepare, command_adopt;

/* For commands without options. */
extern const struct option_table command_no_options;

/* A warning for people; goes where errors go. */
void command_warn(const struct global_options *globals, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* About what is left out of process.capabilities. */
void command_warn_of_capabilities(const struct global_options *globals, const struct spec_process *process);
/* The same destination for the one error a command may end with. */
void command_report(const struct global_options *globals, const struct error *err);
