/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl upgrade: other binaries take the place of resident programs; pids, connections and containers stay.
 */
#include "base/child.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "proto/message.h"
#include "state/run_dir.h"
#include "state/shim_process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UPGRADE_TIMEOUT_MS 60000
#define VERSION_MAX        4096

struct upgrade_options {
	const char *binary;
	bool all;
};

static const struct option_entry upgrade_entries[] = {
	{'a', "all", NULL, OPTION_FLAG, offsetof(struct upgrade_options, all), "the shims of all containers in all namespaces"},
	{0, "binary", "PATH", OPTION_STRING, offsetof(struct upgrade_options, binary), "the new binary (default: the installed one)"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

typedef int cli_call(const struct cli *cli, const char *method, const ProtobufCMessage *request,
		     const ProtobufCMessageDescriptor *response, int timeout_ms, void *ret_response, struct error *err);

struct rollout {
	const struct cli *cli;
	const char *binary;
	struct text *json;
	size_t count;
	struct error *err; /* err->code < 0: stopped there */
};

/* Whatever is executed under the pid of a resident program ends it, unless it is that program. */
static int check_binary(const char *path, const char *name, struct error *err)
{
	const char *argv[] = {name, "--version", NULL};
	struct child_spec spec = {.path = path, .argv = argv, .cwd = "/"};
	auto_free char *output = NULL;
	int status = 0;
	int r = child_output(&spec, STDOUT_FILENO, VERSION_MAX, &output, &status, err);

	if (r == 0 && (status != 0 || !text_has_prefix(output, name)))
		r = fail_because(err, EINVAL, "'%s' is no %s: its --version says '%.60s'", path, name, output);
	return r;
}

static void report(struct rollout *self, const char *what, const Hydra__V1__UpgradeResponse *response)
{
	if (!cli_wants_json(self->cli)) {
		(void) printf("%s: %s -> %s\n", what, response->old_version, response->new_version);
		(void) fflush(stdout);
		return;
	}
	text_addf(self->json, "%s{\"name\":\"%s\",\"oldVersion\":\"%s\",\"newVersion\":\"%s\"}", self->count > 1 ? "," : "", what,
		    response->old_version, response->new_version);
}

/* It went when it was asked, with its container. */
static bool has_ended(const struct cli *cli, const char *id)
{
	auto_close int fd = FD_NONE;
	struct error ignored;
	int r = shim_process_connect_now(cli->root, cli->namespace, id, &fd, &ignored);

	return r == -ENOENT || r == -ECONNREFUSED;
}

/* False: the roll-out stops here. */
static bool upgrade_one(const char *namespace, const char *id, void *context)
{
	struct rollout *self = context;
	struct cli cli = *self->cli;
	Hydra__V1__UpgradeRequest request = HYDRA__V1__UPGRADE_REQUEST__INIT;
	auto_message Hydra__V1__UpgradeResponse *response = NULL;
	int r;

	cli.namespace = namespace;
	request.path = (char *) (uintptr_t) self->binary;
	r = cli_call_shim(&cli, id, "Upgrade", &request.base, &hydra__v1__upgrade_response__descriptor, UPGRADE_TIMEOUT_MS, &response,
			  self->err);
	if (r == -ENOENT || r == -ECONNREFUSED || (r == -ECONNRESET && has_ended(&cli, id))) { /* stopped: it has none */
		self->err->code = 0;
		return true;
	}
	if (r < 0) {
		(void) fail_while(self->err, "upgrade the shim of '%s'", id);
		return false;
	}
	self->count++;
	report(self, id, response);
	return true;
}

static int upgrade_shims(struct rollout *self, const struct upgrade_options *options, const struct option_rest *rest)
{
	if (options->all && rest->count > 1)
		return fail_because(self->err, EINVAL, "upgrade shim: --all and '%s': expected one of both", rest->positional[1]);
	if (!options->all && rest->count < 2)
		return fail_because(self->err, EINVAL, "upgrade shim: which? Name containers, or use --all");
	if (options->all)
		return run_dir_visit(self->cli->root, NULL, upgrade_one, self, self->err);
	for (int i = 1; i < rest->count; i++) {
		size_t before = self->count;

		if (id_check("container name", rest->positional[i], self->err) < 0 ||
		    !upgrade_one(self->cli->namespace, rest->positional[i], self))
			return self->err->code;
		if (self->count == before)
			return fail_because(self->err, ENOENT, "container '%s' has no shim that runs", rest->positional[i]);
	}
	return 0;
}

static int upgrade_single(struct rollout *self, const char *name, cli_call *call)
{
	Hydra__V1__UpgradeRequest request = HYDRA__V1__UPGRADE_REQUEST__INIT;
	auto_message Hydra__V1__UpgradeResponse *response = NULL;
	int r;

	request.path = (char *) (uintptr_t) self->binary;
	r = call(self->cli, "Upgrade", &request.base, &hydra__v1__upgrade_response__descriptor, UPGRADE_TIMEOUT_MS, &response, self->err);
	if (r < 0)
		return fail_while(self->err, "upgrade %s", name);
	self->count++;
	report(self, name, response);
	return 0;
}

static int upgrade_daemon(struct rollout *self, const struct upgrade_options *options, const struct option_rest *rest)
{
	(void) options;
	(void) rest;
	return upgrade_single(self, "daemon", cli_call_daemon);
}

static int upgrade_monitor(struct rollout *self, const struct upgrade_options *options, const struct option_rest *rest)
{
	(void) options;
	(void) rest;
	return upgrade_single(self, "monitor", cli_call_monitor);
}

static const struct target {
	const char *name;
	const char *program;
	int (*upgrade)(struct rollout *self, const struct upgrade_options *options, const struct option_rest *rest);
} targets[] = {
	{"daemon", "hydrad", upgrade_daemon},
	{"monitor", "hydra-monitor", upgrade_monitor},
	{"shim", "hydra-shim", upgrade_shims},
};

static const struct target *find_target(const char *name)
{
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		if (strcmp(targets[i].name, name) == 0)
			return &targets[i];
	}
	return NULL;
}

static int upgrade(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct upgrade_options *options = context;
	const struct target *target = find_target(rest->positional[0]);
	auto_free char *binary = options->binary != NULL ? realpath(options->binary, NULL)
							 : target != NULL ? child_program(target->program) : NULL;
	auto_text json = TEXT_EMPTY;
	struct rollout self = {.cli = cli, .binary = binary, .json = &json, .err = err};
	int r;

	if (target == NULL)
		return fail_because(err, EINVAL, "upgrade '%s': expected daemon, monitor or shim", rest->positional[0]);
	if (binary == NULL)
		return fail_errno(err, errno, "binary '%s'", options->binary);
	r = check_binary(binary, target->program, err);
	*err = r == 0 ? ERROR_NONE : *err;
	if (r == 0)
		r = target->upgrade(&self, options, rest);
	if (r == 0)
		r = err->code;
	if (cli_wants_json(cli) && (r == 0 || self.count > 0))
		(void) printf("[%s]\n", json.data != NULL ? json.data : "");
	return r;
}

const struct command command_upgrade = {
	"upgrade", "daemon|monitor|shim [OPTIONS] [CONTAINER...]", "replace resident programs by other binaries while containers run", upgrade_entries,
	sizeof(struct upgrade_options), 1, -1, false, upgrade};
