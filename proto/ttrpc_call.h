/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the frames of requests and responses, and gRPC's status codes.
 */
#pragma once

#include "base/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_CANCELED = 1,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_DEADLINE_EXCEEDED = 4,
	TTRPC_NOT_FOUND = 5,
	TTRPC_ALREADY_EXISTS = 6,
	TTRPC_PERMISSION_DENIED = 7,
	TTRPC_RESOURCE_EXHAUSTED = 8,
	TTRPC_FAILED_PRECONDITION = 9,
	TTRPC_ABORTED = 10,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
	TTRPC_UNAVAILABLE = 14,
};

/* Whole frames, header included; *ret_frame is the caller's to free. namespace may be NULL (no metadata). */
int ttrpc_build_request(uint32_t stream_id, const char *service, const char *method, const ProtobufCMessage *payload,
			const char *namespace, uint8_t **ret_frame, size_t *ret_size, struct error *err);
int ttrpc_build_response(uint32_t stream_id, enum ttrpc_code code, const char *text, const ProtobufCMessage *payload,
			 uint8_t **ret_frame, size_t *ret_size, struct error *err);

/* Decodes the data of a response frame into *ret_message (of descriptor), or reports the status it carries:
 * the negative errno that ttrpc_errno() gives and the peer's text. */
int ttrpc_parse_response(const uint8_t *data, size_t size, const ProtobufCMessageDescriptor *descriptor,
			 ProtobufCMessage **ret_message, struct error *err);

/* Status codes and errno values stand for each other as far as they can. */
int ttrpc_errno(int code);
enum ttrpc_code ttrpc_code_of(int errno_value);

/* One call on a connected blocking socket, with nothing else in flight. timeout_ms: 0 waits for ever.
 * *ret_message is the caller's to message_free(). */
int ttrpc_call_blocking(int fd, const char *service, const char *method, const ProtobufCMessage *request,
			const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret_message,
			struct error *err);
/* The same; *ret_fd is the descriptor that came with the answer, the caller's, or FD_NONE. */
int ttrpc_call_for_fd(int fd, const char *service, const char *method, const ProtobufCMessage *request,
		      const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret_message, int *ret_fd,
		      struct error *err);
