/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of other hosts. hydrad alone changes them, one request after the other; it keeps none in memory.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "daemon/daemon.h"
#include "proto/message.h"
#include "state/hosts.h"

#include <errno.h>
#include <string.h>

static void answer(struct ttrpc_call *call, int result, const struct error *err)
{
	if (result < 0)
		ttrpc_refuse_error(call, err);
	else
		ttrpc_reply_empty(call);
}

void service_add_host(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	known_host host = *(const known_host *) (const void *) message;
	auto_message known_hosts *hosts = NULL;
	struct error err;
	int r = hosts_load(&hosts, &err);

	host.added_ns = clock_realtime_ns();
	if (r == 0)
		r = hosts_set(hosts, &host, &err);
	if (r == 0)
		r = hosts_save(hosts, &err);
	answer(call, r, &err);
}

void service_remove_host(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const known_host *host = (const void *) message;
	auto_message known_hosts *hosts = NULL;
	struct error err;
	int r = hosts_load(&hosts, &err);

	if (r == 0)
		r = hosts_remove(hosts, host->name, &err);
	if (r == 0)
		r = hosts_save(hosts, &err);
	answer(call, r, &err);
}

int hosts_resolve(struct daemon *daemon, const Hydra__V1__MigrateRequest *request, Hydra__V1__KnownHost **ret_host, struct error *err)
{
	auto_message known_hosts *hosts = NULL;
	auto_message known_host *found = NULL;
	known_host given = HYDRA__V1__KNOWN_HOST__INIT;
	const known_host *known = &given;
	bool is_address = strrchr(request->host, ':') != NULL;
	int r = is_address ? host_address_check(request->host, err) : hosts_load(&hosts, err);

	(void) daemon;
	if (r < 0)
		return r;
	given.address = request->host;
	if (!is_address)
		known = hosts_find(hosts, request->host);
	if (known == NULL)
		return fail_because(err, EINVAL, "host '%.100s': expected HOST:PORT, or a name that hydractl host list knows", request->host);
	found = (void *) message_copy(&known->base);
	if (found == NULL || (request->certificates[0] != '\0' && !message_set_string(&found->certificates, request->certificates)))
		return fail_errno(err, ENOMEM, "migrate to '%s'", request->host);
	*ret_host = take_ptr(&found);
	return 0;
}
