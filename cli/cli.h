/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of hydractl share.
 *
 * Commands about one container talk to its shim: a daemon that is down, hung or just being upgraded is not in the way.
 */
#pragma once

#include "base/error.h"
#include "base/options.h"
#include "daemon.pb-c.h"
#include "monitor.pb-c.h"
#include "shim.pb-c.h"
#include "state/record.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct cli {
	const char *root;
	const char *namespace;
	const char *format; /* "table" or "json" */
	bool plain;         /* no progress bars, no colours */
};

struct command {
	const char *name;
	const char *arguments; /* as the usage line shows them */
	const char *summary;
	const struct option_entry *options; /* NULL: none */
	size_t options_size;                /* of the structure they go to */
	int min_arguments, max_arguments;   /* max < 0: any number */
	bool stops_at_positional;
	/* Returns an exit status >= 0, or -errno with a report. options is zeroed before parsing. */
	int (*run)(const struct cli *cli, void *options, const struct option_rest *rest, struct error *err);
};

extern const struct command command_attach, command_checkpoint, command_create, command_daemon, command_drain, command_events, command_exec,
	command_host, command_host_check, command_inspect, command_kill, command_ledger, command_logs, command_migrate, command_migrations, command_pause, command_prune, command_ps,
	command_rebalance, command_restore, command_resume, command_rm, command_run, command_start, command_stats, command_stop, command_top, command_update,
	command_upgrade, command_wait;

/* Exit statuses of hydractl itself, as Docker's. */
enum {
	EXIT_OF_HYDRACTL = 125,
	EXIT_INTERRUPTED = 130,
};

/* call.c: -ENOENT, -ECONNREFUSED: nobody answers there. timeout_ms 0: none. */
int cli_call_shim(const struct cli *cli, const char *id, const char *method, const ProtobufCMessage *request,
		  const ProtobufCMessageDescriptor *response, int timeout_ms, void *ret_response, struct error *err);
/* A stream with a process (proto/stream.h), and the descriptor that came with it, FD_NONE when none did; both are the caller's. */
struct cli_connection {
	int fd, passed_fd;
};
int cli_attach_shim(const struct cli *cli, const char *id, const Hydra__V1__AttachRequest *request, struct cli_connection *ret_connection,
		    struct error *err);
int cli_call_daemon(const struct cli *cli, const char *method, const ProtobufCMessage *request,
		    const ProtobufCMessageDescriptor *response, int timeout_ms, void *ret_response, struct error *err);
int cli_call_monitor(const struct cli *cli, const char *method, const ProtobufCMessage *request,
		     const ProtobufCMessageDescriptor *response, int timeout_ms, void *ret_response, struct error *err);
/* Runs hydra-setup with input on its standard input; its report becomes ours. */
int cli_setup(const struct cli *cli, const char *const *arguments, const void *input, size_t size, struct error *err);
/* By the daemon when one answers, else by hydra-setup. */
int cli_create(const struct cli *cli, const Hydra__V1__CreateRequest *request, struct error *err);
int cli_remove(const struct cli *cli, const char *id, bool force, struct error *err);

/* Of ps, top and events. */
#define ALL_NAMESPACES_ENTRY(structure, member) \
	{'A', "all-namespaces", NULL, OPTION_FLAG, offsetof(structure, member), "containers of all namespaces"}

/* health_options.c */
struct health_options {
	const char *command, *interval, *timeout, *retries, *start_period;
};

#define HEALTH_ENTRIES(structure, member)                                                                                          \
	{0, "health-cmd", "COMMAND", OPTION_STRING, offsetof(structure, member.command), "shell command that fails when it is ill"}, \
	{0, "health-interval", "TIME", OPTION_STRING, offsetof(structure, member.interval), "between two checks (default 30s)"},    \
	{0, "health-timeout", "TIME", OPTION_STRING, offsetof(structure, member.timeout), "a check that takes longer has failed (default 30s)"}, \
	{0, "health-retries", "N", OPTION_STRING, offsetof(structure, member.retries), "failures in a row that make it unhealthy (default 3)"},  \
	{0, "health-start-period", "TIME", OPTION_STRING, offsetof(structure, member.start_period), "after the start failures do not count"}

