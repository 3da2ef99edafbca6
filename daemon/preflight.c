/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would be in the way of a migration: hydra-setup looks, and its report is the answer.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "proto/message.h"

#include <errno.h>
#include <string.h>

/* The last line that is an object; programs may have logged before it. */
static const char *report_in(char *message)
{
	char *line = message, *found = NULL;

	for (char *next; line != NULL && *line != '\0'; line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		if (*line == '{')
			found = line;
	}
	return found;
}

static void looked(struct daemon *daemon, int exit_status, const char *message, void *context)
{
	Hydra__V1__PreflightResponse response = HYDRA__V1__PREFLIGHT_RESPONSE__INIT;
	struct ttrpc_call *call = context;
	auto_free char *copy = text_copy(message);
	const char *report = exit_status == 0 ? report_in(copy) : NULL;
	struct error err;

	if (report != NULL) {
		response.report = (char *) (uintptr_t) report;
		ttrpc_reply(call, &response.base);
	} else {
		(void) fail_because(&err, exit_status > 0 && exit_status < 128 ? exit_status : EIO, "%s",
				    message[0] != '\0' ? message : "hydra-setup died while it looked");
		ttrpc_refuse_error(call, &err);
	}
	daemon->errands--;
	upgrade_consider(daemon);
}

void service_preflight(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__MigrateRequest *request = (const void *) message;
	struct daemon *daemon = call->server->context;
	auto_free char *migration = text_format("dry-%llx", (unsigned long long) clock_realtime_ns());
	auto_free char *bandwidth = text_format("%llu", (unsigned long long) request->bandwidth);
	auto_message Hydra__V1__KnownHost *host = NULL;
	const char *words[MIGRATE_WORDS_MAX + 1];
	struct error err;
	size_t count;
	int r;

	if (upgrade_holds(call, message))
		return;
	r = migrate_check(daemon, request, &host, &err);
	if (r == 0) {
		count = migrate_words(daemon, request, &(struct migrate_place){host, migration, bandwidth}, words);
		words[count++] = "--dry-run";
		words[count] = NULL;
		r = worker_start_with(daemon, "hydra-setup", words, FD_NONE, looked, call, &err);
	}
	daemon->errands += r == 0;
	if (r < 0)
		ttrpc_refuse_error(call, &err);
}
