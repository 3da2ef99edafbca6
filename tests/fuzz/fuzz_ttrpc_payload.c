/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message that a peer may send as a payload: the first byte chooses it.
 */
#include "base/owned.h"
#include "daemon.pb-c.h"
#include "monitor.pb-c.h"
#include "proto/message.h"
#include "shim.pb-c.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const descriptors[] = {
	&hydra__v1__create_request__descriptor, &hydra__v1__list_response__descriptor,	 &hydra__v1__migrate_request__descriptor,
	&hydra__v1__state_response__descriptor, &hydra__v1__exec_request__descriptor,	 &hydra__v1__events_response__descriptor,
	&hydra__v1__kill_request__descriptor,	&hydra__v1__attach_request__descriptor, &hydra__v1__update_request__descriptor,
	&hydra__v1__spawn_request__descriptor,	&hydra__v1__ledger_response__descriptor, &hydra__v1__report_request__descriptor,
	&hydra__v1__ledger_file_entry__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const ProtobufCMessageDescriptor *descriptor;
	auto_message ProtobufCMessage *message = NULL;
	auto_message ProtobufCMessage *copy = NULL;

	if (size == 0)
		return 0;
	descriptor = descriptors[data[0] % (sizeof(descriptors) / sizeof(descriptors[0]))];
	message = message_decode(descriptor, data + 1, size - 1);
	if (message != NULL)
		copy = message_copy(message);
	return 0;
}
