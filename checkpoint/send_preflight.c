/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the way, at both hosts, before anything is frozen: a migration that can't succeed fails here, and a dry run ends here.
 */
#include "checkpoint/send.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/facts.h"
#include "checkpoint/survey.h"

#define FIELD_SEPARATOR '\t'
#define GIB             (1ULL << 30)

/* Of whoever started us: OBJECT<tab>REASON<tab>REMEDY. */
static void add_obstacles(struct sender_state *self)
{
	for (size_t i = 0; self->spec->obstacles != NULL && i < self->spec->obstacles->count; i++) {
		auto_free char *object = text_copy(self->spec->obstacles->items[i]);
		char *reason = strchr(object, FIELD_SEPARATOR), *remedy = NULL;

		if (reason != NULL)
			*reason++ = '\0';
		if (reason != NULL && (remedy = strchr(reason, FIELD_SEPARATOR)) != NULL)
			*remedy++ = '\0';
		problems_add(&self->problems, remedy, object, "%s", reason != NULL ? reason : "it is in the way");
	}
}

static void check_mode(struct sender_state *self, const Hydra__V1__HandoffFacts *facts)
{
	if (mode_has_rounds(self->spec->mode) && !facts->has_soft_dirty)
		problems_add(&self->problems, "choose another mode: post-copy, or cold", "kernel",
			     "kernel of %s has no soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY), which %s needs", facts->host,
			     mode_name(self->spec->mode));
}

/* CRIU puts what goes before the commit into images, which are in memory. */
static void check_room(struct sender_state *self, uint64_t memory)
{
	bool has_images = !mode_is_lazy(self->spec->mode) || mode_has_rounds(self->spec->mode);
	auto_free char *text = NULL;
	struct error ignored;
	const char *available;

	if (!has_images || self->spec->mode == HYDRA__V1__HANDOFF_MODE__HANDOFF_AUTO ||
	    file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL, &ignored) < 0)
		return;
	available = strstr(text, "MemAvailable:");
	if (available != NULL && strtoull(available + 13, NULL, 10) * 1024 < memory)
		problems_add(&self->problems, "choose post-copy", "memory", "%s needs %" PRIu64 " MiB for images, %llu MiB are left here",
			     mode_name(self->spec->mode), memory >> 20, strtoull(available + 13, NULL, 10) >> 10);
}

void send_find_problems(struct sender_state *self, const struct proc_tasks *tasks, const Hydra__V1__HandoffFacts *facts)
{
	self->problems.host = facts->host;
	self->task_count = tasks->count;
	self->notes.host = facts->host;
	add_obstacles(self);
	if (tasks->items[0].virtual_pid == tasks->items[0].pid)
		problems_add(&self->problems, "run it with a pid namespace of its own", "pid namespace", "it is the one of this host");
	survey_collect(tasks, &self->problems, self->spec->is_dry_run && self->spec->strangers_end);
	check_mode(self, facts);
	send_note_shared(self);
	check_room(self, self->progress.pages_total * PAGE_BYTES);
}

int send_agree(struct sender_state *self, Hydra__V1__HandoffOffer *offer, struct error *err)
{
	bool understands = (self->target_capabilities & HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_MODES) != 0;

	if (understands) {
		/* what the target has to say completes what is known already */
		offer->is_dry_run = self->spec->is_dry_run || self->problems.count > 0;
		return 0;
	}
	if (self->problems.count > 0)
		return problems_fail(&self->problems, err);
	if (self->spec->is_dry_run)
		return fail_because(err, EOPNOTSUPP, "the target's Hydra is too old to be asked");
	if (self->mode == HYDRA__V1__HANDOFF_MODE__HANDOFF_AUTO)
		offer->mode = self->mode = HYDRA__V1__HANDOFF_MODE__HANDOFF_POST_COPY;
	if (self->mode != HYDRA__V1__HANDOFF_MODE__HANDOFF_POST_COPY)
		return fail_because(err, EOPNOTSUPP, "the target's Hydra is too old for %s", mode_name(self->mode));
	return 0;
}

int send_heed_answer(struct sender_state *self, const Hydra__V1__HandoffAnswer *answer, struct error *err)
{
	bool is_ours = self->problems.count > 0;

	if ((self->target_capabilities & HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_MODES) != 0) {
		self->mode = answer->mode;
		(void) text_fit(self->mode_reason, sizeof(self->mode_reason), "%.180s", answer->mode_reason);
	}
	send_heed_trees(self, answer);
	for (size_t i = 0; i < answer->n_problems; i++)
		problems_adopt(&self->problems, answer->problems[i]);
	if (!is_ours && !answer->is_accepted)
		return fail_because(err, EREMOTEIO, "the target cannot take it: %.400s", answer->reason);
	if (mode_has_rounds(self->mode) && !mode_has_rounds(self->spec->mode) &&
	    self->spec->mode != HYDRA__V1__HANDOFF_MODE__HANDOFF_AUTO)
		return fail_because(err, EPROTO, "the target chose a mode that was not asked for");
	return problems_fail(&self->problems, err);
}

