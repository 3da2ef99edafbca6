/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-pager ask: what another host is like, over the same port and with the same certificates as a migration; or this one.
 * What is printed is one JSON object, or text.
 */
#include "checkpoint/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/certificate.h"
#include "checkpoint/facts.h"
#include "checkpoint/host_state.h"
#include "checkpoint/send.h"

struct ask_options {
	const char *connect, *name, *ca, *certificate, *key, *run_root, *format, *criu;
	int patience_s;
};

#define AT(field) offsetof(struct ask_options, field)

static const struct option_entry ask_entries[] = {
	{0, "connect", "HOST:PORT", OPTION_STRING, AT(connect), "the hydrad to ask; without it this host is described"},
	{0, "name", "NAME", OPTION_STRING, AT(name), "what the host is called here"},
	{0, "ca", "FILE", OPTION_STRING, AT(ca), "CA that both hosts' certificates are of (PEM)"},
	{0, "cert", "FILE", OPTION_STRING, AT(certificate), "this host's certificate"},
	{0, "key", "FILE", OPTION_STRING, AT(key), "its key"},
	{0, "run-root", "DIR", OPTION_STRING, AT(run_root), "of this host's containers, without --connect"},
	{0, "criu", "PATH", OPTION_STRING, AT(criu), "the CRIU of this host, without --connect"},
	{0, "format", "FORMAT", OPTION_STRING, AT(format), "text (default) or json"},
	{0, "patience", "SECONDS", OPTION_INT, AT(patience_s), "how long the other host may be silent (default 10)"},
	{0},
};

#undef AT

/* What is known of a host. */
struct description {
	const char *name, *address;
	struct certificate_facts ours, theirs;
	uint32_t protocol;
	uint64_t capabilities;
	char program_version[64];
	Hydra__V1__HandoffAnswer *answer;
	uint64_t asked_ns, answered_ns; /* by our clock */
};

static void add_string(struct text *text, const char *key, const char *value)
{
	auto_free char *quoted = progress_quote(value);

	text_addf(text, "\"%s\":%s,", key, quoted);
}

static void add_containers(struct text *text, const Hydra__V1__HandoffHostState *state)
{
	text_add(text, "\"containers\":[");
	for (size_t i = 0; i < state->n_containers; i++) {
		const Hydra__V1__HandoffHostContainer *item = state->containers[i];

		text_add(text, i > 0 ? ",{" : "{");
		add_string(text, "namespace", item->namespace_);
		add_string(text, "id", item->id);
		add_string(text, "immovable", item->immovable);
		text_addf(text, "\"memoryBytes\":%" PRIu64 ",\"cpuNs\":%" PRIu64 ",\"ageNs\":%" PRIu64 "}", item->memory_bytes, item->cpu_ns,
			  item->age_ns);
	}
	text_add(text, "]");
}

static void add_state(struct text *text, const Hydra__V1__HandoffHostState *state)
{
	add_string(text, "criuProblem", state->criu_problem);
	text_addf(text,
		  "\"timeNs\":%" PRIu64 ",\"memoryBytes\":%" PRIu64 ",\"memoryAvailableBytes\":%" PRIu64 ",\"processors\":%u,\"loadPercent\":%u,",
		  state->time_ns, state->memory_bytes, state->memory_available_bytes, state->processors, state->load_percent);
	if (state->has_pressure)
		text_addf(text, "\"cpuPressurePercent\":%.2f,\"memoryPressurePercent\":%.2f,\"ioPressurePercent\":%.2f,",
			  state->cpu_pressure / 100.0, state->memory_pressure / 100.0, state->io_pressure / 100.0);
	else
		text_add(text, "\"cpuPressurePercent\":null,\"memoryPressurePercent\":null,\"ioPressurePercent\":null,");
	add_containers(text, state);
}

static void add_capabilities(struct text *text, uint64_t bits)
{
	static const char *const names[] = {"checksums", "two-links", "lz4", "zstd", "verdicts", NULL, "modes", "tmpfs", "layers", "volumes"};
	const char *separator = "";

	text_add(text, "\"capabilities\":[");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if ((bits >> i & 1) == 0 || names[i] == NULL)
			continue;
		text_addf(text, "%s\"%s\"", separator, names[i]);
		separator = ",";
	}
	text_add(text, "],");
}

