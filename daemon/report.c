/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hydrad tells the monitor's ledger. Nobody waits for it: without a monitor nothing is told.
 */
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "monitor.pb-c.h"

#include <stdlib.h>
#include <sys/socket.h>

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

void report_shim(struct daemon *daemon, const char *namespace, const char *id, bool is_reachable)
{
	Hydra__V1__ReportRequest request = HYDRA__V1__REPORT_REQUEST__INIT;
	auto_free char *path = text_format("%s/monitor.sock", daemon->root);
	auto_close int fd = FD_NONE;
	struct error ignored;
	struct ttrpc_client *self = socket_connect_now(path, &fd, &ignored) == 0 ? calloc(1, sizeof(*self)) : NULL;

	if (self == NULL || ttrpc_client_init(self, &daemon->loop, take_fd(&fd), &ignored) < 0) {
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
