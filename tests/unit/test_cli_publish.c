/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "proto/message.h"
#include "tests/unit/harness.h"

#include <string.h>

static bool is(const char *text, const char *ip, unsigned host_port, unsigned port, const char *protocol)
{
	auto_message Hydra__V1__PublishedPort *parsed = NULL;
	struct error err;

	return publish_parse(text, &parsed, &err) == 0 && strcmp(parsed->host_ip, ip) == 0 && parsed->host_port == host_port &&
	       parsed->container_port == port && strcmp(parsed->protocol, protocol) == 0;
}

TEST(a_port_has_perhaps_an_address_and_a_protocol)
{
	CHECK(is("8080:80", "", 8080, 80, "tcp"));
	CHECK(is("53:5353/udp", "", 53, 5353, "udp"));
	CHECK(is("127.0.0.1:1:65535/sctp", "127.0.0.1", 1, 65535, "sctp"));
	CHECK(is("[::1]:8080:80/tcp", "::1", 8080, 80, "tcp"));
	CHECK(is("::1:8080:80", "::1", 8080, 80, "tcp"));
}

TEST(what_is_no_port_is_refused)
{
	static const char *const wrong[] = {"", "80", ":80", "80:", "0:1", "1:0", "65536:1", "1:2/icmp", "1:2/", "host:1:2", "[]:1:2", "[::1:1:2", "1:2:3:4",
					    "-1:2", " 1:2", "1:2 ", "256.0.0.1:1:2"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		Hydra__V1__PublishedPort *parsed = NULL;
		struct error err;

		CHECK(publish_parse(wrong[i], &parsed, &err) < 0 && parsed == NULL && strstr(err.message, "--publish") != NULL);
	}
}
