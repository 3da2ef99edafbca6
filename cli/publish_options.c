/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "proto/message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool take_port(const char *text, uint32_t *ret_port)
{
	int port;

	if (number_parse_int(text, 1, 65535, &port) < 0)
		return false;
	*ret_port = (uint32_t) port;
	return true;
}

static bool is_address(const char *text)
{
	uint8_t room[16];

	return inet_pton(AF_INET, text, room) == 1 || inet_pton(AF_INET6, text, room) == 1;
}

/* From the end: what is left is the address. */
static bool take_parts(char *text, Hydra__V1__PublishedPort *port)
{
	static const char *const protocols[] = {"tcp", "udp", "sctp", NULL};
	char *slash = strrchr(text, '/'), *colon, *address = text;
	const char *protocol = slash != NULL ? slash + 1 : "tcp";

	if (slash != NULL)
		*slash = '\0';
	colon = strrchr(text, ':');
	if (colon == NULL || !text_is_one_of(protocol, protocols) || !take_port(colon + 1, &port->container_port))
		return false;
	*colon = '\0';
	colon = strrchr(text, ':');
	if (!take_port(colon != NULL ? colon + 1 : text, &port->host_port))
		return false;
	if (colon == NULL)
		return message_set_string(&port->protocol, protocol);
	*colon = '\0';
	if (address[0] == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		address++;
	}
	return is_address(address) && message_set_string(&port->host_ip, address) && message_set_string(&port->protocol, protocol);
}

int publish_parse(const char *text, Hydra__V1__PublishedPort **ret_port, struct error *err)
{
	auto_message Hydra__V1__PublishedPort *port = malloc(sizeof(*port));
	auto_free char *copy = text_copy(text);

	if (port == NULL)
		return fail_errno(err, ENOMEM, "option --publish");
	hydra__v1__published_port__init(port);
	if (!take_parts(copy, port))
		return fail_because(err, EINVAL, "option --publish: '%s': expected [IP:]HOSTPORT:PORT, perhaps with /tcp, /udp or /sctp", text);
	*ret_port = take_ptr(&port);
	return 0;
}
