/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/rounds.h"

#include "base/clock.h"

/* What is left after a round is what the container wrote while it was sent: about as much as the next one would have. A round that is
 * less than an eighth smaller than the one before costs more than it gains. */
#define LEAST_GAIN 8U

enum rounds_verdict rounds_add(struct rounds *self, uint64_t bytes, uint64_t duration_ns)
{
	uint64_t before = self->bytes;
	bool is_first = self->done == 0;

	self->done++;
	self->bytes = bytes;
	self->rate = duration_ns > 0 ? (uint64_t) ((double) bytes * (double) NS_PER_S / (double) duration_ns) : bytes;
	if (self->rate == 0 || bytes < self->rate / 1000 * self->downtime_ms)
		return ROUNDS_SMALL_ENOUGH;
	if (self->done >= self->limit)
		return ROUNDS_TOO_MANY;
	if (!is_first && bytes > before - before / LEAST_GAIN)
		return ROUNDS_NO_PROGRESS;
	return ROUNDS_GO_ON;
}

const char *rounds_verdict_text(enum rounds_verdict verdict)
{
	static const char *const texts[] = {
		[ROUNDS_GO_ON] = "another round",
		[ROUNDS_SMALL_ENOUGH] = "what is left is small enough",
		[ROUNDS_NO_PROGRESS] = "it writes as fast as it is sent",
		[ROUNDS_TOO_MANY] = "enough rounds",
	};

	return texts[verdict];
}
