/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When pre-copy has come far enough: another round pays only as long as each leaves less to do than the one before.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ROUND_FOLDER "round-" /* and its number, from 1 on: below the folder of the final images */
#define ROUNDS_MAX   30U
#define ROUNDS_USUAL 10U

struct rounds {
	unsigned int done, limit;
	uint64_t downtime_ms; /* wanted */
	uint64_t bytes, rate; /* of the last round; bytes a second */
};

enum rounds_verdict {
	ROUNDS_GO_ON,
	ROUNDS_SMALL_ENOUGH, /* what is left gets over in the wanted time */
	ROUNDS_NO_PROGRESS,  /* the container writes as fast as it is sent */
	ROUNDS_TOO_MANY,
};

/* A round of that size is over. */
enum rounds_verdict rounds_add(struct rounds *self, uint64_t bytes, uint64_t duration_ns);
const char *rounds_verdict_text(enum rounds_verdict verdict);
