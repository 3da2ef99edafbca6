/* SPDX-License-Identifier: Apache-2.0 */
#include "state/hosts.h"

#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "state/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define VERSION     1U
#define SIZE_LIMIT  (4U << 20)
#define ADDRESS_MAX 260U

static char *hosts_path(void)
{
	struct error ignored;

	(void) dir_make_all(data_root(), 0711, &ignored);
	return text_format("%s/.hosts", data_root());
}

int hosts_load(known_hosts **ret_hosts, struct error *err)
{
	auto_free char *path = hosts_path();
	auto_free char *data = NULL;
	auto_message known_hosts *hosts = NULL;
	size_t size = 0;
	int r = file_read(AT_FDCWD, path, SIZE_LIMIT, &data, &size, err);

	if (r < 0 && r != -ENOENT)
		return r;
	hosts = (void *) message_decode(&hydra__v1__known_hosts__descriptor, r == 0 ? (uint8_t *) data : (const uint8_t *) "", size);
	if (hosts == NULL)
		return fail_because(err, EPROTO, "'%s' is damaged", path);
	if (r == 0 && hosts->version != VERSION)
		return fail_because(err, EPROTO, "'%s' has version %u, this program knows %u", path, hosts->version, VERSION);
	*ret_hosts = take_ptr(&hosts);
	return 0;
}

int hosts_save(known_hosts *hosts, struct error *err)
{
	auto_free char *path = hosts_path();
	auto_free uint8_t *data = NULL;
	size_t size;
	int r;

	hosts->version = VERSION;
	r = message_encode(&hosts->base, &data, &size, err);
	return r < 0 ? r : file_replace(AT_FDCWD, path, data, size, 0600, err);
}

known_host *hosts_find(const known_hosts *hosts, const char *name)
{
	for (size_t i = 0; i < hosts->n_hosts; i++) {
		if (strcmp(hosts->hosts[i]->name, name) == 0)
			return hosts->hosts[i];
	}
	return NULL;
}

int host_address_check(const char *address, struct error *err)
{
	const char *colon = strrchr(address, ':');
	bool is_clean = strlen(address) < ADDRESS_MAX;
	int port;

	for (const char *at = address; *at != '\0'; at++)
		is_clean = is_clean && *at > ' ' && *at < 0x7f && strchr("\"\\'/", *at) == NULL;
	if (is_clean && colon != NULL && colon > address && number_parse_int(colon + 1, 1, 65535, &port) == 0)
		return 0;
	return fail_because(err, EINVAL, "address '%.100s': expected HOST:PORT", address);
}

static int append(known_hosts *hosts, known_host *host, struct error *err)
{
	known_host **grown;

	if (hosts->n_hosts >= HOSTS_MAX)
		return fail_because(err, ENOSPC, "add host '%s': there are %d already", host->name, HOSTS_MAX);
	grown = reallocarray(hosts->hosts, hosts->n_hosts + 1, sizeof(known_host *));
	if (grown == NULL)
		return fail_errno(err, ENOMEM, "add host '%s'", host->name);
	hosts->hosts = grown;
	hosts->hosts[hosts->n_hosts++] = host;
	return 0;
}

int hosts_set(known_hosts *hosts, const known_host *host, struct error *err)
{
	auto_message known_host *copy = NULL;
	known_host *known;
	int r = id_check("host name", host->name, err);

	if (r == 0)
		r = host_address_check(host->address, err);
	if (r < 0)
		return r;
	copy = (void *) message_copy(&host->base);
	if (copy == NULL)
		return fail_errno(err, ENOMEM, "add host '%s'", host->name);
	known = hosts_find(hosts, host->name);
	if (known == NULL) {
		r = append(hosts, copy, err);
		copy = r == 0 ? NULL : copy;
		return r;
	}
	for (size_t i = 0; i < hosts->n_hosts; i++) {
		if (hosts->hosts[i] == known)
			hosts->hosts[i] = take_ptr(&copy);
	}
	message_free(known);
	return 0;
}

int hosts_remove(known_hosts *hosts, const char *name, struct error *err)
{
	known_host *known = hosts_find(hosts, name);
	size_t kept = 0;

	if (known == NULL)
		return fail_because(err, ENOENT, "no host '%.100s' (hydractl host list)", name);
	for (size_t i = 0; i < hosts->n_hosts; i++) {
		if (hosts->hosts[i] != known)
			hosts->hosts[kept++] = hosts->hosts[i];
	}
	hosts->n_hosts = kept;
	message_free(known);
	return 0;
}
