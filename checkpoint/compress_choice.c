/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/compress_choice.h"

/* One of so many batches measures a method again. */
#define MEASURE_EVERY 128U
#define WEIGHT        0.25
/* A method has to be better by so much than none to be worth the processor. */
#define WORTH         1.1

void compress_choice_init(struct compress_choice *self, uint32_t methods)
{
	*self = (struct compress_choice){.samples[COMPRESS_NONE] = {.rate = 1e15, .ratio = 1}};
	for (int method = 0; method < COMPRESS_METHODS; method++)
		self->is_allowed[method] = method == COMPRESS_NONE || (methods & 1U << method) != 0;
}

static double pages_per_second(const struct compress_choice *self, int method)
{
	const struct compress_sample *sample = &self->samples[method];
	double over_link = self->link_rate > 0 ? self->link_rate / sample->ratio : 1e15;

	return sample->rate < over_link ? sample->rate : over_link;
}

static enum compress_method best(const struct compress_choice *self)
{
	int found = COMPRESS_NONE;
	double most = pages_per_second(self, COMPRESS_NONE) * WORTH;

	for (int method = COMPRESS_NONE + 1; method < COMPRESS_METHODS; method++) {
		if (self->is_allowed[method] && self->samples[method].rate > 0 && pages_per_second(self, method) > most) {
			most = pages_per_second(self, method);
			found = method;
		}
	}
	return (enum compress_method) found;
}

enum compress_method compress_choice_next(struct compress_choice *self)
{
	uint32_t number = self->batch++;
	uint32_t turn = number % MEASURE_EVERY;

	/* a link that was never too narrow leaves nothing to gain */
	if (self->link_rate > 0 && turn > COMPRESS_NONE && turn < COMPRESS_METHODS && self->is_allowed[turn])
		return (enum compress_method) turn;
	return best(self);
}

static double blend(double before, double now)
{
	return before <= 0 ? now : before * (1 - WEIGHT) + now * WEIGHT;
}

void compress_choice_measured(struct compress_choice *self, enum compress_method method, size_t size, size_t result, uint64_t ns)
{
	struct compress_sample *sample = &self->samples[method];

	sample->rate = blend(sample->rate, (double) size * 1e9 / (double) (ns > 0 ? ns : 1));
	sample->ratio = blend(sample->ratio, (double) result / (double) size);
}

void compress_choice_link(struct compress_choice *self, uint64_t bytes, uint64_t ns)
{
	if (self->link_rate <= 0)
		self->batch = 0; /* measure the methods at once */
	self->link_rate = blend(self->link_rate, (double) bytes * 1e9 / (double) (ns > 0 ? ns : 1));
}
