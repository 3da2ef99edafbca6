/* SPDX-License-Identifier: Apache-2.0 */
#include "state/exit_record.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_RECORD_SIZE_MAX 65536

static const char *file_name(const char *exec_id, char *buffer, size_t size)
{
	if (exec_id[0] == '\0')
		return "exit";
	return text_fit(buffer, size, "exit.%s", exec_id) ? buffer : "exit.";
}

int exit_record_load(int dir_fd, const char *exec_id, exit_record **ret_record, struct error *err)
{
	auto_free char *data = NULL;
	auto_message exit_record *decoded = NULL;
	char name[128];
	size_t size;
	int r = file_read(dir_fd, file_name(exec_id, name, sizeof(name)), EXIT_RECORD_SIZE_MAX, &data, &size, err);

	if (r < 0)
		return r;
	decoded = (exit_record *) (void *) message_decode(&hydra__v1__exit_record__descriptor, (uint8_t *) data, size);
	if (decoded == NULL)
		return fail_because(err, EPROTO, "the exit record is damaged");
	if (decoded->version > EXIT_RECORD_VERSION)
		return fail_because(err, EPROTO, "the exit record has version %u, this program knows up to %d", decoded->version,
				    EXIT_RECORD_VERSION);
	*ret_record = take_ptr(&decoded);
	return 0;
}

int exit_record_save(int dir_fd, const exit_record *self, struct error *err)
{
	auto_free uint8_t *data = NULL;
	char name[128];
	size_t size;
	int r = message_encode(&self->base, &data, &size, err);

	return r < 0 ? r : file_replace(dir_fd, file_name(self->exec_id, name, sizeof(name)), data, size, 0600, err);
}

void exit_record_forget(int dir_fd, const char *exec_id)
{
	char name[128];

	(void) unlinkat(dir_fd, file_name(exec_id, name, sizeof(name)), 0);
}

void exit_record_set_status(exit_record *self, int wait_status)
{
	self->is_known = true;
	if (WIFSIGNALED(wait_status)) {
		self->signal = (uint32_t) WTERMSIG(wait_status);
		self->exit_code = 128 + self->signal;
	} else {
		self->signal = 0;
		self->exit_code = (uint32_t) WEXITSTATUS(wait_status);
	}
}
