/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl run, create: a request from options, then perhaps a session.
 */
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct run_options {
	const char *rootfs, *bundle, *name, *memory, *cpus, *pids, *network, *ip, *mac, *restart, *hostname, *cwd, *user,
		*stop_timeout;
	bool detach, input, terminal, remove, privileged, read_only;
	struct string_list env, mounts, ports, log, labels, cap_add, cap_drop;
	struct health_options health;
};

#define AT(field) offsetof(struct run_options, field)

static const struct option_entry run_entries[] = {
	{0, "rootfs", "DIR", OPTION_STRING, AT(rootfs), "read-only root file system; what is written goes to a layer of its own"},
	{0, "bundle", "DIR", OPTION_STRING, AT(bundle), "an OCI bundle, used as it is"},
	{0, "name", "NAME", OPTION_STRING, AT(name), "name of the container (default: made up)"},
	{'d', "detach", NULL, OPTION_FLAG, AT(detach), "print the name and leave it in the background"},
	{'i', "interactive", NULL, OPTION_FLAG, AT(input), "send standard input"},
	{'t', "tty", NULL, OPTION_FLAG, AT(terminal), "with a terminal"},
	{0, "rm", NULL, OPTION_FLAG, AT(remove), "remove it when it has ended"},
	{'e', "env", "NAME=VALUE", OPTION_LIST, AT(env), "a variable of its environment"},
	{'v', "mount", "SOURCE:TARGET[:OPTION,...]", OPTION_LIST, AT(mounts), "make a folder or file of the host visible; ro: only to be read, carried: a migration takes it along"},
	{'m', "memory", "SIZE", OPTION_STRING, AT(memory), "memory limit: 64m, 1.5g"},
	{0, "cpus", "N", OPTION_STRING, AT(cpus), "processor limit: 0.5, 2"},
	{0, "pids", "N", OPTION_STRING, AT(pids), "process limit"},
	{0, "network", "NAME", OPTION_STRING, AT(network), "none (default), host, or a CNI network"},
	{0, "ip", "ADDRESS", OPTION_STRING, AT(ip), "address asked of the CNI network"},
	{0, "mac", "ADDRESS", OPTION_STRING, AT(mac), "hardware address asked of the CNI network"},
	{'p', "publish", "[IP:]HOSTPORT:PORT[/PROTOCOL]", OPTION_LIST, AT(ports), "a port of the host leads to one of the container (CNI network)"},
	{0, "log-opt", "KEY=VALUE", OPTION_LIST, AT(log), LOG_OPTION_HELP},
	{0, "restart", "POLICY", OPTION_STRING, AT(restart), "no, on-failure[:N], always, unless-stopped"},
	HEALTH_ENTRIES(struct run_options, health),
	{0, "hostname", "NAME", OPTION_STRING, AT(hostname), "host name inside (default: the container's name)"},
	{'w', "workdir", "DIR", OPTION_STRING, AT(cwd), "working folder inside"},
	{'u', "user", "UID[:GID]", OPTION_STRING, AT(user), "user inside"},
	{'l', "label", "KEY=VALUE", OPTION_LIST, AT(labels), "a label"},
	{0, "stop-timeout", "SECONDS", OPTION_STRING, AT(stop_timeout), "between SIGTERM and SIGKILL of stop (default 10)"},
	{0, "privileged", NULL, OPTION_FLAG, AT(privileged), "all capabilities and devices, nothing masked"},
	{0, "read-only", NULL, OPTION_FLAG, AT(read_only), "nothing can be written to the root file system"},
	{0, "cap-add", "NAME", OPTION_LIST, AT(cap_add), "a further capability"},
	{0, "cap-drop", "NAME", OPTION_LIST, AT(cap_drop), "a capability less (ALL: none)"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

typedef Hydra__V1__CreateRequest create_request;

static int bad_value(const char *option, const char *value, const char *expected, struct error *err)
{
	return fail_because(err, EINVAL, "option --%s: '%s': expected %s", option, value, expected);
}

static int parse_cpus(const char *text, uint64_t *ret_millis, struct error *err)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (errno != 0 || *end != '\0' || !(value >= 0.01 && value <= 8192))
		return bad_value("cpus", text, "a number from 0.01 to 8192", err);
	*ret_millis = (uint64_t) (value * 1000 + 0.5);
	return 0;
}

static int set_limits(const struct run_options *options, create_request *request, struct error *err)
{
	int pids;

	if (options->memory != NULL && number_parse_size(options->memory, &request->memory_bytes) < 0)
		return bad_value("memory", options->memory, "a size such as 64m or 1.5g", err);
	if (options->pids != NULL && number_parse_int(options->pids, 1, 1 << 22, &pids) < 0)
		return bad_value("pids", options->pids, "a number from 1 to 4194304", err);
	if (options->pids != NULL)
		request->pids = pids;
	return options->cpus != NULL ? parse_cpus(options->cpus, &request->cpu_millis, err) : 0;
}

int parse_restart(const char *text, Hydra__V1__RestartPolicy *policy, struct error *err)
{
	static const struct {
		const char *name;
		Hydra__V1__RestartMode mode;
	} modes[] = {{"no", HYDRA__V1__RESTART_MODE__RESTART_NO},
		     {"always", HYDRA__V1__RESTART_MODE__RESTART_ALWAYS},
		     {"unless-stopped", HYDRA__V1__RESTART_MODE__RESTART_UNLESS_STOPPED},
		     {"on-failure", HYDRA__V1__RESTART_MODE__RESTART_ON_FAILURE}};
	int retries = 0;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		policy->mode = modes[i].mode;
		if (strcmp(text, modes[i].name) == 0)
			return 0;
	}
	policy->mode = HYDRA__V1__RESTART_MODE__RESTART_ON_FAILURE;
	if (!text_has_prefix(text, "on-failure:") || number_parse_int(text + strlen("on-failure:"), 1, 1 << 30, &retries) < 0)
		return bad_value("restart", text, "no, on-failure[:N], always or unless-stopped", err);
	policy->maximum_retries = (uint32_t) retries;
	return 0;
}

