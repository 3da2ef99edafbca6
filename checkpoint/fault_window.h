/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many pages a fault brings along: twice as many as the one before when a task goes through its memory in order (in
 * either direction), half as many when it jumps about and neighbours are of no use to it. Pure arithmetic.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FAULT_WINDOW_MIN   4U
#define FAULT_WINDOW_FIRST 16U

struct fault_window {
	uint64_t start, end; /* what the last fault brought; 0: there was none */
	size_t pages;
};

/* The window, aligned to its own size, of a fault at page address. A power of two, at most limit. */
size_t fault_window_next(struct fault_window *self, uint64_t address, size_t limit);
/* What was really asked for. */
void fault_window_asked(struct fault_window *self, uint64_t start, uint64_t end);
