/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of other hosts: <data>/.hosts, one hydra.v1.KnownHosts, replaced atomically and durably by hydrad alone.
 */
#pragma once

#include "base/error.h"
#include "daemon.pb-c.h"

#define HOSTS_MAX 1000

typedef Hydra__V1__KnownHosts known_hosts;
typedef Hydra__V1__KnownHost known_host;

/* Without a file an empty list. -EPROTO: of another version, or damaged; it is left as it is. Free with message_free(). */
int hosts_load(known_hosts **ret_hosts, struct error *err);
int hosts_save(known_hosts *hosts, struct error *err);

/* NULL: there is none. */
known_host *hosts_find(const known_hosts *hosts, const char *name);
/* Adds it, or replaces the one of this name. -EINVAL: a name, or an address, that is none. */
int hosts_set(known_hosts *hosts, const known_host *host, struct error *err);
/* -ENOENT: there is none. */
int hosts_remove(known_hosts *hosts, const char *name, struct error *err);

/* HOST:PORT */
int host_address_check(const char *address, struct error *err);
