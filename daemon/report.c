/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hydrad tells the monitor's ledger. Nobody waits for it: without a monitor nothing is told.
 */
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "monitor.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

static void told(struct ttrpc_client *client, const ProtobufCMessage *response, const struct error *err, void *user)
{
	(void) response;
	(void) err;
	(void) user;
	(void) shutdown(client->source.fd, SHUT_RDWR); /* its end comes by the loop */
}

static void closed(struct ttrpc_client *client)
{
	ttrpc_client_deinit(client);
	free(client);
}

/* Never waits. FD_NONE: no monitor is there, or it has no time. */
static int connect_now(const struct daemon *daemon)
{
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (fd < 0 || !text_fit(address.sun_path, sizeof(address.sun_path), "%s/monitor.sock", daemon->root) ||
	    connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
		return FD_NONE;
	return take_fd(&fd);
}

void report_shim(struct daemon *daemon, const char *namespace, const char *id, bool is_reachable)
{
	Hydra__V1__ReportRequest request = HYDRA__V1__REPORT_REQUEST__INIT;
	int fd = connect_now(daemon);
	struct ttrpc_client *self = fd >= 0 ? calloc(1, sizeof(*self)) : NULL;
	struct error ignored;

	if (self == NULL)
		owned_fd_release(&fd);
	if (self == NULL || ttrpc_client_init(self, &daemon->loop, fd, &ignored) < 0) {
		free(self);
		return;
	}
	self->on_closed = closed;
	request.namespace_ = (char *) (uintptr_t) namespace;
	request.id = (char *) (uintptr_t) id;
	request.is_reachable = is_reachable;
	(void) ttrpc_client_call(self, "hydra.v1.Monitor", "Report", &request.base, &hydra__v1__empty__descriptor, told, NULL,
				 &ignored);
}

void report_start(struct daemon *daemon)
{
	report_shim(daemon, "", "", true);
}