/* What was measured on two cores without load; over 1 Gbit/s where the network counts. */
struct estimate {
	uint64_t base_ms, task_ms, gib_ms;
};

static const struct estimate estimates[] = {
	[HYDRA__V1__HANDOFF_MODE__HANDOFF_POST_COPY] = {30, 3, 55},
	[HYDRA__V1__HANDOFF_MODE__HANDOFF_PRE_COPY] = {60, 3, 700},
	[HYDRA__V1__HANDOFF_MODE__HANDOFF_HYBRID] = {60, 3, 700},
	[HYDRA__V1__HANDOFF_MODE__HANDOFF_COLD] = {60, 3, 9700},
};

static uint64_t expected_ms(const struct sender_state *self, uint64_t memory)
{
	const struct estimate *estimate;

	if ((size_t) self->mode >= sizeof(estimates) / sizeof(estimates[0]))
		return 0;
	estimate = &estimates[self->mode];
	return estimate->base_ms + estimate->task_ms * self->task_count + estimate->gib_ms * memory / GIB +
	       (self->mode == HYDRA__V1__HANDOFF_MODE__HANDOFF_PRE_COPY ? self->spec->downtime_ms : 0);
}

static void print_problem(const Hydra__V1__HandoffProblem *problem, bool is_first)
{
	auto_free char *host = progress_quote(problem->host), *object = progress_quote(problem->object);
	auto_free char *reason = progress_quote(problem->reason), *remedy = progress_quote(problem->remedy);

	printf("%s{\"host\":%s,\"object\":%s,\"reason\":%s,\"remedy\":%s}", is_first ? "" : ",", host, object, reason, remedy);
}

/* What of the disk is sent besides the writable layer. */
static void print_trees(const struct sender_state *self)
{
	auto_free char *path = progress_quote(self->lower_path != NULL ? self->lower_path : "");
	uint64_t bytes = self->lower.list.bytes;

	if (self->lower.root_fd >= 0)
		printf("\"image\":{\"digest\":\"sha256:%s\",\"bytes\":%" PRIu64 ",\"isSent\":%s,\"bytesToSend\":%" PRIu64 ",\"path\":%s},",
		       self->lower.digest, bytes, self->wants_lower ? "true" : "false", self->wants_lower ? bytes : 0, path);
	printf("\"volumes\":[");
	for (size_t i = 0; i < self->volumes.count; i++) {
		auto_free char *volume = progress_quote(self->spec->volumes->items[i]);

		printf("%s{\"path\":%s,\"bytesToSend\":%" PRIu64 "}", i > 0 ? "," : "", volume, self->volumes.items[i].before.bytes);
	}
	printf("]");
}

static void print_report(const struct sender_state *self)
{
	uint64_t memory = self->progress.pages_total * PAGE_BYTES;
	auto_free char *why = progress_quote(self->mode_reason);

	printf("{\"canMigrate\":%s,\"mode\":\"%s\",\"modeReason\":%s,\"memoryBytes\":%" PRIu64 ",\"layerBytes\":%" PRIu64
	       ",\"tasks\":%zu,\"expectedDowntimeMs\":%" PRIu64 ",\"problems\":[",
	       self->problems.count == 0 ? "true" : "false", mode_name(self->mode), why, memory, self->layer_before.bytes,
	       self->task_count, expected_ms(self, memory));
	for (size_t i = 0; i < self->problems.count; i++)
		print_problem(self->problems.items[i], i == 0);
	printf("],\"problemsLeftOut\":%zu,\"notes\":[", self->problems.left_out);
	for (size_t i = 0; i < self->notes.count; i++)
		print_problem(self->notes.items[i], i == 0);
	printf("],");
	print_trees(self);
	printf("}\n");
}

int send_dry_run(const struct send_spec *spec, struct error *err)
{
	struct sender_state self = {.spec = spec, .mode = spec->mode, .dump = PARKED_DUMP_NONE, .layer_fd = FD_NONE, .packets_fd = FD_NONE, .carried = CARRIED_NONE,
				    .volumes = CARRIED_NONE, .lower = LAYER_FOLDER_NONE,
				    .progress = {.fd = FD_NONE}};
	int r;

	self.session.signal_fd = self.session.link.transport.fd = self.faults.transport.fd = FD_NONE;
	r = send_preflight(&self, err);
	if (r < 0 && self.problems.count == 0)
		problems_add(&self.problems, NULL, spec->connect != NULL ? spec->connect : "target", "%s", err->message);
	print_report(&self);
	send_clean_up(&self);
	*err = ERROR_NONE;
	return 0;
}
