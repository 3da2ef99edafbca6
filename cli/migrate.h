/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that move containers share.
 */
#pragma once

#include "cli/cli.h"

#include <stdbool.h>
#include <stddef.h>

/* How a container is moved. The first member of every command's options that has MIGRATE_WAY_ENTRIES. */
struct migrate_way {
	const char *certificates, *bandwidth, *compress, *mode, *downtime, *exec_sessions, *lost_pages;
	struct string_list deadlines;
};

#define WAY_AT(member) offsetof(struct migrate_way, member)
#define MIGRATE_WAY_ENTRIES                                                                                                                       \
	{0, "mode", "MODE", OPTION_STRING, WAY_AT(mode), "auto, post-copy, pre-copy, hybrid or cold (default: auto)"},                            \
	{0, "exec-sessions", "WHAT", OPTION_STRING, WAY_AT(exec_sessions),                                                                        \
	 "of the container: refuse to move it, or end them (default: refuse)"},                                                                   \
	{0, "downtime", "TIME", OPTION_STRING, WAY_AT(downtime), "pre-copy: how long sending the rest may take (default: 100ms)"},                \
	{0, "certificates", "DIR", OPTION_STRING, WAY_AT(certificates),                                                                           \
	 "folder with ca.pem, cert.pem, key.pem (default: the daemon's)"},                                                                        \
	{0, "bandwidth", "RATE", OPTION_STRING, WAY_AT(bandwidth),                                                                                \
	 "bytes a second for what nobody waits for, also 10m (default: all there is)"},                                                           \
	{0, "compress", "HOW", OPTION_STRING, WAY_AT(compress),                                                                                   \
	 "pages that nobody waits for: auto, none, lz4 or zstd (default: auto)"},                                                                 \
	{0, "lost-pages", "POLICY", OPTION_STRING, WAY_AT(lost_pages),                                                                            \
	 "should the source's memory be lost after the commit: stop (the copy is killed, default) or poison (who touches a missing page gets SIGBUS)"}, \
	{0, "deadline", "PART=TIME", OPTION_LIST, WAY_AT(deadlines),                                                                              \
	 "how long preflight, sync, freeze (from the standstill to the commit) or commit (all until then) may take; else it stays here"}

struct migrate_options {
	struct migrate_way way;
	const char *resolve;
	bool dry_run, is_resumed, force;
};

extern const struct option_entry migrate_entries[];

/* Into request, whose strings stay the way's; *ret_certificates, which the caller frees, is one of them. */
int migrate_way_parse(const struct migrate_way *way, Hydra__V1__MigrateRequest *request, char **ret_certificates, struct error *err);

/* preflight.c: tells what is in the way. Returns an exit status: 0 when nothing is. */
int preflight_run(const struct cli *cli, const Hydra__V1__MigrateRequest *request, struct error *err);
/* The same, but says nothing. 0: nothing is in the way; 1: something is; or -errno. */
struct preflight_answer {
	char why[384];  /* 1: what is in the way */
	char layer[80]; /* 0: the digest of the layer below the writable one, if the target does not have it; else "" */
};
int preflight_ask(const struct cli *cli, const Hydra__V1__MigrateRequest *request, struct preflight_answer *ret_answer, struct error *err);