static bool parse_mount_words(const char *words, Hydra__V1__Mount *entry)
{
	static char read_only[] = "ro", read_write[] = "rw";
	static char *options_ro[] = {read_only}, *options_rw[] = {read_write};
	auto_free char *copy = text_copy(words);
	bool is_known = true;

	entry->options = options_rw;
	entry->n_options = 1;
	for (char *rest = copy, *word; is_known && (word = strsep(&rest, ",")) != NULL;) {
		if (strcmp(word, "ro") == 0)
			entry->options = options_ro;
		else if (strcmp(word, "carried") == 0)
			entry->is_carried = true;
		else
			is_known = strcmp(word, "rw") == 0 || strcmp(word, "shared") == 0;
	}
	return is_known;
}

static int parse_mount(const char *text, Hydra__V1__Mount *entry, struct error *err)
{
	const char *target = strchr(text, ':');
	const char *mode = target != NULL ? strchr(target + 1, ':') : NULL;

	hydra__v1__mount__init(entry);
	if (text[0] != '/' || target == NULL || target[1] != '/' || !parse_mount_words(mode != NULL ? mode + 1 : "rw", entry))
		return bad_value("mount", text, "/SOURCE:/TARGET, perhaps with :ro, :carried or :shared behind it", err);
	entry->source = strndup(text, (size_t) (target - text));
	entry->target = mode != NULL ? strndup(target + 1, (size_t) (mode - target - 1)) : strdup(target + 1);
	return 0;
}

/* What the request points to besides argv. */
struct request_parts {
	Hydra__V1__Network network;
	Hydra__V1__LogConfig log;
	Hydra__V1__RestartPolicy restart;
	Hydra__V1__HealthCheck health;
	Hydra__V1__Mount *mounts;
	Hydra__V1__Mount **mount_pointers;
	Hydra__V1__PublishedPort **ports;
	char name[16];
};

static int add_mounts(const struct run_options *options, create_request *request, struct request_parts *parts,
		      struct error *err)
{
	size_t count = options->mounts.count;

	parts->mounts = calloc(count + 1, sizeof(*parts->mounts));
	parts->mount_pointers = calloc(count + 1, sizeof(*parts->mount_pointers));
	for (size_t i = 0; i < count; i++) {
		int r = parse_mount(options->mounts.items[i], &parts->mounts[i], err);

		if (r < 0)
			return r;
		parts->mount_pointers[i] = &parts->mounts[i];
	}
	request->mounts = parts->mount_pointers;
	request->n_mounts = count;
	return 0;
}

static int add_ports(const struct run_options *options, create_request *request, struct request_parts *parts, struct error *err)
{
	int r = 0;

	if (options->ports.count > 0 && (options->network == NULL || strcmp(options->network, "none") == 0 || strcmp(options->network, "host") == 0))
		return fail_because(err, EINVAL, "option --publish: needs --network with a CNI network");
	parts->ports = calloc(options->ports.count + 1, sizeof(*parts->ports));
	for (size_t i = 0; r == 0 && parts->ports != NULL && i < options->ports.count; i++) {
		r = publish_parse(options->ports.items[i], &parts->ports[i], err);
		request->network->n_ports += r == 0;
	}
	request->network->ports = parts->ports;
	return r;
}

static char *optional(const char *text)
{
	return (char *) (uintptr_t) (text != NULL ? text : protobuf_c_empty_string);
}