static int64_t clock_difference_us(const struct description *self)
{
	int64_t middle_ns = (int64_t) (self->asked_ns / 2 + self->answered_ns / 2);

	return ((int64_t) self->answer->state->time_ns - middle_ns) / 1000;
}

static void print_json(const struct description *self, const struct error *problem)
{
	auto_text text = TEXT_EMPTY;

	text_add(&text, "{");
	add_string(&text, "name", self->name);
	add_string(&text, "address", self->address);
	add_string(&text, "problem", problem->message);
	add_string(&text, "certificate", self->theirs.name);
	add_string(&text, "ownCertificate", self->ours.name);
	text_addf(&text,
		  "\"certificateFrom\":%" PRIi64 ",\"certificateUntil\":%" PRIi64 ",\"ownCertificateFrom\":%" PRIi64
		  ",\"ownCertificateUntil\":%" PRIi64,
		  self->theirs.from_s, self->theirs.until_s, self->ours.from_s, self->ours.until_s);
	if (self->answer != NULL) {
		const Hydra__V1__HandoffFacts *facts = self->answer->facts;

		text_addf(&text, ",\"protocol\":%u,\"clockDifferenceUs\":%" PRIi64 ",\"clockUncertaintyUs\":%" PRIu64 ",", self->protocol,
			  clock_difference_us(self), (uint64_t) ((self->answered_ns - self->asked_ns) / 2 / NS_PER_US));
		add_string(&text, "version", self->program_version);
		add_capabilities(&text, self->capabilities);
		add_string(&text, "host", facts->host);
		add_string(&text, "kernel", facts->kernel);
		add_string(&text, "machine", facts->machine);
		add_string(&text, "system", facts->os_release);
		add_string(&text, "criuVersion", facts->criu_version);
		text_addf(&text, "\"lazyPages\":%s,", facts->has_lazy_pages ? "true" : "false");
		add_state(&text, self->answer->state);
	}
	text_add(&text, "}");
	(void) puts(text.data);
}

static void print_certificate(const char *label, const struct certificate_facts *facts)
{
	char from[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE];

	if (facts->name[0] == '\0')
		return;
	clock_format((uint64_t) facts->from_s * NS_PER_S, from);
	clock_format((uint64_t) facts->until_s * NS_PER_S, until);
	(void) printf("  %-12s %s, valid from %.19sZ to %.19sZ\n", label, facts->name, from, until);
}

static void print_text(const struct description *self, const struct error *problem)
{
	const Hydra__V1__HandoffHostState *state = self->answer != NULL ? self->answer->state : NULL;
	const Hydra__V1__HandoffFacts *facts = self->answer != NULL ? self->answer->facts : NULL;
	auto_text capabilities = TEXT_EMPTY;

	(void) printf("%s%s%s%s: %s\n", self->name, self->name[0] != '\0' ? " (" : "", self->address, self->name[0] != '\0' ? ")" : "",
		      problem->code < 0 ? problem->message : "ready");
	print_certificate("certificate", &self->theirs);
	print_certificate("our own", &self->ours);
	if (state == NULL)
		return;
	add_capabilities(&capabilities, self->capabilities);
	if (self->theirs.name[0] != '\0')
		(void) printf("  %-12s TLS 1.3, certificates accepted in both directions\n", "connection");
	(void) printf("  %-12s %s, protocol %u, %.*s\n", "hydra", self->program_version, self->protocol, (int) capabilities.size - 1, capabilities.data);
	(void) printf("  %-12s %s (%s), %s\n", "kernel", facts->kernel, facts->machine, facts->os_release);
	(void) printf("  %-12s %s\n", "CRIU", state->criu_problem[0] != '\0' ? state->criu_problem : facts->criu_version);
	(void) printf("  %-12s %+.1f ms (give or take %.1f ms)\n", "clock", (double) clock_difference_us(self) / 1000,
		      (double) (self->answered_ns - self->asked_ns) / 2 / NS_PER_MS);
	(void) printf("  %-12s %" PRIu64 " MiB of %" PRIu64 " MiB free\n", "memory", state->memory_available_bytes >> 20, state->memory_bytes >> 20);
	(void) printf("  %-12s %u processors, load %u%%, %zu containers\n", "load", state->processors, state->load_percent, state->n_containers);
}