bool health_options_are_given(const struct health_options *self);
/* Into check, which may have values already. Strings stay the options'. */
int health_options_parse(const struct health_options *self, Hydra__V1__HealthCheck *check, struct error *err);

/* exec.c: a process object of container id that runs `sh -c command`. *ret_json is the caller's to free. */
int cli_shell_process(const struct cli *cli, const char *id, const char *command, char **ret_json, struct error *err);

/* run.c: "no", "always", "on-failure:3"... as --restart takes it. */
int parse_restart(const char *text, Hydra__V1__RestartPolicy *policy, struct error *err);

/* log_options.c: KEY=VALUE as --log-opt takes them; what is not named stays 0. Strings are the list's. */
#define LOG_OPTION_HELP \
	"format=cri|json-file|raw|journald, max-size=SIZE, max-files=N, path=FILE, policy=spill|block|drop-oldest, spill-size=SIZE"
int log_options_parse(const struct string_list *list, Hydra__V1__LogConfig *log, struct error *err);

/* publish_options.c: "[IP:]HOSTPORT:PORT[/PROTOCOL]" as --publish takes it; strings are to be freed with message_free(). */
int publish_parse(const char *text, Hydra__V1__PublishedPort **ret_port, struct error *err);

/* find.c: what is known of a container. is_reachable: by its shim, else from disk. */
struct container_view {
	record *record;
	Hydra__V1__ExitRecord *exit; /* NULL: none */
	bool is_reachable;
	const char *state; /* "unknown" when a living shim does not answer */
};
int cli_view(const struct cli *cli, const char *id, struct container_view *ret_view, struct error *err);
void container_view_deinit(struct container_view *self);

/* resolve.c: a container in doubt. side: "source" or "target"; without is_forced only the risk is told (-EPERM). */
int cli_resolve(const struct cli *cli, const char *side, bool is_forced, const char *id, struct error *err);
/* Asks its target again, and goes on by what that says. */
int cli_migrate_on(const struct cli *cli, const char *id, struct error *err);
/* The state of a container that migrates, for ps. */
void describe_migration(const struct cli *cli, const struct container_view *view, char *buffer, size_t size);

/* session.c: our terminal and an attached process. stdin: whether input is sent. Returns the exit status. */
struct session_options {
	const char *id;
	const char *exec_id; /* "": init */
	bool input;
	bool terminal;
	bool starts_container; /* after attaching */
	bool forwards_signals;
};
int session_run(const struct cli *cli, const struct session_options *options, struct error *err);
/* The exit status to give for an exit record; -EIO with a report when it is unknown. */
int session_exit_status(const Hydra__V1__ExitRecord *exit, struct error *err);

/* ledger.c: without intervals; and "up", "unreachable"... */
int cli_ledger(const struct cli *cli, int timeout_ms, Hydra__V1__LedgerResponse **ret_response, struct error *err);
const char *ledger_state_name(Hydra__V1__LedgerState state);

/* ledger_containers.c: "container NAMESPACE/ID" for each shim of the response. */
void ledger_add_containers(const struct cli *cli, Hydra__V1__LedgerResponse *response, bool wants_intervals);

/* output.c */
struct table;
struct table *table_new(const char *const *headers); /* ends with NULL */
void table_add(struct table *self, const char *const *cells);
void table_print(const struct table *self);
/* Each line cut to a width, with this end. */
void table_print_within(const struct table *self, size_t width, const char *line_end);
void table_free(struct table *self);
bool cli_wants_json(const struct cli *cli);
/* "3 minutes ago" */
void format_age(uint64_t since_ns, char *buffer, size_t size);
/* "12.3 ms", "4.1 s", "2m05s", "3h10m", "9d04h" */
void format_duration(uint64_t duration_ns, char *buffer, size_t size);
void format_size(uint64_t bytes, char *buffer, size_t size);
/* The whole record as JSON, for inspect and --format json. */
char *json_of_view(const struct container_view *view, bool pretty);
/* A protobuf message as JSON: field names in camelCase. */
char *json_of_message(const ProtobufCMessage *message, bool pretty);
