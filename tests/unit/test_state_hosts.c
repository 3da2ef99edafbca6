/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "state/hosts.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static int set(known_hosts *hosts, const char *name, const char *address)
{
	known_host host = HYDRA__V1__KNOWN_HOST__INIT;
	struct error err;

	host.name = (char *) (uintptr_t) name;
	host.address = (char *) (uintptr_t) address;
	return hosts_set(hosts, &host, &err);
}

TEST(what_was_saved_is_there_again)
{
	char root[] = "/tmp/hydra-hosts-XXXXXX";
	auto_message known_hosts *hosts = NULL, *again = NULL;
	struct error err;

	CHECK(mkdtemp(root) != NULL && setenv("HYDRA_DATA", root, 1) == 0);
	CHECK(hosts_load(&hosts, &err) == 0 && hosts->n_hosts == 0);
	CHECK(set(hosts, "a", "a:1") == 0 && set(hosts, "b", "[::1]:2") == 0 && set(hosts, "a", "c:3") == 0);
	CHECK(hosts->n_hosts == 2 && hosts_save(hosts, &err) == 0);
	CHECK(hosts_load(&again, &err) == 0 && again->n_hosts == 2);
	CHECK(strcmp(hosts_find(again, "a")->address, "c:3") == 0 && hosts_find(again, "x") == NULL);
	CHECK(hosts_remove(again, "a", &err) == 0 && hosts_remove(again, "a", &err) == -ENOENT && again->n_hosts == 1);
	CHECK(dir_remove_all(AT_FDCWD, root, &err) == 0);
}

TEST(a_damaged_file_is_not_taken_for_an_empty_one)
{
	char root[] = "/tmp/hydra-hosts-XXXXXX";
	auto_message known_hosts *hosts = NULL;
	auto_free char *path = NULL;
	struct error err;

	CHECK(mkdtemp(root) != NULL && setenv("HYDRA_DATA", root, 1) == 0);
	path = text_format("%s/.hosts", root);
	CHECK(file_replace(AT_FDCWD, path, "\xff\xff", 2, 0600, &err) == 0);
	CHECK(hosts_load(&hosts, &err) == -EPROTO);
	CHECK(file_replace(AT_FDCWD, path, "\x08\x09", 2, 0600, &err) == 0);
	CHECK(hosts_load(&hosts, &err) == -EPROTO && strstr(err.message, "version 9") != NULL);
	CHECK(dir_remove_all(AT_FDCWD, root, &err) == 0);
}

TEST(what_is_no_name_or_no_address_is_refused)
{
	auto_message known_hosts *hosts = (void *) message_decode(&hydra__v1__known_hosts__descriptor, (const uint8_t *) "", 0);

	CHECK(set(hosts, "", "a:1") < 0 && set(hosts, "a b", "a:1") < 0 && set(hosts, "../x", "a:1") < 0);
	CHECK(set(hosts, "a", "a") < 0 && set(hosts, "a", "a:0") < 0 && set(hosts, "a", "a:99999") < 0 && set(hosts, "a", ":1") < 0);
	CHECK(set(hosts, "a", "a\"b:1") < 0 && hosts->n_hosts == 0);
}
