/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that stands in the way of a migration, collected instead of told one at a time.
 */
#pragma once

#include "base/error.h"
#include "handoff.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

#define PROBLEMS_MAX 64 /* more are counted, not kept */

struct problems {
	Hydra__V1__HandoffProblem *items[PROBLEMS_MAX];
	size_t count, left_out;
	const char *host; /* who looks; borrowed */
};

/* object: what it is about, in the words a person would look for it with. remedy may be NULL. */
void problems_add(struct problems *self, const char *remedy, const char *object, const char *reason, ...)
	__attribute__((format(printf, 4, 5)));
/* What another host found; takes a copy. */
void problems_adopt(struct problems *self, const Hydra__V1__HandoffProblem *other);
void problems_deinit(struct problems *self);

/* 0: there are none. Else -EOPNOTSUPP, and as many of them as the message has room for. */
int problems_fail(const struct problems *self, struct error *err);
