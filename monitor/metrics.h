/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What metrics.c writes for Prometheus.
 */
#pragma once

#include "monitor/monitor.h"

/* The caller's to free; NULL: no memory. */
char *metrics_render(struct monitor *monitor);
