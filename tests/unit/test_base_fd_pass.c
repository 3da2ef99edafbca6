/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd_pass.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

TEST(what_a_socket_does_not_take_is_not_waited_for)
{
	static const char bytes[1 << 20];
	static char received[1 << 20];
	size_t all = 0;
	ssize_t sent;
	int pair[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	sent = socket_send_now(pair[0], bytes, sizeof(bytes));
	CHECK(sent > 0 && sent < (ssize_t) sizeof(bytes));
	CHECK(socket_send_now(pair[0], bytes, sizeof(bytes)) == 0);
	for (ssize_t got = 1; got > 0; all += got > 0 ? (size_t) got : 0)
		got = recv(pair[1], received, sizeof(received), MSG_DONTWAIT);
	CHECK(all == (size_t) sent);
	(void) close(pair[1]);
	CHECK(socket_send_now(pair[0], bytes, 1) == -EPIPE);
	CHECK(socket_send_now(pair[0], NULL, 0) == 0);
	(void) close(pair[0]);
}
