/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc_call.h"

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/owned.h"
#include "proto/message.h"
#include "proto/ttrpc_frame.h"
#include "ttrpc.pb-c.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct code_errno {
	enum ttrpc_code code;
	int errno_value;
} code_errnos[] = {
	{TTRPC_CANCELED, ECANCELED},
	{TTRPC_INVALID_ARGUMENT, EINVAL},
	{TTRPC_DEADLINE_EXCEEDED, ETIMEDOUT},
	{TTRPC_NOT_FOUND, ENOENT},
	{TTRPC_NOT_FOUND, ESRCH},
	{TTRPC_ALREADY_EXISTS, EEXIST},
	{TTRPC_PERMISSION_DENIED, EPERM},
	{TTRPC_PERMISSION_DENIED, EACCES},
	{TTRPC_RESOURCE_EXHAUSTED, ENOSPC},
	{TTRPC_FAILED_PRECONDITION, EBUSY},
	{TTRPC_ABORTED, EAGAIN},
	{TTRPC_UNIMPLEMENTED, ENOSYS},
	{TTRPC_UNAVAILABLE, ECONNREFUSED},
};

int ttrpc_errno(int code)
{
	for (size_t i = 0; i < sizeof(code_errnos) / sizeof(code_errnos[0]); i++) {
		if ((int) code_errnos[i].code == code)
			return code_errnos[i].errno_value;
	}
	return EIO;
}

enum ttrpc_code ttrpc_code_of(int errno_value)
{
	for (size_t i = 0; i < sizeof(code_errnos) / sizeof(code_errnos[0]); i++) {
		if (code_errnos[i].errno_value == abs(errno_value))
			return code_errnos[i].code;
	}
	return TTRPC_UNKNOWN;
}

static int build_frame(const struct ttrpc_header *kind, const ProtobufCMessage *envelope, uint8_t **ret_frame,
		       size_t *ret_size, struct error *err)
{
	size_t size = protobuf_c_message_get_packed_size(envelope);
	struct ttrpc_header header = *kind;
	uint8_t *frame;

	if (size > TTRPC_DATA_MAX)
		return fail_because(err, EMSGSIZE, "message of %zu bytes is larger than %u", size, TTRPC_DATA_MAX);
	frame = malloc(TTRPC_HEADER_SIZE + size);
	if (frame == NULL)
		return fail_errno(err, ENOMEM, "build a message");
	header.size = (uint32_t) size;
	ttrpc_header_write(&header, frame);
	(void) protobuf_c_message_pack(envelope, frame + TTRPC_HEADER_SIZE);
	*ret_frame = frame;
	*ret_size = TTRPC_HEADER_SIZE + size;
	return 0;
}

static char *mutable(const char *string)
{
	return (char *) (uintptr_t) string;
}

int ttrpc_build_request(uint32_t stream_id, const char *service, const char *method, const ProtobufCMessage *payload,
			const char *namespace, uint8_t **ret_frame, size_t *ret_size, struct error *err)
{
	struct ttrpc_header kind = {.stream_id = stream_id, .type = TTRPC_REQUEST};
	Ttrpc__Request request = TTRPC__REQUEST__INIT;
	Ttrpc__KeyValue pair = TTRPC__KEY_VALUE__INIT;
	Ttrpc__KeyValue *pairs[] = {&pair};
	auto_free uint8_t *data = NULL;
	size_t size;
	int r = message_encode(payload, &data, &size, err);

	if (r < 0)
		return r;
	request.service = mutable(service);
	request.method = mutable(method);
	request.payload = (ProtobufCBinaryData){.data = data, .len = size};
	if (namespace != NULL) {
		pair.key = mutable("containerd-namespace-ttrpc");
		pair.value = mutable(namespace);
		request.metadata = pairs;
		request.n_metadata = 1;
	}
	return build_frame(&kind, &request.base, ret_frame, ret_size, err);
}

int ttrpc_build_response(uint32_t stream_id, enum ttrpc_code code, const char *text, const ProtobufCMessage *payload,
			 uint8_t **ret_frame, size_t *ret_size, struct error *err)
{
	struct ttrpc_header kind = {.stream_id = stream_id, .type = TTRPC_RESPONSE};
	Ttrpc__Response response = TTRPC__RESPONSE__INIT;
	Ttrpc__Status status = TTRPC__STATUS__INIT;
	auto_free uint8_t *data = NULL;
	size_t size = 0;
	int r = payload != NULL ? message_encode(payload, &data, &size, err) : 0;

	if (r < 0)
		return r;
	response.payload = (ProtobufCBinaryData){.data = data, .len = size};
	if (code != TTRPC_OK) {
		status.code = (int32_t) code;
		status.message = mutable(text);
		response.status = &status;
	}
	return build_frame(&kind, &response.base, ret_frame, ret_size, err);
}

