/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/departure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/handover.h"
#include "checkpoint/send.h"
#include "checkpoint/verdict.h"

#define VERSION     1U
#define PATIENCE_MS 10000
#define PATIENCE_ONCE_MS 3000

char *departure_path(const char *folder, const Hydra__V1__HandoverRecord *record)
{
	return folder == NULL ? text_copy("") : text_format("%s/%s", folder, record->migration_id);
}

int departure_note(Hydra__V1__HandoverRecord *record, struct error *err)
{
	auto_free char *folder = text_copy(record->departure);
	auto_free unsigned char *data = NULL;
	char *slash = strrchr(folder, '/');
	size_t size;
	int r;

	if (slash == NULL)
		return 0;
	*slash = '\0';
	r = dir_make_all(folder, 0700, err);
	if (r < 0)
		return r;
	record->version = VERSION;
	size = hydra__v1__handover_record__get_packed_size(record);
	data = malloc(size + 1);
	if (data == NULL)
		return fail_errno(err, ENOMEM, "note the departure of '%s'", record->container_id);
	(void) hydra__v1__handover_record__pack(record, data);
	return file_replace(AT_FDCWD, record->departure, data, size, 0600, err);
}

void departure_forget(const Hydra__V1__HandoverRecord *record)
{
	if (record->departure[0] != '\0')
		(void) unlink(record->departure);
}

/* Only as long as the file is there: it goes when all is said. */
static int say(const char *path, const Hydra__V1__HandoverRecord *record, struct error *err)
{
	struct send_spec given = {.connection_fd = FD_NONE, .progress_fd = FD_NONE, .patience_ms = PATIENCE_MS};
	struct send_spec spec = send_spec_of(&given, record);
	struct sender_state self = {.spec = &spec, .layer_fd = FD_NONE, .packets_fd = FD_NONE, .progress = {.fd = FD_NONE}};

	self.session.signal_fd = self.session.link.transport.fd = self.faults.transport.fd = FD_NONE;
	log_info("telling the target of a container that this host lost it", "container=%s target=%s", record->container_id, record->peer);
	if (send_tell_loss(&self) < 0)
		return fail_because(err, ECANCELED, "given up while '%s' could not be reached", record->peer);
	(void) unlink(path);
	return 0;
}

int departure_farewell_now(const char *path, struct error *err)
{
	struct send_spec given = {.connection_fd = FD_NONE, .progress_fd = FD_NONE, .patience_ms = PATIENCE_ONCE_MS};
	Hydra__V1__HandoverRecord *record = NULL;
	Hydra__V1__HandoffVerdict *verdict = NULL;
	struct send_spec spec;
	struct sender_state self = {.spec = &spec, .layer_fd = FD_NONE, .packets_fd = FD_NONE, .progress = {.fd = FD_NONE}};
	int r = handover_read_file(path, &record, err);

	if (r < 0)
		return r;
	spec = send_spec_of(&given, record);
	self.session.signal_fd = self.session.link.transport.fd = self.faults.transport.fd = FD_NONE;
	r = send_ask(&self, HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_LOST, &verdict, err);
	if (r == 0)
		(void) unlink(path);
	hydra__v1__handoff_verdict__free_unpacked(verdict, NULL);
	hydra__v1__handover_record__free_unpacked(record, NULL);
	return r;
}

int departure_farewell(const char *path, struct error *err)
{
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
	auto_free char *boot_id = verdict_boot_id();
	Hydra__V1__HandoverRecord *record = NULL;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : fail_errno(err, errno, "open '%s'", path);
	if (file_lock_fd(fd, false) < 0)
		return 0;
	r = handover_read_file(path, &record, err);
	if (r < 0)
		return r;
	if (strcmp(record->boot_id, boot_id) != 0)
		r = say(path, record, err);
	hydra__v1__handover_record__free_unpacked(record, NULL);
	return r;
}