static void set_strings(const struct cli *cli, const struct run_options *options, const struct option_rest *rest,
			create_request *request, struct request_parts *parts)
{
	uint32_t number = 0;

	(void) !getrandom(&number, sizeof(number), 0);
	(void) text_fit(parts->name, sizeof(parts->name), "c%08x", number);
	request->id = optional(options->name != NULL ? options->name : parts->name);
	request->namespace_ = optional(cli->namespace);
	request->rootfs = optional(options->rootfs);
	request->bundle = optional(options->bundle);
	request->hostname = optional(options->hostname);
	request->cwd = optional(options->cwd);
	request->user = optional(options->user);
	request->args = (char **) (uintptr_t) rest->positional;
	request->n_args = (size_t) rest->count;
	request->env = (char **) (uintptr_t) options->env.items;
	request->n_env = options->env.count;
	request->cap_add = (char **) (uintptr_t) options->cap_add.items;
	request->n_cap_add = options->cap_add.count;
	request->cap_drop = (char **) (uintptr_t) options->cap_drop.items;
	request->n_cap_drop = options->cap_drop.count;
	hydra__v1__network__init(&parts->network);
	parts->network.mode = optional(options->network);
	parts->network.ip = optional(options->ip);
	parts->network.mac = optional(options->mac);
	request->network = &parts->network;
}

static int make_request(const struct cli *cli, const struct run_options *options, const struct option_rest *rest,
			create_request *request, struct request_parts *parts, struct error *err)
{
	int timeout_s = 10;
	int r;

	hydra__v1__create_request__init(request);
	hydra__v1__log_config__init(&parts->log);
	hydra__v1__restart_policy__init(&parts->restart);
	hydra__v1__health_check__init(&parts->health);
	set_strings(cli, options, rest, request, parts);
	request->terminal = options->terminal;
	request->open_stdin = options->input && !options->terminal;
	request->privileged = options->privileged;
	request->read_only = options->read_only;
	request->remove_on_exit = options->remove;
	request->log = &parts->log;
	request->restart = &parts->restart;
	r = set_limits(options, request, err);
	if (r == 0)
		r = log_options_parse(&options->log, &parts->log, err);
	if (r == 0)
		r = health_options_parse(&options->health, &parts->health, err);
	if (parts->health.command[0] != '\0')
		request->health_check = &parts->health;
	if (r == 0 && options->restart != NULL)
		r = parse_restart(options->restart, &parts->restart, err);
	if (r == 0)
		r = add_mounts(options, request, parts, err);
	if (r == 0)
		r = add_ports(options, request, parts, err);
	if (r == 0 && options->stop_timeout != NULL && number_parse_int(options->stop_timeout, 0, 86400, &timeout_s) < 0)
		r = bad_value("stop-timeout", options->stop_timeout, "seconds from 0 to 86400", err);
	request->stop_timeout_s = (uint32_t) timeout_s;
	return r;
}

static void parts_deinit(struct request_parts *parts, size_t mount_count)
{
	for (size_t i = 0; i < mount_count && parts->mounts != NULL; i++) {
		if (parts->mount_pointers[i] != NULL) {
			free(parts->mounts[i].source);
			free(parts->mounts[i].target);
		}
	}
	free(parts->mounts);
	free(parts->mount_pointers);
	for (size_t i = 0; i < parts->network.n_ports; i++)
		message_free(parts->ports[i]);
	free(parts->ports);
}

static int create_and_maybe_start(const struct cli *cli, const struct run_options *options, create_request *request,
				  bool attach, struct error *err)
{
	struct session_options session = {.id = request->id,
					  .exec_id = "",
					  .input = options->input,
					  .terminal = options->terminal,
					  .starts_container = true,
					  .forwards_signals = !options->terminal};
	struct error ignored;
	int r = cli_create(cli, request, err);

	if (r < 0)
		return r;
	if (!attach) {
		(void) puts(request->id);
		return 0;
	}
	r = session_run(cli, &session, err);
	/* its shim removes it too; this waits for that, or does it where the container never started */
	if (options->remove)
		(void) cli_remove(cli, request->id, r < 0, &ignored);
	return r;
}

static int run(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	struct run_options *options = context;
	struct request_parts parts = {.mounts = NULL};
	create_request request;
	int r = make_request(cli, options, rest, &request, &parts, err);

	request.start = options->detach;
	if (r == 0)
		r = create_and_maybe_start(cli, options, &request, !options->detach, err);
	parts_deinit(&parts, options->mounts.count);
	return r;
}

static int create(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	struct run_options *options = context;
	struct request_parts parts = {.mounts = NULL};
	create_request request;
	int r = make_request(cli, options, rest, &request, &parts, err);

	if (r == 0)
		r = create_and_maybe_start(cli, options, &request, false, err);
	parts_deinit(&parts, options->mounts.count);
	return r;
}

const struct command command_run = {
	"run",	 "--rootfs DIR [OPTIONS] COMMAND [ARGUMENT...] | --bundle DIR [OPTIONS]", "create and start a container",
	run_entries, sizeof(struct run_options), 0, -1, true, run,
};

const struct command command_create = {
	"create",    "--rootfs DIR [OPTIONS] COMMAND [ARGUMENT...] | --bundle DIR [OPTIONS]", "create a container",
	run_entries, sizeof(struct run_options), 0, -1, true, create,
};
