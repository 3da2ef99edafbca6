/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other hosts, as hydractl asks for them.
 */
#pragma once

#include "cli/cli.h"
#include "state/hosts.h"

/* The daemon's folder, when the host has none of its own; the caller frees. -ENOENT: it has none, -ECONNREFUSED: there is no daemon. */
int host_certificates(const struct cli *cli, const known_host *host, char **ret_folder, struct error *err);

/* What hydra-pager ask says of it, to our standard output. Returns its exit status: 1 when nothing can be moved there. */
int host_ask(const struct cli *cli, const known_host *host, struct error *err);
/* The same as text, the caller's to free. host NULL: this host. */
int host_ask_json(const struct cli *cli, const known_host *host, char **ret_json, struct error *err);
