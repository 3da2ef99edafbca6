/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What metrics.c writes for Prometheus.
 */
#pragma once

#include "base/text.h"
#include "monitor/monitor.h"

/* The caller's to free; NULL: no memory. */
char *metrics_render(struct monitor *monitor);
void metrics_begin_family(struct text *text, const char *name, const char *type, const char *help);
/* metrics_migrations.c */
void metrics_add_migrations(struct text *text, const struct monitor *monitor);
