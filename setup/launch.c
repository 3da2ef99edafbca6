/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "setup/setup.h"
#include "shim.pb-c.h"
#include "state/shim_process.h"

#include <errno.h>

#define CALL_TIMEOUT_MS 60000

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
