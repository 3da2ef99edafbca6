/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/phases.h"

#define HANDOVER_VERSION 1
#define HANDOVER_MAX     65536U

int handover_read(const char *folder, Hydra__V1__HandoverRecord **ret_record, struct error *err)
{
	auto_free char *path = text_format("%s/" HANDOVER_FILE, folder);

	return handover_read_file(path, ret_record, err);
}

int handover_read_file(const char *path, Hydra__V1__HandoverRecord **ret_record, struct error *err)
{
	auto_free char *data = NULL;
	Hydra__V1__HandoverRecord *record;
	size_t size;
	int r = file_read(AT_FDCWD, path, HANDOVER_MAX, &data, &size, err);

	if (r < 0)
		return r;
	record = hydra__v1__handover_record__unpack(NULL, size, (const uint8_t *) data);
	if (record == NULL || record->version != HANDOVER_VERSION) {
		hydra__v1__handover_record__free_unpacked(record, NULL);
		return fail_because(err, EPROTO, "'%s' is not understood", path);
	}
	*ret_record = record;
	return 0;
}

int handover_write(const char *folder, Hydra__V1__HandoverRecord *record, Hydra__V1__HandoverState state,
		   struct error *err)
{
	auto_free char *path = text_format("%s/" HANDOVER_FILE, folder);
	auto_free unsigned char *data = NULL;
	size_t size;
	int r;

	record->version = HANDOVER_VERSION;
	record->state = state;
	record->written_ns = clock_realtime_ns();
	size = hydra__v1__handover_record__get_packed_size(record);
	data = malloc(size + 1);
	if (data == NULL)
		return fail_errno(err, ENOMEM, "write '%s'", path);
	(void) hydra__v1__handover_record__pack(record, data);
	migration_record_point(SIDE_SOURCE, state, false);
	r = file_replace(AT_FDCWD, path, data, size, 0600, err);
	if (r == 0)
		migration_record_point(SIDE_SOURCE, state, true);
	return r;
}
