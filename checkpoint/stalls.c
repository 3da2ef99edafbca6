/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/stalls.h"

#include <stdlib.h>

#define CAPACITY_FIRST 16U

void stalls_deinit(struct stalls *self)
{
	free(self->waiting);
	*self = (struct stalls){.waiting = NULL};
}

void stalls_begin(struct stalls *self, uint64_t address, uint64_t now_ns)
{
	if (self->waiting_count == self->capacity && self->capacity < STALLS_WAITING_MAX) {
		size_t capacity = self->capacity > 0 ? self->capacity * 2 : CAPACITY_FIRST;
		struct stall *grown = reallocarray(self->waiting, capacity, sizeof(*grown));

		if (grown == NULL)
			return;
		self->waiting = grown;
		self->capacity = capacity;
	}
	if (self->waiting_count < self->capacity)
		self->waiting[self->waiting_count++] = (struct stall){address, now_ns};
}

void stalls_end(struct stalls *self, uint64_t from, uint64_t to, uint64_t now_ns)
{
	size_t kept = 0;

	for (size_t i = 0; i < self->waiting_count; i++) {
		const struct stall *stall = &self->waiting[i];
		uint64_t spent_ns = now_ns > stall->since_ns ? now_ns - stall->since_ns : 0;

		if (stall->address < from || stall->address >= to) {
			self->waiting[kept++] = *stall;
			continue;
		}
		self->count++;
		self->sum_ns += spent_ns;
		self->max_ns = spent_ns > self->max_ns ? spent_ns : self->max_ns;
	}
	self->waiting_count = kept;
}

void stalls_add(struct stalls *self, const struct stalls *other)
{
	self->count += other->count;
	self->sum_ns += other->sum_ns;
	self->max_ns = other->max_ns > self->max_ns ? other->max_ns : self->max_ns;
}
