/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Execs are children of their shim, not of the container's init, and can't move with it. Whoever asks for it has them ended first.
 */
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "setup/setup.h"
#include "shim.pb-c.h"
#include "state/shim_process.h"

#include <errno.h>
#include <signal.h>

#define CALL_TIMEOUT_MS 30000

static int end_one(const struct migrate_request *request, const char *exec_id, struct error *err)
{
	Hydra__V1__KillRequest kill_request = HYDRA__V1__KILL_REQUEST__INIT;
	Hydra__V1__WaitRequest wait_request = HYDRA__V1__WAIT_REQUEST__INIT;
	auto_message ProtobufCMessage *killed = NULL, *waited = NULL;
	auto_close int fd = FD_NONE;
	struct error ignored;
	int r = shim_process_connect(request->root, request->namespace, request->id, &fd, err);

	kill_request.exec_id = wait_request.exec_id = (char *) (uintptr_t) exec_id;
	kill_request.signal = SIGKILL;
	if (r < 0)
		return fail_while(err, "end exec '%s'", exec_id);
	/* it may be ending by itself: what counts is that it has */
	(void) ttrpc_call_blocking(fd, "hydra.v1.Shim", "Kill", &kill_request.base, &hydra__v1__empty__descriptor, CALL_TIMEOUT_MS,
				   &killed, &ignored);
	r = ttrpc_call_blocking(fd, "hydra.v1.Shim", "Wait", &wait_request.base, &hydra__v1__wait_response__descriptor,
				CALL_TIMEOUT_MS, &waited, err);
	return r < 0 && r != -ENOENT ? fail_while(err, "end exec '%s'", exec_id) : 0;
}

int exec_sessions_end(const struct run_dir *dir, const struct migrate_request *request, struct error *err)
{
	auto_record *container = NULL;
	int r = record_load(dir->fd, &container, err);

	for (size_t i = 0; r == 0 && i < container->n_execs; i++) {
		if (!container->execs[i]->has_ended)
			r = end_one(request, container->execs[i]->id, err);
	}
	return r;
}
