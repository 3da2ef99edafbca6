/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor.pb-c.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "setup/setup.h"
#include "shim.pb-c.h"
#include "state/shim_process.h"

#include <errno.h>

#define MONITOR_TIMEOUT_MS 10000
#define CALL_TIMEOUT_MS    60000

/* -ENOENT or -ECONNREFUSED: no monitor runs here. */
static int spawn_by_monitor(const char *root, const char *namespace, const char *id, struct error *err)
{
	auto_free char *path = text_format("%s/monitor.sock", root);
	auto_close int fd = FD_NONE;
	auto_message ProtobufCMessage *response = NULL;
	Hydra__V1__SpawnRequest request = HYDRA__V1__SPAWN_REQUEST__INIT;
	int r = socket_connect(path, &fd, err);

	if (r < 0)
		return r;
	request.namespace_ = (char *) (uintptr_t) namespace;
	request.id = (char *) (uintptr_t) id;
	r = ttrpc_call_blocking(fd, "hydra.v1.Monitor", "Spawn", &request.base, &hydra__v1__spawn_response__descriptor,
				MONITOR_TIMEOUT_MS, &response, err);
	return r < 0 ? fail_while(err, "ask the monitor for a shim") : 0;
}

int launch_shim(const char *root, const char *namespace, const char *id, struct error *err)
{
	pid_t pid;
	int r = spawn_by_monitor(root, namespace, id, err);

	/* a monitor that dies or hangs in this very moment keeps nobody from working */
	if (r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT)
		r = shim_process_start(root, namespace, id, &pid, NULL, err);
	/* asked twice: the first one made it */
	return r == -EADDRINUSE ? 0 : r;
}

static int call(const char *root, const char *namespace, const char *id, const char *method, int timeout_ms, struct error *err)
{
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	auto_message ProtobufCMessage *response = NULL;
	auto_close int fd = FD_NONE;
	int r = shim_process_connect(root, namespace, id, &fd, err);

	if (r < 0)
		return r;
	return ttrpc_call_blocking(fd, "hydra.v1.Shim", method, &request.base, &hydra__v1__empty__descriptor, timeout_ms, &response,
				   err);
}

int launch_call(const char *root, const char *namespace, const char *id, const char *method, struct error *err)
{
	return call(root, namespace, id, method, CALL_TIMEOUT_MS, err);
}

int launch_call_patiently(const char *root, const char *namespace, const char *id, const char *method, struct error *err)
{
	return call(root, namespace, id, method, 0, err);
}
