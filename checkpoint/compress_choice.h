/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which way of compressing brings most pages over in a second, by what was measured: how fast this processor does it, how much
 * smaller these pages get, and how much the link takes. A link that takes everything wants none. Pure arithmetic.
 */
#pragma once

#include "checkpoint/compress.h"

#include <stdbool.h>
#include <stdint.h>

struct compress_sample {
	double rate;  /* bytes of pages a second; 0: not measured */
	double ratio; /* bytes sent for a byte of pages */
};

struct compress_choice {
	bool is_allowed[COMPRESS_METHODS];
	struct compress_sample samples[COMPRESS_METHODS];
	double link_rate; /* bytes a second while it was the narrowest place; 0: it never was */
	uint32_t batch;
};

/* methods: bits (1 << method) of what may be used; none at all always may. */
void compress_choice_init(struct compress_choice *self, uint32_t methods);
/* For the next batch. Now and then one that is not the best, to measure it again. */
enum compress_method compress_choice_next(struct compress_choice *self);
/* A batch of size bytes took ns and became result bytes. */
void compress_choice_measured(struct compress_choice *self, enum compress_method method, size_t size, size_t result, uint64_t ns);
/* bytes went out within ns during which there were always more. */
void compress_choice_link(struct compress_choice *self, uint64_t bytes, uint64_t ns);
