/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of containers, by name: the list behind store.c. Whatever leaves it is forgotten by the service manager, too.
 */
#pragma once

#include "seal.pb-c.h"

#include <stdbool.h>

struct monitor;
struct depositor;

struct deposit {
	char *namespace;
	char *id;
	char *name;
	int fd;
	const struct depositor *by; /* NULL: from before us, or its connection is gone */
	struct deposit *next;
};

/* True: something was dropped. name "*": all of the container. */
bool deposits_drop(struct monitor *monitor, const char *namespace, const char *id, const char *name);
/* All of the container but what `by` has deposited. */
void deposits_drop_others(struct monitor *monitor, const char *namespace, const char *id, const struct depositor *by);
/* What nobody has deposited since we began, of containers that no shim is there for or will be. True: there was something. */
bool deposits_drop_orphans(struct monitor *monitor);
/* NULL: there is none. */
struct deposit *deposits_find(const struct monitor *monitor, const char *namespace, const char *id, const char *name);
/* Sends all of the container, then an empty name. */
void deposits_give(const struct monitor *monitor, const char *namespace, const char *id, int client_fd);
/* Its connection is gone; what it has deposited stays. */
void deposits_forget_depositor(struct monitor *monitor, const struct depositor *by);
/* False: no memory. */
bool deposits_seal(const struct monitor *monitor, Hydra__V1__SealedMonitor *sealed);
