/* SPDX-License-Identifier: Apache-2.0 */
#include "state/migration_log.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "state/migration_file.h"
#include "state/run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION      1U
#define SIZE_LIMIT   65536U
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

typedef Hydra__V1__MigrationStatus migration_status;

char *migration_log_folder(void)
{
	struct error ignored;
	char *path = text_format("%s/.migrations", data_root());

	(void) dir_make_all(path, 0700, &ignored);
	return path;
}

static char *boot_id(void)
{
	struct error ignored;
	char *text = NULL;

	if (file_read(AT_FDCWD, BOOT_ID_FILE, 64, &text, NULL, &ignored) < 0)
		return text_copy("");
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static int write_status(migration_status *status)
{
	auto_free char *folder = migration_log_folder();
	auto_free char *path = text_format("%s/%s", folder, status->id);
	auto_free uint8_t *data = NULL;
	struct error ignored;
	size_t size;
	int r;

	status->version = VERSION;
	r = message_encode(&status->base, &data, &size, &ignored);
	return r < 0 ? r : file_replace(AT_FDCWD, path, data, size, 0600, &ignored);
}

/* NULL: it is not there, of another version, or no such file. */
static migration_status *read_status(int folder_fd, const char *name)
{
	auto_free char *data = NULL;
	auto_message migration_status *status = NULL;
	struct error ignored;
	size_t size;

	if (file_read(folder_fd, name, SIZE_LIMIT, &data, &size, &ignored) < 0)
		return NULL;
	status = (void *) message_decode(&hydra__v1__migration_status__descriptor, (uint8_t *) data, size);
	return status != NULL && status->version == VERSION && strcmp(status->id, name) == 0 ? take_ptr(&status) : NULL;
}

/* Those under way stay, whatever their number. */
static bool may_go(int folder_fd, const char *name)
{
	auto_message migration_status *status = read_status(folder_fd, name);

	return status == NULL || status->is_done;
}

static void forget_oldest(void)
{
	auto_free char *folder = migration_log_folder();
	auto_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		dir_forget_oldest(fd, "", MIGRATION_LOG_KEPT, may_go);
}

static char *known(const char *text)
{
	return (char *) (uintptr_t) (text != NULL ? text : "");
}

void migration_log_begin(const struct migration_start *start, int progress_fd)
{
	migration_status status = HYDRA__V1__MIGRATION_STATUS__INIT;
	auto_free char *boot = boot_id();
	auto_free char *peer = progress_safe(known(start->peer));

	status.id = known(start->id);
	status.namespace_ = known(start->namespace);
	status.container_id = known(start->container);
	status.peer = peer;
	status.mode = known(start->mode);
	status.is_arrival = start->is_arrival;
	status.phase = known("starting");
	status.started_ns = status.time_ns = clock_realtime_ns();
	status.boot_id = boot;
	(void) dprintf(progress_fd,
		       "{\"phase\":\"starting\",\"container\":\"%s\",\"container_namespace\":\"%s\",\"peer\":\"%s\",\"mode\":\"%s\","
		       "\"is_arrival\":%s,\"time_ns\":%llu}\n",
		       status.container_id, status.namespace_, status.peer, status.mode, start->is_arrival ? "true" : "false",
		       (unsigned long long) status.time_ns);
	(void) write_status(&status);
	forget_oldest();
}

/* What the progress file does not say. */
static void complete(migration_status *status, const migration_status *begun)
{
	status->started_ns = begun->started_ns;
	(void) message_set_string(&status->boot_id, begun->boot_id);
	if (status->lazy_us == 0 && status->is_done && !status->has_failed && status->running_ns > 0 && status->ended_ns > status->running_ns)
		status->lazy_us = (status->ended_ns - status->running_ns) / NS_PER_US;
}

static void conclude_lost(migration_status *status)
{
	status->is_done = status->has_failed = true;
	status->ended_ns = status->time_ns;
	(void) message_set_string(&status->phase, "failed");
	(void) message_set_string(&status->message, "it was under way when the machine went down");
}

/* As it is by now; NULL: it is not known. */
static migration_status *look(const char *root, int folder_fd, const char *name)
{
	auto_message migration_status *status = read_status(folder_fd, name);
	auto_message migration_status *now = NULL;
	struct error ignored;

	if (status == NULL || status->is_done)
		return take_ptr(&status);
	if (migration_file_read(root, name, &now, NULL, &ignored) == 0) {
		complete(now, status);
		if (now->is_done)
			(void) write_status(now);
		return take_ptr(&now);
	}
	conclude_lost(status);
	(void) write_status(status);
	return take_ptr(&status);
}

void migration_log_end(const char *root, const char *id)
{
	auto_free char *folder = migration_log_folder();
	auto_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	message_free(fd >= 0 ? look(root, fd, id) : NULL);
}

static int compare(const void *left, const void *right)
{
	const migration_status *a = *(migration_status *const *) left, *b = *(migration_status *const *) right;

	return (a->started_ns > b->started_ns) - (a->started_ns < b->started_ns);
}

static bool add(struct migration_list *list, migration_status *status)
{
	migration_status **grown = reallocarray(list->items, list->count + 1, sizeof(migration_status *));

	if (grown == NULL) {
		message_free(status);
		return false;
	}
	list->items = grown;
	list->items[list->count++] = status;
	return true;
}

int migration_log_list(const char *root, struct migration_list *ret_list, struct error *err)
{
	auto_free char *path = migration_log_folder();
	DIR *folder = opendir(path);
	bool has_room = true;

	*ret_list = (struct migration_list){.items = NULL};
	if (folder == NULL)
		return fail_errno(err, errno, "read '%s'", path);
	for (struct dirent *entry = readdir(folder); entry != NULL && has_room; entry = readdir(folder)) {
		migration_status *status = entry->d_name[0] != '.' ? look(root, dirfd(folder), entry->d_name) : NULL;

		has_room = status == NULL || add(ret_list, status);
	}
	(void) closedir(folder);
	if (ret_list->count > 0)
		qsort(ret_list->items, ret_list->count, sizeof(ret_list->items[0]), compare);
	return has_room ? 0 : fail_errno(err, ENOMEM, "read '%s'", path);
}

void migration_list_deinit(struct migration_list *self)
{
	for (size_t i = 0; i < self->count; i++)
		message_free(self->items[i]);
	free(self->items);
	*self = (struct migration_list){.items = NULL};
}
