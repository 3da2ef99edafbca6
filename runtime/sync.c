/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages over a SOCK_SEQPACKET pair.
 */
#include "runtime/sync.h"

#include "base/fd_pass.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int sync_send(int fd, enum message_kind kind, int number, const int *fds, size_t count, struct error *err)
{
	struct message message = {.kind = kind, .number = number};
	ssize_t sent = fd_pass_send(fd, &message, offsetof(struct message, text), fds, count);

	/* a peer that left without reading everything resets the connection: gone as well */
	if (sent == -ECONNRESET)
		sent = -EPIPE;
	return sent < 0 ? fail_errno(err, (int) -sent, "talk to the container's init") : 0;
}

void sync_send_failure(int fd, const struct error *failure)
{
	struct message message = {.kind = MESSAGE_FAILED, .number = failure->code};

	(void) text_fit(message.text, sizeof(message.text), "%s", failure->message);
	(void) fd_pass_send(fd, &message, sizeof(message), NULL, 0);
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

int sync_receive(int fd, struct message *ret_message, int *ret_fds, size_t *ret_count, struct error *err)
{
	struct message message = {0};
	int fds[FD_PASS_MAX];
	size_t count = 0;
	ssize_t size = fd_pass_receive(fd, &message, sizeof(message), fds, &count);

	/* reported once, ahead of what the peer had still said */
	if (size == -ECONNRESET)
		size = fd_pass_receive(fd, &message, sizeof(message), fds, &count);
	if (size == -ECONNRESET)
		return 1;
	if (size < 0)
		return fail_errno(err, (int) -size, "listen to the container's init");
	if (size == 0)
		return 1;
	message.text[sizeof(message.text) - 1] = '\0';
	if (message.kind == MESSAGE_FAILED) {
		close_all(fds, count);
		return fail_because(err, message.number < 0 ? -message.number : EIO, "%s", message.text);
	}
	if (ret_fds == NULL) {
		close_all(fds, count);
	} else {
		memcpy(ret_fds, fds, count * sizeof(*fds));
		*ret_count = count;
	}
	*ret_message = message;
	return 0;
}

int sync_expect(int fd, enum message_kind kind, int *ret_number, int *ret_fds, size_t *ret_count, struct error *err)
{
	struct message message = {0};
	int r = sync_receive(fd, &message, ret_fds, ret_count, err);

	if (r < 0)
		return r;
	if (r > 0)
		return fail_because(err, EPIPE, "the other side went away");
	if (message.kind != kind)
		return fail_because(err, EPROTO, "unexpected message %d instead of %d", message.kind, kind);
	if (ret_number != NULL)
		*ret_number = message.number;
	return 0;
}