int ttrpc_parse_response(const uint8_t *data, size_t size, const ProtobufCMessageDescriptor *descriptor,
			 ProtobufCMessage **ret_message, struct error *err)
{
	auto_message Ttrpc__Response *response =
		(Ttrpc__Response *) (void *) message_decode(&ttrpc__response__descriptor, data, size);
	ProtobufCMessage *message;

	if (response == NULL)
		return fail_because(err, EPROTO, "the peer sent a response that is not ttrpc");
	if (response->status != NULL && response->status->code != TTRPC_OK)
		return fail_because(err, ttrpc_errno(response->status->code), "%s", response->status->message);
	message = message_decode(descriptor, response->payload.data, response->payload.len);
	if (message == NULL)
		return fail_because(err, EPROTO, "the peer sent a response that is not a %s", descriptor->name);
	*ret_message = message;
	return 0;
}

/* As read(); the first descriptor that comes along is put into *ret_fd, unless ret_fd is NULL. */
static ssize_t read_with_fd(int fd, void *data, size_t size, int *ret_fd)
{
	int fds[FD_PASS_MAX];
	size_t count = 0;
	ssize_t got;

	if (ret_fd == NULL) {
		got = read(fd, data, size);
		return got < 0 ? -errno : got;
	}
	got = fd_pass_receive(fd, data, size, fds, &count);
	for (size_t i = 0; i < count; i++) {
		if (*ret_fd < 0)
			*ret_fd = fds[i];
		else
			(void) close(fds[i]);
	}
	return got;
}

static int read_until(int fd, void *data, size_t size, uint64_t deadline_ns, int *ret_fd)
{
	uint8_t *next = data;

	while (size > 0) {
		uint64_t now_ns = clock_monotonic_ns();
		int wait_ms = deadline_ns == 0 ? -1 : deadline_ns > now_ns ? (int) ((deadline_ns - now_ns) / NS_PER_MS) + 1 : 0;
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int r = poll(&ready, 1, wait_ms);
		ssize_t got;

		if (r == 0)
			return -ETIMEDOUT;
		if (r < 0 && errno == EINTR)
			continue;
		got = r < 0 ? -errno : read_with_fd(fd, next, size, ret_fd);
		if (got == -EINTR || got == -EAGAIN)
			continue;
		if (got < 0)
			return (int) got;
		if (got == 0)
			return -ECONNRESET;
		next += got;
		size -= (size_t) got;
	}
	return 0;
}

static int read_frame(int fd, uint64_t deadline_ns, struct ttrpc_header *header, uint8_t **ret_data, int *ret_fd)
{
	uint8_t bytes[TTRPC_HEADER_SIZE];
	auto_free uint8_t *data = NULL;
	int r = read_until(fd, bytes, sizeof(bytes), deadline_ns, ret_fd);

	if (r < 0)
		return r;
	ttrpc_header_read(bytes, header);
	if (header->size > TTRPC_DATA_MAX)
		return -EMSGSIZE;
	data = malloc(header->size + 1);
	r = data == NULL ? -ENOMEM : read_until(fd, data, header->size, deadline_ns, ret_fd);
	if (r < 0)
		return r;
	*ret_data = take_ptr(&data);
	return 0;
}

static int call(int fd, const char *service, const char *method, const ProtobufCMessage *request,
		const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret_message, int *ret_fd, struct error *err)
{
	uint64_t deadline_ns = timeout_ms > 0 ? clock_monotonic_ns() + (uint64_t) timeout_ms * NS_PER_MS : 0;
	auto_free uint8_t *frame = NULL;
	auto_free uint8_t *data = NULL;
	struct ttrpc_header header;
	size_t size;
	int r = ttrpc_build_request(1, service, method, request, NULL, &frame, &size, err);

	if (r < 0)
		return r;
	for (size_t sent = 0; sent < size;) {
		ssize_t part = fd_pass_send(fd, frame + sent, size - sent, NULL, 0);

		if (part < 0)
			return fail_errno(err, (int) -part, "send %s", method);
		sent += (size_t) part;
	}
	r = read_frame(fd, deadline_ns, &header, &data, ret_fd);
	if (r < 0)
		return fail_errno(err, -r, "wait for the answer to %s", method);
	return ttrpc_parse_response(data, header.size, response, ret_message, err);
}

int ttrpc_call_blocking(int fd, const char *service, const char *method, const ProtobufCMessage *request,
			const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret_message,
			struct error *err)
{
	return call(fd, service, method, request, response, timeout_ms, ret_message, NULL, err);
}

int ttrpc_call_for_fd(int fd, const char *service, const char *method, const ProtobufCMessage *request,
		      const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret_message, int *ret_fd,
		      struct error *err)
{
	int r;

	*ret_fd = FD_NONE;
	r = call(fd, service, method, request, response, timeout_ms, ret_message, ret_fd, err);
	if (r < 0) {
		owned_fd_release(ret_fd);
		*ret_fd = FD_NONE;
	}
	return r;
}
