/* SPDX-License-Identifier: Apache-2.0 */
#include "state/record.h"

#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define FATE_MAX 128

int record_decode(const uint8_t *data, size_t size, record **ret_record, struct error *err)
{
	auto_record *decoded =
		(record *) (void *) message_decode(&hydra__v1__container_record__descriptor, data, size);

	if (decoded == NULL || decoded->id[0] == '\0')
		return fail_because(err, EPROTO, "the record of the container is damaged");
	if (decoded->version == 0 || decoded->version > RECORD_VERSION)
		return fail_because(err, EPROTO, "the record has version %u, this program knows up to %d", decoded->version,
				    RECORD_VERSION);
	*ret_record = take_ptr(&decoded);
	return 0;
}

int record_load(int dir_fd, record **ret_record, struct error *err)
{
	auto_free char *data = NULL;
	size_t size;
	int r = file_read(dir_fd, "record", RECORD_SIZE_MAX, &data, &size, err);

	return r < 0 ? r : record_decode((const uint8_t *) data, size, ret_record, err);
}

int record_save(int dir_fd, const record *self, struct error *err)
{
	auto_free uint8_t *data = NULL;
	size_t size;
	int r = message_encode(&self->base, &data, &size, err);

	return r < 0 ? r : file_replace(dir_fd, "record", data, size, 0600, err);
}

void record_free(record *self)
{
	message_free(self);
}

void record_release(void *pointer)
{
	message_free(*(void **) pointer);
}

static const char *const state_names[] = {
	[HYDRA__V1__CONTAINER_STATE__STATE_UNKNOWN] = "unknown",
	[HYDRA__V1__CONTAINER_STATE__STATE_CREATING] = "creating",
	[HYDRA__V1__CONTAINER_STATE__STATE_CREATED] = "created",
	[HYDRA__V1__CONTAINER_STATE__STATE_RUNNING] = "running",
	[HYDRA__V1__CONTAINER_STATE__STATE_PAUSED] = "paused",
	[HYDRA__V1__CONTAINER_STATE__STATE_STOPPED] = "stopped",
	[HYDRA__V1__CONTAINER_STATE__STATE_MIGRATING] = "migrating",
	[HYDRA__V1__CONTAINER_STATE__STATE_RESTORING] = "restoring",
	[HYDRA__V1__CONTAINER_STATE__STATE_REMOVING] = "removing",
};

const char *state_name(Hydra__V1__ContainerState state)
{
	size_t index = (size_t) state;

	return index < sizeof(state_names) / sizeof(state_names[0]) ? state_names[index] : "unknown";
}

static uint64_t read_start_time(int32_t pid, bool *ret_has_ended)
{
	auto_free char *stat = NULL;
	struct error ignored;
	char path[32];
	uint64_t start_time = 0;
	char *field;

	(void) text_fit(path, sizeof(path), "/proc/%d/stat", pid);
	if (pid <= 0 || file_read(AT_FDCWD, path, 4096, &stat, NULL, &ignored) < 0)
		return 0;
	/* the name in parentheses may hold anything: fields are counted from behind it */
	field = strrchr(stat, ')');
	if (field == NULL || field[1] != ' ')
		return 0;
	*ret_has_ended = field[2] == 'Z' || field[2] == 'X';
	for (int number = 2; number < 22 && field != NULL; number++)
		field = strchr(field + 1, ' ');
	if (field == NULL)
		return 0;
	field[1 + strcspn(field + 1, " ")] = '\0';
	return number_parse_u64(field + 1, &start_time) == 0 ? start_time : 0;
}

uint64_t process_start_time(int32_t pid)
{
	bool has_ended = false;
	uint64_t start_time = read_start_time(pid, &has_ended);

	return has_ended ? 0 : start_time;
}

uint64_t process_start_time_at_all(int32_t pid)
{
	bool ignored;

	return read_start_time(pid, &ignored);
}

bool process_is_there(int32_t pid, uint64_t start_time)
{
	bool ignored;

	return start_time != 0 && read_start_time(pid, &ignored) == start_time;
}

bool record_resumed_init(const record *self, int32_t *ret_pid, uint64_t *ret_start_time)
{
	auto_free char *path = text_format("%s/" RECORD_FATE_FILE, self->restore_images);
	auto_free char *word = NULL;
	unsigned long long start_time;
	struct error ignored;

	if (self->state != HYDRA__V1__CONTAINER_STATE__STATE_RESTORING || self->pid != 0 || self->restore_images[0] == '\0' ||
	    file_read(AT_FDCWD, path, FATE_MAX, &word, NULL, &ignored) < 0 ||
	    sscanf(word, "resumed %d %llu", ret_pid, &start_time) != 2)
		return false;
	*ret_start_time = start_time;
	return true;
}

bool record_init_is_alive(const record *self)
{
	uint64_t start_time = self->start_time;
	int32_t pid = self->pid;

	if (pid == 0 && !record_resumed_init(self, &pid, &start_time))
		return false;
	return pid > 0 && start_time != 0 && process_start_time(pid) == start_time;
}

bool record_is_half_done(const record *self)
{
	if (self == NULL)
		return true;
	if (self->containerd != NULL && self->shim_pid != 0 && self->state != HYDRA__V1__CONTAINER_STATE__STATE_REMOVING)
		return false; /* containerd takes care of it */
	if (self->restart_is_pending && self->state == HYDRA__V1__CONTAINER_STATE__STATE_CREATING)
		return false; /* it ran before, and the monitor's next shim lets it run again */
	return self->state == HYDRA__V1__CONTAINER_STATE__STATE_CREATING || self->state == HYDRA__V1__CONTAINER_STATE__STATE_REMOVING ||
	       (self->state == HYDRA__V1__CONTAINER_STATE__STATE_RESTORING && self->pid == 0 && !record_init_is_alive(self));
}
