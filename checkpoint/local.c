/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/local.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd_pass.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "state/record.h"

bool local_claim(const char *folder, const char *fate)
{
	auto_free char *path = text_format("%s/" RECORD_FATE_FILE, folder);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd >= 0 && fd_write_full(fd, fate, strlen(fate)) == 0;
}

int local_send(int fd, enum local_kind kind, int value, const char *text, int passed_fd, struct error *err)
{
	struct local_message message = {.kind = kind, .value = value};
	ssize_t sent;

	if (text != NULL)
		(void) strlcpy(message.text, text, sizeof(message.text));
	sent = fd_pass_send(fd, &message, sizeof(message), &passed_fd, passed_fd >= 0 ? 1 : 0);
	if (sent >= 0 && sent != sizeof(message))
		sent = -EPIPE;
	return sent < 0 ? fail_errno(err, (int) -sent, "talk to the migration worker") : 0;
}

int local_receive(int fd, struct local_message *ret_message, int *ret_fd, struct error *err)
{
	struct local_message message = {0};
	int fds[FD_PASS_MAX];
	size_t fd_count = 0;
	ssize_t got = fd_pass_receive(fd, &message, sizeof(message), fds, &fd_count);

	for (size_t i = 1; i < fd_count; i++)
		(void) close(fds[i]);
	if (got > 0 && (size_t) got < sizeof(message) &&
	    fd_read_full(fd, (char *) &message + got, sizeof(message) - (size_t) got) < 0)
		got = 0;
	if (got <= 0) {
		if (fd_count > 0)
			(void) close(fds[0]);
		return got == 0 || got == -ECONNRESET ? fail_because(err, EPIPE, "the other side of the hand-over is gone")
						      : fail_errno(err, (int) -got, "receive from the migration worker");
	}
	message.text[sizeof(message.text) - 1] = '\0';
	*ret_message = message;
	*ret_fd = fd_count > 0 ? fds[0] : FD_NONE;
	return 0;
}