static int take_answer(struct description *self, const struct frame *frame, struct error *err)
{
	self->answer = hydra__v1__handoff_answer__unpack(NULL, frame->size, frame->data);
	if (self->answer != NULL && self->answer->facts != NULL && self->answer->state != NULL)
		return 0;
	hydra__v1__handoff_answer__free_unpacked(self->answer, NULL);
	self->answer = NULL;
	return fail_because(err, EPROTO, "the other host's answer is not understood");
}

static int ask(const struct ask_options *options, struct description *self, struct error *err)
{
	auto_free char *id = text_format("ask-%llu", (unsigned long long) clock_realtime_ns());
	struct send_spec spec = {.connect = options->connect, .connection_fd = FD_NONE, .migration_id = id,
				 .files = {options->ca, options->certificate, options->key}, .patience_ms = options->patience_s * 1000};
	struct sender_state sender = {.spec = &spec, .faults.transport.fd = FD_NONE};
	struct frame frame;
	int r;

	sender.session.signal_fd = sender.session.link.transport.fd = FD_NONE;
	r = send_connect(&sender, HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_DESCRIBE, err);
	transport_certificates(&sender.session.link.transport, &self->ours, &self->theirs);
	if (r == -EREMOTEIO && strstr(err->message, "no migration") != NULL)
		r = fail_because(err, EPROTO, "its hydrad is of a version that does not describe itself");
	self->asked_ns = clock_realtime_ns();
	self->protocol = SESSION_VERSION;
	self->capabilities = sender.target_capabilities;
	if (r == 0)
		r = session_expect(&sender.session, FRAME_ANSWER, &frame, err);
	self->answered_ns = clock_realtime_ns();
	if (r == 0)
		r = take_answer(self, &frame, err);
	session_close(&sender.session);
	return r;
}

static int describe_ourselves(const struct ask_options *options, struct description *self)
{
	struct error problem = ERROR_NONE;
	struct criu criu = {0};

	self->answer = malloc(sizeof(*self->answer));
	if (self->answer == NULL)
		return -ENOMEM;
	hydra__v1__handoff_answer__init(self->answer);
	(void) criu_find(&criu, options->criu, &problem);
	self->answer->facts = facts_collect(problem.code == 0 ? &criu : NULL);
	self->asked_ns = clock_realtime_ns();
	self->answer->state = host_state_collect(options->run_root);
	self->answer->state->criu_problem = text_copy(problem.message);
	self->answered_ns = self->answer->state->time_ns;
	self->protocol = SESSION_VERSION;
	self->capabilities = SESSION_CAPABILITIES;
	criu_deinit(&criu);
	return 0;
}

static int ask_command(void *context, struct error *err)
{
	const struct ask_options *options = context;
	struct description description = {.name = options->name, .address = options->connect != NULL ? options->connect : ""};
	struct error problem = ERROR_NONE;
	int r;

	(void) text_fit(description.program_version, sizeof(description.program_version), "%s", HYDRA_VERSION);
	r = options->connect != NULL ? ask(options, &description, &problem) : describe_ourselves(options, &description);
	if (strcmp(options->format, "json") == 0)
		print_json(&description, &problem);
	else
		print_text(&description, &problem);
	hydra__v1__handoff_answer__free_unpacked(description.answer, NULL);
	*err = ERROR_NONE;
	return r < 0;
}

const struct command command_ask = {
	.name = "ask",
	.purpose = "say what another host (or this one) is like; exit status 1: no containers can be moved there, the reason is in the output",
	.entries = ask_entries,
	.defaults = &(const struct ask_options){.name = "", .format = "text", .patience_s = 10},
	.options_size = sizeof(struct ask_options),
	.run = ask_command,
};
