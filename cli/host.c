/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl host: names for other hosts, and whether containers can be moved there.
 */
#include "cli/host.h"

#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct host_options {
	const char *certificates;
};

static const struct option_entry host_entries[] = {
	{0, "certificates", "DIR", OPTION_STRING, offsetof(struct host_options, certificates),
	 "add: folder with ca.pem, cert.pem, key.pem for this host (default: the daemon's)"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static int ask_daemon(const struct cli *cli, const char *method, const known_host *host, struct error *err)
{
	auto_message ProtobufCMessage *response = NULL;
	int r = cli_call_daemon(cli, method, &host->base, &hydra__v1__empty__descriptor, 10000, &response, err);
	struct error why = *err;

	if ((r == -ENOENT && strstr(why.message, "no host") == NULL) || r == -ECONNREFUSED)
		return fail_because(err, ECONNREFUSED, "hydrad keeps the names of hosts, and does not run at %s", cli->root);
	return r;
}

static int add(const struct cli *cli, const struct host_options *options, const struct option_rest *rest, struct error *err)
{
	known_host host = HYDRA__V1__KNOWN_HOST__INIT;
	auto_free char *certificates = options->certificates != NULL ? realpath(options->certificates, NULL) : text_copy("");

	if (certificates == NULL)
		return fail_errno(err, errno, "certificates '%s'", options->certificates);
	host.name = (char *) (uintptr_t) rest->positional[1];
	host.address = (char *) (uintptr_t) rest->positional[2];
	host.certificates = certificates;
	return ask_daemon(cli, "AddHost", &host, err);
}

static int remove_host(const struct cli *cli, const struct host_options *options, const struct option_rest *rest, struct error *err)
{
	known_host host = HYDRA__V1__KNOWN_HOST__INIT;

	(void) options;
	host.name = (char *) (uintptr_t) rest->positional[1];
	return ask_daemon(cli, "RemoveHost", &host, err);
}

static void print_list(const struct cli *cli, const known_hosts *hosts)
{
	static const char *const headers[] = {"NAME", "ADDRESS", "ADDED", "CERTIFICATES", NULL};
	struct table *table = cli_wants_json(cli) ? NULL : table_new(headers);

	if (table == NULL)
		(void) fputs("[", stdout);
	for (size_t i = 0; i < hosts->n_hosts; i++) {
		const known_host *host = hosts->hosts[i];
		auto_free char *json = json_of_message(&host->base, false);
		char added[64];

		format_age(host->added_ns, added, sizeof(added));
		if (table == NULL)
			(void) printf("%s%s", i > 0 ? ",\n " : "", json);
		else
			table_add(table, (const char *[]){host->name, host->address, added, host->certificates[0] != '\0' ? host->certificates : "-"});
	}
	if (table == NULL) {
		(void) puts("]");
		return;
	}
	table_print(table);
	table_free(table);
}

static int list(const struct cli *cli, const struct host_options *options, const struct option_rest *rest, struct error *err)
{
	auto_message known_hosts *hosts = NULL;
	int r = hosts_load(&hosts, err);

	(void) options;
	(void) rest;
	if (r == 0)
		print_list(cli, hosts);
	return r;
}

static int check(const struct cli *cli, const struct host_options *options, const struct option_rest *rest, struct error *err)
{
	const char *wanted = rest->count > 1 ? rest->positional[1] : NULL;
	auto_message known_hosts *hosts = NULL;
	bool is_known = wanted == NULL;
	int r = hosts_load(&hosts, err), worst = 0;

	(void) options;
	for (size_t i = 0; r == 0 && i < hosts->n_hosts; i++) {
		if (wanted != NULL && strcmp(hosts->hosts[i]->name, wanted) != 0)
			continue;
		is_known = true;
		(void) fflush(stdout);
		r = host_ask(cli, hosts->hosts[i], err);
		worst = r > worst ? r : worst;
		r = r > 0 ? 0 : r;
	}
	if (r == 0 && !is_known)
		return fail_because(err, ENOENT, "no host '%s' (hydractl host list)", wanted);
	return r < 0 ? r : worst;
}

static const struct {
	const char *name;
	int least, most; /* arguments behind it */
	int (*run)(const struct cli *cli, const struct host_options *options, const struct option_rest *rest, struct error *err);
} verbs[] = {
	{"add", 2, 2, add},
	{"remove", 1, 1, remove_host},
	{"list", 0, 0, list},
	{"check", 0, 1, check},
};

static int host(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, rest->positional[0]) == 0 && rest->count - 1 >= verbs[i].least && rest->count - 1 <= verbs[i].most)
			return verbs[i].run(cli, context, rest, err);
	}
	return fail_because(err, EINVAL, "expected: host add NAME HOST:PORT, host remove NAME, host list, or host check [NAME]");
}

const struct command command_host = {
	"host", "[OPTIONS] add NAME HOST:PORT | remove NAME | list | check [NAME]", "names for hosts that containers are moved to", host_entries,
	sizeof(struct host_options), 1, 3, false, host};
