/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "monitor/monitor.h"

void ledger_note(struct monitor *monitor, const char *subject, bool is_up, pid_t pid, const char *detail)
{
	struct ledger_entry *entry = &monitor->ledger[monitor->ledger_count++ % LEDGER_ENTRIES];

	*entry = (struct ledger_entry){.time_ns = clock_realtime_ns(), .is_up = is_up, .pid = pid};
	(void) text_fit(entry->subject, sizeof(entry->subject), "%s", subject);
	(void) text_fit(entry->detail, sizeof(entry->detail), "%s", detail);
	log_info(is_up ? "process started" : "process ended", "subject=%s pid=%d detail=\"%s\"", subject, (int) pid, detail);
}
