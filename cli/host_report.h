/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host says of itself (hydra-pager ask), for those who plan moves. Pure but for host_report_ask() (host_ask.c).
 */
#pragma once

#include "cli/host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host_container {
	const char *namespace, *id; /* the report's */
	const char *immovable;      /* why; "": it can be moved */
	uint64_t memory_bytes, age_ns;
	double processors;          /* that it used on average since it began */
};

struct host_report {
	char *name;                 /* as the user calls it; "": this host */
	const char *problem;        /* why nothing can be moved there; "": none */
	uint64_t memory_bytes, available_bytes;
	unsigned processors, load_percent;
	double cpu_pressure, memory_pressure, io_pressure; /* percent of time; negative: unknown */
	struct host_container *containers;
	size_t container_count;
	void *document;
};

/* -EPROTO: it is no report. json may be freed afterwards. */
int host_report_parse(struct host_report *self, const char *name, const char *json, struct error *err);
/* Accepts a zeroed one. */
void host_report_deinit(struct host_report *self);
/* host NULL: this one. One that does not answer is a report with a problem. */
int host_report_ask(struct host_report *self, const struct cli *cli, const known_host *host, struct error *err);
bool host_report_has(const struct host_report *self, const char *namespace, const char *id);
