/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.resources written to cgroup files.
 */
#pragma once

#include "base/error.h"
#include "runtime/cgroup.h"

#include <stdbool.h>

/* is_new: also the device rules, which always start from "nothing but the basic devices". */
int cgroup_v1_set(const struct cgroup *self, const struct spec_resources *resources, bool is_new, struct error *err);
int cgroup_v2_set(const struct cgroup_hierarchy *item, const struct spec_resources *resources, bool is_new,
		  struct error *err);

/* After a refused write to this file: puts the field of config.json in front, or says that the kernel does not have it. */
int cgroup_fail_field(const char *file, struct error *err);

/* For each level on the way down. */
int cgroup_v1_inherit_cpuset(const char *parent, const char *dir, struct error *err);
int cgroup_v2_enable_controllers(const char *parent, const char *dir, struct error *err);

/* Conversions between the two generations' scales. */
uint64_t cgroup_weight_from_shares(uint64_t shares);
uint64_t cgroup_io_weight_from_blkio(uint64_t weight);
/* A line of rdma.max. false: too long. */
bool cgroup_rdma_format(const struct spec_rdma *rdma, char *ret_text, size_t size);

struct device_rules;
int cgroup_v1_set_devices(const struct cgroup_hierarchy *item, const struct device_rules *rules, struct error *err);
int cgroup_v2_set_devices(const struct cgroup_hierarchy *item, const struct device_rules *rules, struct error *err);
