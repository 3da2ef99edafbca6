/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rebalance_plan.h"

#include "base/owned.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* A host as it would be after the moves so far. */
struct outlook {
	const struct host_report *host;
	double memory_percent; /* in use */
	double load_percent;
	bool is_relieved;      /* something goes away: what its tasks wait for now says nothing any more */
};

static double percent_of(double part, double whole)
{
	return whole > 0 ? part * 100 / whole : 0;
}

static double memory_share(const struct outlook *at, const struct host_container *container)
{
	return percent_of((double) container->memory_bytes, (double) at->host->memory_bytes);
}

static double load_share(const struct outlook *at, const struct host_container *container)
{
	return percent_of(container->processors, at->host->processors);
}

/* How much too full it is; 0: it is not. */
static double excess(const struct outlook *self, enum rebalance_reason reason)
{
	bool is_memory = reason == REBALANCE_MEMORY;
	double used = is_memory ? self->memory_percent : self->load_percent;
	double high = is_memory ? REBALANCE_MEMORY_HIGH : REBALANCE_LOAD_HIGH;
	double pressure = is_memory ? self->host->memory_pressure : self->host->cpu_pressure;
	double by_pressure = !self->is_relieved && pressure > REBALANCE_PRESSURE_HIGH ? pressure - REBALANCE_PRESSURE_HIGH : 0;
	double by_use = used > high ? used - high : 0;

	return by_use > by_pressure ? by_use : by_pressure;
}

static bool is_planned(const struct rebalance_move *moves, size_t count, const struct host_container *container)
{
	for (size_t i = 0; i < count; i++) {
		if (moves[i].container == container)
			return true;
	}
	return false;
}

static bool can_take(const struct outlook *to, const struct host_container *container)
{
	return to->host->problem[0] == '\0' && !host_report_has(to->host, container->namespace, container->id) &&
	       to->memory_percent + memory_share(to, container) <= REBALANCE_MEMORY_TARGET &&
	       to->load_percent + load_share(to, container) <= REBALANCE_LOAD_TARGET &&
	       (to->host->memory_pressure < REBALANCE_PRESSURE_HIGH && to->host->cpu_pressure < REBALANCE_PRESSURE_HIGH);
}

/* The one that has most left of what it is about. */
static struct outlook *find_target(struct outlook *outlooks, size_t count, const struct outlook *from, const struct host_container *container,
				   enum rebalance_reason reason)
{
	struct outlook *best = NULL;

	for (size_t i = 0; i < count; i++) {
		struct outlook *each = &outlooks[i];
		double used = reason == REBALANCE_MEMORY ? each->memory_percent : each->load_percent;

		if (each != from && can_take(each, container) &&
		    (best == NULL || used < (reason == REBALANCE_MEMORY ? best->memory_percent : best->load_percent)))
			best = each;
	}
	return best;
}

/* The one that helps most, and among equals the one that is moved fastest. */
static bool helps_more(const struct host_container *one, const struct host_container *other, enum rebalance_reason reason)
{
	if (other == NULL)
		return true;
	if (reason == REBALANCE_MEMORY)
		return one->memory_bytes > other->memory_bytes;
	return one->processors > other->processors || (one->processors >= other->processors && one->memory_bytes < other->memory_bytes);
}

static void explain(struct rebalance_move *move, const struct outlook *from, const struct outlook *to)
{
	const struct host_report *host = from->host;
	auto_text why = TEXT_EMPTY;
	bool is_memory = move->reason == REBALANCE_MEMORY;
	double pressure = is_memory ? host->memory_pressure : host->cpu_pressure;

	if (is_memory)
		text_addf(&why, "%.0f %% of %s's memory is in use", from->memory_percent, host->name);
	else
		text_addf(&why, "%s's load is %.0f %% of its %u processors", host->name, from->load_percent, host->processors);
	if (pressure >= 0)
		text_addf(&why, ", and tasks there waited for %s in %.1f %% of the last 10 seconds", is_memory ? "memory" : "a processor", pressure);
	text_addf(&why, "; afterwards %s would have %.0f %% and %s %.0f %%", host->name,
		  is_memory ? from->memory_percent - memory_share(from, move->container) : from->load_percent - load_share(from, move->container),
		  to->host->name,
		  is_memory ? to->memory_percent + memory_share(to, move->container) : to->load_percent + load_share(to, move->container));
	(void) text_fit(move->words, sizeof(move->words), "%.500s", why.data != NULL ? why.data : "");
}

static void apply(struct outlook *from, struct outlook *to, const struct host_container *container)
{
	from->memory_percent -= memory_share(from, container);
	from->load_percent -= load_share(from, container);
	from->is_relieved = true;
	to->memory_percent += memory_share(to, container);
	to->load_percent += load_share(to, container);
}

static bool propose(struct outlook *outlooks, size_t count, struct outlook *from, enum rebalance_reason reason, struct rebalance_move *moves,
		    size_t move_count)
{
	struct rebalance_move *move = &moves[move_count];
	struct outlook *to = NULL;

	*move = (struct rebalance_move){.from = from->host, .reason = reason};
	for (size_t i = 0; i < from->host->container_count; i++) {
		const struct host_container *container = &from->host->containers[i];
		struct outlook *target;

		if (container->immovable[0] != '\0' || is_planned(moves, move_count, container) || !helps_more(container, move->container, reason))
			continue;
		target = find_target(outlooks, count, from, container, reason);
		if (target == NULL)
			continue;
		move->container = container;
		to = target;
	}
	if (to == NULL)
		return false;
	move->to = to->host;
	explain(move, from, to);
	apply(from, to, move->container);
	return true;
}

static bool propose_one(struct outlook *outlooks, size_t count, struct rebalance_move *moves, size_t move_count, bool *is_hopeless)
{
	struct outlook *worst = NULL;
	enum rebalance_reason reason = REBALANCE_MEMORY;
	double most = 0;

	for (size_t i = 0; i < count * 2; i++) {
		double much = is_hopeless[i] ? 0 : excess(&outlooks[i / 2], (enum rebalance_reason) (i % 2));

		if (much > most) {
			worst = &outlooks[i / 2];
			reason = (enum rebalance_reason) (i % 2);
			most = much;
		}
	}
	if (worst == NULL)
		return false;
	if (propose(outlooks, count, worst, reason, moves, move_count))
		return true;
	is_hopeless[(size_t) (worst - outlooks) * 2 + (size_t) reason] = true;
	return propose_one(outlooks, count, moves, move_count, is_hopeless);
}

size_t rebalance_plan(const struct host_report *hosts, size_t count, struct rebalance_move ret_moves[static REBALANCE_MOVES_MAX])
{
	auto_free struct outlook *outlooks = calloc(count + 1, sizeof(*outlooks));
	auto_free bool *is_hopeless = calloc(count * 2 + 1, sizeof(*is_hopeless));
	size_t made = 0;

	for (size_t i = 0; i < count && outlooks != NULL; i++)
		outlooks[i] = (struct outlook){.host = &hosts[i],
					       .memory_percent = percent_of((double) (hosts[i].memory_bytes - hosts[i].available_bytes),
									    (double) hosts[i].memory_bytes),
					       .load_percent = hosts[i].load_percent};
	while (outlooks != NULL && is_hopeless != NULL && made < REBALANCE_MOVES_MAX && propose_one(outlooks, count, ret_moves, made, is_hopeless))
		made++;
	return made;
}
