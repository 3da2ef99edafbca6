/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"

#define INTERVAL_NS (200 * NS_PER_MS)

char *progress_quote(const char *value)
{
	auto_text out = TEXT_EMPTY;

	text_add(&out, "\"");
	for (; *value != '\0'; value++) {
		if ((unsigned char) *value < 0x20)
			text_addf(&out, "\\u%04x", (unsigned char) *value);
		else if (*value == '"' || *value == '\\')
			text_addf(&out, "\\%c", *value);
		else
			text_add_bytes(&out, value, 1);
	}
	text_add(&out, "\"");
	return text_take(&out);
}

/* From how much of what there is to do is done; -1: unknown. */
static int64_t eta_ms(const struct progress *self, uint64_t now)
{
	uint64_t done = self->pages_total > 0 ? self->pages_done : self->bytes_done;
	uint64_t total = self->pages_total > 0 ? self->pages_total : self->bytes_total;

	if (done == 0 || total <= done)
		return total > 0 && total <= done ? 0 : -1;
	return (int64_t) ((double) (now - self->phase_began_ns) / (double) done * (double) (total - done) / NS_PER_MS);
}

static void tell(struct progress *self, const char *message, const char *extra)
{
	uint64_t now = clock_monotonic_ns();
	auto_free char *quoted = progress_quote(message != NULL ? message : "");
	auto_free char *line = NULL;

	self->told_ns = now;
	if (self->fd < 0)
		return;
	line = text_format("{\"phase\":\"%s\",\"bytes_done\":%" PRIu64 ",\"bytes_total\":%" PRIu64 ",\"bytes_sent\":%" PRIu64 ",\"pages_done\":%" PRIu64
			   ",\"pages_total\":%" PRIu64 ",\"faults\":%" PRIu64 ",\"eta_ms\":%" PRId64
			   ",\"time_ns\":%" PRIu64 ",\"message\":%s%s}\n", self->phase, self->bytes_done, self->bytes_total, self->bytes_sent,
			   self->pages_done, self->pages_total, self->faults, eta_ms(self, now), clock_realtime_ns(), quoted,
			   extra != NULL ? extra : "");
	if (send(self->fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		(void) !write(self->fd, line, strlen(line));
}

void progress_phase(struct progress *self, enum migration_phase phase, const char *message, const char *extra)
{
	self->phase = migration_phase(phase)->name;
	self->phase_began_ns = clock_monotonic_ns();
	tell(self, message, extra);
	migration_phase_entered(phase);
}

void progress_tell(struct progress *self, const char *extra)
{
	tell(self, NULL, extra);
}

void progress_update(struct progress *self)
{
	if (clock_monotonic_ns() - self->told_ns >= INTERVAL_NS)
		tell(self, NULL, NULL);
}
