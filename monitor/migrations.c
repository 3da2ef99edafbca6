/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations for the ledger, from the files that hydra-setup leaves: whoever was dead when one ended, it is counted, and once.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"
#include "state/migration_log.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

static void note(struct monitor *self, const Hydra__V1__MigrationStatus *status)
{
	Hydra__V1__LedgerFileEntry entry = HYDRA__V1__LEDGER_FILE_ENTRY__INIT;
	Hydra__V1__LedgerMigration facts = HYDRA__V1__LEDGER_MIGRATION__INIT;
	auto_free char *name = text_format("%s/%s", status->namespace_, status->container_id);

	facts.id = status->id;
	facts.name = name;
	facts.peer = status->peer;
	facts.is_arrival = status->is_arrival;
	facts.has_failed = status->has_failed;
	facts.ended_ns = status->ended_ns;
	facts.downtime_us = status->downtime_us;
	facts.lazy_us = status->lazy_us;
	facts.stalls = status->stalls;
	facts.stall_us = status->stall_us;
	facts.stall_max_us = status->stall_max_us;
	facts.bytes = status->bytes_sent;
	facts.faults = status->faults;
	if (!migration_book_add(&self->ledger.migrations, &facts))
		return;
	entry.migration = &facts;
	account_append(self, &entry);
}

/* The counters are of this run of the machine, as the ledger is. */
static bool is_of_this_run(const Hydra__V1__MigrationStatus *status, const char *boot_id)
{
	return strncmp(status->boot_id, boot_id, strcspn(boot_id, "\n")) == 0 && status->boot_id[0] != '\0';
}

static void look(struct monitor *self)
{
	auto_free char *boot_id = NULL;
	struct migration_list list;
	struct error err;

	if (file_read(AT_FDCWD, BOOT_ID_FILE, 64, &boot_id, NULL, &err) < 0)
		return;
	if (migration_log_list(self->root, &list, &err) < 0)
		log_warning("migrations not counted", "error=\"%s\"", err.message);
	self->migrations_running = 0;
	for (size_t i = 0; i < list.count; i++) {
		self->migrations_running += !list.items[i]->is_done;
		if (list.items[i]->is_done && is_of_this_run(list.items[i], boot_id))
			note(self, list.items[i]);
	}
	migration_list_deinit(&list);
}

void account_migrations(struct monitor *self)
{
	auto_free char *folder = migration_log_folder();
	struct stat status;

	if (stat(folder, &status) < 0)
		return;
	if (self->migrations_running == 0 && status.st_mtim.tv_sec == self->migrations_time.tv_sec &&
	    status.st_mtim.tv_nsec == self->migrations_time.tv_nsec)
		return;
	self->migrations_time = status.st_mtim;
	look(self);
}
