/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.resources.devices as an ordered list on top of what every container may use. Pure.
 */
#pragma once

#include "base/error.h"
#include "runtime/spec.h"

#include <stdbool.h>
#include <stdint.h>

#define DEVICE_RULES_MAX 512
#define DEVICE_ANY       (-1)

enum device_access {
	DEVICE_MKNOD = 1, /* the kernel's BPF_DEVCG_ACC_* */
	DEVICE_READ = 2,
	DEVICE_WRITE = 4,
	DEVICE_ALL = 7,
};

struct device_rule {
	bool is_allowed;
	char type; /* 'b', 'c' or 'a' */
	int64_t major;
	int64_t minor;
	unsigned int access;
};

struct device_rules {
	bool allows_by_default;
	struct device_rule items[DEVICE_RULES_MAX]; /* a later one wins */
	size_t count;
};

int device_rules_init(struct device_rules *self, const struct spec_resources *resources, struct error *err);
bool device_rules_allow_all(const struct device_rules *self);
/* "c 1:3 rwm" */
void device_rule_format(const struct device_rule *rule, char *ret_text, size_t size);
