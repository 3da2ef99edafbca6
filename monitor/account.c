/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor's part of the ledger: it keeps the book (ledger.h), in memory and in its file, and answers who asks for it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"
#include "state/run_dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE(name) HYDRA__V1__LEDGER_STATE__LEDGER_##name

void account_append(struct monitor *self, const Hydra__V1__LedgerFileEntry *entry)
{
	struct error err;
	bool is_new_problem = !self->ledger_has_problem;

	self->ledger_has_problem = ledger_file_append(&self->ledger_file, &self->ledger, entry, &err) < 0;
	if (self->ledger_has_problem && is_new_problem)
		log_error("ledger not written", "error=\"%s\"", err.message);
}

static void note_at(struct monitor *self, const struct ledger_change *change)
{
	static const char *const names[] = {"unknown", "up", "down", "unreachable", "ended"};
	Hydra__V1__LedgerFileEntry entry = HYDRA__V1__LEDGER_FILE_ENTRY__INIT;
	Hydra__V1__LedgerChange written = HYDRA__V1__LEDGER_CHANGE__INIT;

	if (!ledger_apply(&self->ledger, change))
		return;
	written.name = (char *) (uintptr_t) change->name;
	written.state = change->state;
	written.time_ns = change->time_ns;
	written.pid = change->pid;
	written.why = (char *) (uintptr_t) change->why;
	entry.change = &written;
	account_append(self, &entry);
	log_info("state changed", "subject=%s state=%s pid=%d why=\"%s\"", change->name, names[change->state], (int) change->pid, change->why);
}

void account_note(struct monitor *self, const char *name, ledger_state state, pid_t pid, const char *why)
{
	note_at(self, &(struct ledger_change){.name = name, .state = state, .time_ns = clock_boottime_ns(), .pid = pid, .why = why});
}

void account_name(char ret_name[static LEDGER_NAME_SIZE], const char *namespace, const char *id)
{
	(void) text_fit(ret_name, LEDGER_NAME_SIZE, "%s/%s", namespace, id);
}

void account_note_shim(struct monitor *self, const char *namespace, const char *id, const struct ledger_change *change)
{
	char name[LEDGER_NAME_SIZE];

	account_name(name, namespace, id);
	account_note(self, name, change->state, change->pid, change->why);
}

void account_found(struct monitor *self, const char *namespace, const char *id, pid_t pid)
{
	account_note_shim(self, namespace, id, &(struct ledger_change){.state = STATE(UP), .pid = pid, .why = "found"});
}

void account_end_by_pid(struct monitor *self, pid_t pid, const char *why)
{
	for (struct ledger_subject *subject = self->ledger.subjects; subject != NULL; subject = subject->next) {
		char *slash = strchr(subject->name, '/');
		auto_free char *namespace = slash != NULL ? text_copy(subject->name) : NULL;

		if (slash == NULL || subject->facts.pid != pid || subject->facts.state == STATE(ENDED) || subject->facts.state == STATE(DOWN))
			continue;
		namespace[slash - subject->name] = '\0';
		account_note(self, subject->name, shims_need_successor(self, namespace, slash + 1) ? STATE(DOWN) : STATE(ENDED), 0, why);
	}
}

void account_lost(struct monitor *self, uint64_t time_ns)
{
	Hydra__V1__LedgerFileEntry entry = HYDRA__V1__LEDGER_FILE_ENTRY__INIT;

	if (!ledger_lost(&self->ledger, time_ns))
		return;
	entry.monitor_lost_ns = time_ns;
	account_append(self, &entry);
}

void account_unseen(struct monitor *self, const char *name, ledger_state state, const char *why)
{
	const struct ledger_subject *subject = ledger_find(&self->ledger, name);

	if (subject == NULL || subject->facts.state == STATE(ENDED) || subject->facts.state == STATE(DOWN))
		return;
	note_at(self, &(struct ledger_change){.name = name, .state = STATE(UNKNOWN), .time_ns = self->unseen_since_ns, .why = LEDGER_UNSEEN});
	account_note(self, name, state, 0, why);
}

/* Who of those that the monitor before us watched is there no more. */
static void look_who_ended(struct monitor *self)
{
	for (struct ledger_subject *subject = self->ledger.subjects; subject != NULL; subject = subject->next) {
		char *slash = strchr(subject->name, '/');
		auto_free char *namespace = slash != NULL ? text_copy(subject->name) : NULL;
		struct run_dir dir = RUN_DIR_CLOSED;
		struct error ignored;
		bool is_there;

		if (slash == NULL)
			continue;
		namespace[slash - subject->name] = '\0';
		is_there = run_dir_open(&dir, self->root, namespace, slash + 1, &ignored) == 0 && run_dir_is_locked(&dir, LOCK_SHIM);
		run_dir_close(&dir);
		if (!is_there)
			account_unseen(self, subject->name, shims_need_successor(self, namespace, slash + 1) ? STATE(DOWN) : STATE(ENDED),
				       "it was gone when there was a monitor again");
	}
}

int account_open(struct monitor *self, struct error *err)
{
	struct error problem;

	self->ledger_file.fd = FD_NONE;
	if (!ledger_init(&self->ledger))
		return fail_errno(err, ENOMEM, "keep a ledger");
	if (ledger_file_open(&self->ledger_file, self->root, &self->ledger, &problem) < 0)
		log_error("ledger not written", "error=\"%s\"", problem.message);
	return 0;
}

void account_begin(struct monitor *self)
{
	self->unseen_since_ns = self->ledger.last_ns;
	account_unseen(self, "monitor", STATE(UNKNOWN), "");
	account_note(self, "monitor", STATE(UP), getpid(), "");
	look_who_ended(self);
}

void account_end(struct monitor *self)
{
	account_note(self, "monitor", STATE(DOWN), getpid(), "it was told to end");
	ledger_file_close(&self->ledger_file);
}
