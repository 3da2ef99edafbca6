/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/ledger_file.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "state/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define VERSION      1
#define SIZE_LEAST   (256U << 10)
#define SIZE_MOST    (16U << 20)
#define ENTRY_MAX    4096U
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_SIZE 64

typedef Hydra__V1__LedgerFileEntry file_entry;

static void read_boot_id(char ret_boot_id[static BOOT_ID_SIZE])
{
	auto_free char *text = NULL;
	struct error ignored;

	ret_boot_id[0] = '\0';
	if (file_read(AT_FDCWD, BOOT_ID_FILE, BOOT_ID_SIZE - 1, &text, NULL, &ignored) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	(void) text_fit(ret_boot_id, BOOT_ID_SIZE, "%s", text);
}

static int check_header(const Hydra__V1__LedgerHeader *header, const char *boot_id, struct error *err)
{
	if (header == NULL)
		return fail_because(err, EPROTO, "the ledger has no header");
	if (header->version != VERSION)
		return fail_because(err, EPROTO, "the ledger has version %u, this program knows up to %d", header->version, VERSION);
	if (strcmp(header->boot_id, boot_id) != 0)
		return fail_because(err, ESTALE, "the ledger is of another run of the machine");
	return 0;
}

static void take_sums(struct ledger *ledger, const Hydra__V1__LedgerSubject *sums)
{
	if (sums == NULL)
		return;
	ledger->shims.restarts = sums->restarts;
	ledger->shims.repairs = sums->repairs;
	ledger->shims.repair_ns = sums->repair_ns;
}

static void take_migration_sums(struct ledger *ledger, const Hydra__V1__LedgerHeader *header)
{
	for (size_t i = 0; i < header->n_migrations; i++)
		migration_book_restore_sums(&ledger->migrations, header->migrations[i]);
}

static void take_entry(struct ledger *ledger, const file_entry *entry)
{
	const Hydra__V1__LedgerChange *change = entry->change;

	if (entry->header != NULL)
		take_sums(ledger, entry->header->shims);
	if (entry->header != NULL)
		take_migration_sums(ledger, entry->header);
	if (entry->migration != NULL)
		(void) migration_book_add(&ledger->migrations, entry->migration);
	if (entry->counted_migration != NULL)
		migration_book_restore(&ledger->migrations, entry->counted_migration);
	if (entry->subject != NULL)
		(void) ledger_restore_subject(ledger, entry->subject);
	if (entry->interval != NULL)
		ledger_restore_interval(ledger, entry->interval);
	if (change != NULL)
		(void) ledger_apply(ledger, &(struct ledger_change){.name = change->name,
								    .state = change->state,
								    .time_ns = change->time_ns,
								    .pid = change->pid,
								    .why = change->why});
	if (entry->monitor_lost_ns != 0)
		(void) ledger_lost(ledger, entry->monitor_lost_ns);
}

ssize_t ledger_file_parse(struct ledger *ledger, const char *boot_id, const uint8_t *bytes, size_t size, struct error *err)
{
	const uint8_t *data;
	size_t at = 0, entry_size;

	while (entry_read(bytes + at, size - at, ENTRY_MAX, &data, &entry_size)) {
		auto_message file_entry *entry =
			(file_entry *) (void *) message_decode(&hydra__v1__ledger_file_entry__descriptor, data, entry_size);
		int r = 0;

		if (entry == NULL)
			break;
		if (at == 0)
			r = check_header(entry->header, boot_id, err);
		if (r < 0)
			return r;
		take_entry(ledger, entry);
		at += ENTRY_HEADER_SIZE + entry_size;
	}
	return (ssize_t) at;
}

static size_t pack(const file_entry *entry, uint8_t bytes[static ENTRY_HEADER_SIZE + ENTRY_MAX])
{
	size_t size = protobuf_c_message_get_packed_size(&entry->base);

	if (size > ENTRY_MAX)
		return 0;
	(void) protobuf_c_message_pack(&entry->base, bytes + ENTRY_HEADER_SIZE);
	entry_seal(bytes, size);
	return ENTRY_HEADER_SIZE + size;
}

static void add_entry(struct text *text, const file_entry *entry)
{
	uint8_t bytes[ENTRY_HEADER_SIZE + ENTRY_MAX];

	text_add_bytes(text, bytes, pack(entry, bytes));
}

static void add_header(struct text *text, const struct ledger *ledger)
{
	file_entry entry = HYDRA__V1__LEDGER_FILE_ENTRY__INIT;
	Hydra__V1__LedgerHeader header = HYDRA__V1__LEDGER_HEADER__INIT;
	Hydra__V1__LedgerSubject sums = ledger->shims;
	Hydra__V1__LedgerMigrationSums *migration_pointers[MIGRATION_DIRECTIONS];
	struct migration_sums_view migrations[MIGRATION_DIRECTIONS];
	char boot_id[BOOT_ID_SIZE];

	read_boot_id(boot_id);
	header.version = VERSION;
	header.boot_id = boot_id;
	header.shims = &sums;
	for (size_t i = 0; i < MIGRATION_DIRECTIONS; i++) {
		migration_sums_view(&ledger->migrations.sums[i], i == 1, &migrations[i]);
		migration_pointers[i] = &migrations[i].message;
	}
	header.migrations = migration_pointers;
	header.n_migrations = MIGRATION_DIRECTIONS;
	entry.header = &header;
	add_entry(text, &entry);
}

static void add_migrations(struct text *text, const struct ledger *ledger)
{
	const struct migration_book *book = &ledger->migrations;

	for (uint64_t number = migration_book_first(book); number < book->count; number++) {
		file_entry entry = HYDRA__V1__LEDGER_FILE_ENTRY__INIT;

		entry.counted_migration = (Hydra__V1__LedgerMigration *) (uintptr_t) &migration_book_at(book, number)->facts;
		add_entry(text, &entry);
	}
}

static void add_everything(struct text *text, const struct ledger *ledger)
{
	add_header(text, ledger);
	for (struct ledger_subject *subject = ledger->subjects; subject != NULL; subject = subject->next) {
		file_entry entry = HYDRA__V1__LEDGER_FILE_ENTRY__INIT;

		entry.subject = &subject->facts;
		add_entry(text, &entry);
	}
	for (uint64_t number = ledger_first_interval(ledger); number < ledger->interval_count; number++) {
		file_entry entry = HYDRA__V1__LEDGER_FILE_ENTRY__INIT;

		entry.interval = &ledger_interval_at(ledger, number)->facts;
		add_entry(text, &entry);
	}
	add_migrations(text, ledger);
}

static int begin_anew(struct ledger_file *self, const struct ledger *ledger, struct error *err)
{
	auto_text text = TEXT_EMPTY;
	int r;

	add_everything(&text, ledger);
	owned_fd_release(&self->fd);
	self->fd = FD_NONE;
	r = text.has_failed ? fail_errno(err, ENOMEM, "write the ledger")
			    : file_replace_fast(AT_FDCWD, self->path, text.data, text.size, 0600, err);
	if (r < 0)
		return r;
	self->fd = open(self->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (self->fd < 0)
		return fail_errno(err, errno, "open '%s'", self->path);
	self->size = text.size;
	self->size_max = text.size * 2 > SIZE_LEAST ? text.size * 2 : SIZE_LEAST;
	return 0;
}

int ledger_file_open(struct ledger_file *ret_self, const char *root, struct ledger *ledger, struct error *err)
{
	auto_free char *data = NULL;
	char boot_id[BOOT_ID_SIZE];
	size_t size = 0;
	struct error ignored;

	*ret_self = (struct ledger_file){.path = text_format("%s/monitor.ledger", root), .fd = FD_NONE};
	read_boot_id(boot_id);
	/* one that can't be read is no reason not to watch over anybody */
	if (file_read(AT_FDCWD, ret_self->path, SIZE_MOST, &data, &size, &ignored) == 0)
		(void) ledger_file_parse(ledger, boot_id, (uint8_t *) data, size, &ignored);
	return begin_anew(ret_self, ledger, err);
}

void ledger_file_close(struct ledger_file *self)
{
	owned_fd_release(&self->fd);
	free(self->path);
	*self = (struct ledger_file){.fd = FD_NONE};
}

int ledger_file_append(struct ledger_file *self, const struct ledger *ledger, const file_entry *entry, struct error *err)
{
	uint8_t bytes[ENTRY_HEADER_SIZE + ENTRY_MAX];
	size_t size = pack(entry, bytes);
	int r;

	if (self->fd < 0 || self->size + size > self->size_max)
		return begin_anew(self, ledger, err); /* it has what entry says */
	r = fd_write_full(self->fd, bytes, size);
	if (r < 0) {
		/* a part may be there: without this the next one would stand behind rubbish */
		(void) !ftruncate(self->fd, (off_t) self->size);
		return fail_errno(err, -r, "write the ledger");
	}
	self->size += size;
	return 0;
}
