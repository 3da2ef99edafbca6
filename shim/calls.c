/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/calls.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/owned.h"
#include "proto/message.h"
#include "proto/ttrpc_connection.h"
#include "proto/ttrpc_seal.h"
#include "shim/client.h"
#include "shim/container.h"
#include "shim/deposit.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_SIZE 4096
#define FIRST_AT  PAGE_SIZE /* the first page has the version alone; 0 means "not kept" */
#define VERSION   2U /* 1 had no KEPT_ARRIVING */

enum kept_state { KEPT_NOTHING, KEPT_TAKEN, KEPT_BEGUN, KEPT_ARRIVING };

/* At the start of a page of the file; the request follows. The state is written last. */
struct kept_call {
	uint32_t state;
	uint32_t connection;
	uint32_t stream_id; /* of KEPT_ARRIVING: how much of the frame follows */
	uint32_t size;      /* of KEPT_ARRIVING: how much behind that is being taken */
};

static uint64_t room_of(size_t request_size)
{
	return (sizeof(struct kept_call) + request_size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
}

static struct shim *shim_of(const struct ttrpc_server *server)
{
	return server->context;
}

static uint64_t room_of_pieces(const struct ttrpc_connection *connection)
{
	return room_of(TTRPC_HEADER_SIZE + (size_t) connection->reader.header.size);
}

/* The end of what is in the way of [at, at + room); 0: nothing is. */
static uint64_t find_neighbour(const struct ttrpc_server *server, uint64_t at, uint64_t room)
{
	for (const struct ttrpc_connection *connection = server->connections; connection != NULL; connection = connection->next) {
		uint64_t pieces = connection->arriving_at;

		if (pieces != 0 && pieces < at + room && at < pieces + room_of_pieces(connection))
			return pieces + room_of_pieces(connection);
		for (const struct ttrpc_call *call = connection->calls; call != NULL; call = call->next) {
			if (call->kept_at != 0 && call->kept_at < at + room && at < call->kept_at + room_of(call->request_size))
				return call->kept_at + room_of(call->request_size);
		}
	}
	return 0;
}

static uint64_t find_room(const struct ttrpc_server *server, uint64_t room)
{
	uint64_t at = FIRST_AT;

	for (uint64_t next = find_neighbour(server, at, room); next != 0; next = find_neighbour(server, at, room))
		at = next;
	return at;
}

static bool write_call(int fd, const struct ttrpc_call *call, uint64_t at)
{
	struct kept_call kept = {.connection = call->connection->number, .stream_id = call->stream_id, .size = (uint32_t) call->request_size};
	uint32_t state = call->was_begun ? KEPT_BEGUN : KEPT_TAKEN;

	return pwrite(fd, &kept, sizeof(kept), (off_t) at) == (ssize_t) sizeof(kept) &&
	       pwrite(fd, call->request, call->request_size, (off_t) (at + sizeof(kept))) == (ssize_t) call->request_size &&
	       pwrite(fd, &state, sizeof(state), (off_t) at) == (ssize_t) sizeof(state);
}

static void make_file(struct shim *shim)
{
	const uint32_t version = VERSION;
	auto_close int fd = memfd_create("hydra-calls", MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, &version, sizeof(version), 0) != (ssize_t) sizeof(version))
		return;
	shim->calls_fd = take_fd(&fd);
	deposit_put_calls(shim);
}

static void keep_call(struct ttrpc_call *call)
{
	struct shim *shim = shim_of(call->server);
	uint64_t at = find_room(call->server, room_of(call->request_size));

	if (!deposits_are_taken(shim) || call->connection == NULL)
		return;
	if (shim->calls_fd < 0)
		make_file(shim);
	if (shim->calls_fd >= 0 && write_call(shim->calls_fd, call, at))
		call->kept_at = at;
	fault_point("shim.request-kept");
}

static void begin_call(struct ttrpc_call *call)
{
	uint32_t state = KEPT_BEGUN;

	(void) !pwrite(shim_of(call->server)->calls_fd, &state, sizeof(state), (off_t) call->kept_at);
	fault_point("shim.request-begun");
}

static void forget_call(struct ttrpc_call *call)
{
	fault_point("shim.answered");
	(void) fallocate(shim_of(call->server)->calls_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) call->kept_at,
			 (off_t) room_of(call->request_size));
}

/* Of the first piece, which has the header. False: it is none of ours. */
static bool begin_pieces(struct ttrpc_connection *connection, const uint8_t *bytes, size_t size)
{
	struct shim *shim = shim_of(connection->server);
	struct ttrpc_header header;

	if (!deposits_are_taken(shim) || size < TTRPC_HEADER_SIZE)
		return false;
	ttrpc_header_read(bytes, &header);
	if (header.size > TTRPC_DATA_MAX)
		return false;
	if (shim->calls_fd < 0)
		make_file(shim);
	connection->arriving_at = find_room(connection->server, room_of(TTRPC_HEADER_SIZE + (size_t) header.size));
	connection->arrived = 0;
	return shim->calls_fd >= 0;
}

static bool keep_piece(struct ttrpc_connection *connection, const uint8_t *bytes, size_t size)
{
	struct kept_call kept = {KEPT_ARRIVING, connection->number, 0, (uint32_t) size};
	off_t at;
	int fd;

	if (connection->arriving_at == 0 && !begin_pieces(connection, bytes, size))
		return false;
	fd = shim_of(connection->server)->calls_fd;
	at = (off_t) connection->arriving_at;
	kept.stream_id = (uint32_t) connection->arrived;
	return pwrite(fd, bytes, size, at + (off_t) (sizeof(kept) + connection->arrived)) == (ssize_t) size &&
	       pwrite(fd, &kept, sizeof(kept), at) == (ssize_t) sizeof(kept);
}

static void take_piece(struct ttrpc_connection *connection, size_t size)
{
	struct kept_call kept = {KEPT_ARRIVING, connection->number, (uint32_t) (connection->arrived + size), 0};

	connection->arrived += size;
	(void) !pwrite(shim_of(connection->server)->calls_fd, &kept, sizeof(kept), (off_t) connection->arriving_at);
}

static void forget_pieces(struct ttrpc_connection *connection)
{
	struct shim *shim = shim_of(connection->server);

	if (shim->calls_fd >= 0)
		(void) fallocate(shim->calls_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) connection->arriving_at,
				 (off_t) room_of_pieces(connection));
}

static uint32_t find_number(const struct shim *shim)
{
	uint32_t last = 0;

	for (const struct ttrpc_connection *other = shim->server.connections; other != NULL; other = other->next)
		last = other->number > last ? other->number : last;
	for (size_t i = 0; shim->inherited != NULL && i < shim->inherited->n_connections; i++)
		last = shim->inherited->connections[i]->number > last ? shim->inherited->connections[i]->number : last;
	return last + 1;
}

static void keep(struct ttrpc_connection *connection, bool is_kept)
{
	struct shim *shim = shim_of(connection->server);

	if (connection->number == 0)
		connection->number = find_number(shim);
	if (is_kept)
		deposit_put_connection(shim, connection->number, connection->source.fd);
	else
		deposit_drop_connection(shim, connection->number);
}

static const struct ttrpc_keeper keeper = {keep, keep_call, keep_piece, take_piece, forget_pieces, begin_call, forget_call};

static void note_version(int fd)
{
	const uint32_t version = VERSION;

	if (fd >= 0)
		(void) !pwrite(fd, &version, sizeof(version), 0);
}

void calls_init(struct shim *shim, int fd)
{
	shim->calls_fd = fd;
	note_version(fd);
	shim->server.keeper = &keeper;
}

int calls_fd(const struct shim *shim)
{
	return shim->calls_fd > 0 ? shim->calls_fd : 0;
}

void calls_deposit(struct shim *shim)
{
	if (shim->server.keeper == NULL)
		return;
	if (shim->calls_fd >= 0)
		deposit_put_calls(shim);
	for (struct ttrpc_connection *connection = shim->server.connections; connection != NULL; connection = connection->next) {
		for (struct ttrpc_call *call = connection->calls; call != NULL; call = call->next)
			ttrpc_call_keep(call);
		if (connection->is_kept)
			deposit_put_connection(shim, connection->number, connection->source.fd);
	}
}

static Hydra__V1__SealedServer *inherited(struct shim *shim)
{
	if (shim->inherited == NULL) {
		shim->inherited = malloc(sizeof(*shim->inherited));
		if (shim->inherited == NULL)
			return NULL;
		hydra__v1__sealed_server__init(shim->inherited);
	}
	return shim->inherited;
}

void calls_keep_connection(struct shim *shim, unsigned number, int fd)
{
	Hydra__V1__SealedServer *server = inherited(shim);
	Hydra__V1__SealedConnection *connection = malloc(sizeof(*connection));
	void *larger = server != NULL ? realloc(server->connections, (server->n_connections + 1) * sizeof(*server->connections)) : NULL;

	if (larger != NULL)
		server->connections = larger;
	if (connection == NULL || larger == NULL) {
		free(connection);
		(void) close(fd);
		return;
	}
	hydra__v1__sealed_connection__init(connection);
	connection->fd = fd;
	connection->number = number;
	server->connections[server->n_connections++] = connection;
}

void calls_keep_file(struct shim *shim, int fd)
{
	owned_fd_release(&shim->calls_fd);
	shim->calls_fd = fd;
}

static Hydra__V1__SealedConnection *find_connection(const struct shim *shim, uint32_t number)
{
	for (size_t i = 0; shim->inherited != NULL && i < shim->inherited->n_connections; i++) {
		if (shim->inherited->connections[i]->number == number)
			return shim->inherited->connections[i];
	}
	return NULL;
}

/* It was killed between keeping the request and taking it. */
static void take_from_socket(const Hydra__V1__SealedConnection *connection, const struct kept_call *kept)
{
	uint8_t bytes[TTRPC_HEADER_SIZE];
	struct ttrpc_header header;
	auto_free uint8_t *frame = NULL;

	if (recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK) != (ssize_t) sizeof(bytes))
		return;
	ttrpc_header_read(bytes, &header);
	if (header.stream_id != kept->stream_id || header.size != kept->size)
		return;
	frame = malloc(TTRPC_HEADER_SIZE + (size_t) header.size);
	if (frame != NULL)
		(void) !recv(connection->fd, frame, TTRPC_HEADER_SIZE + (size_t) header.size, MSG_DONTWAIT);
}

static bool add_call(Hydra__V1__SealedConnection *connection, const struct kept_call *kept, int fd, uint64_t at)
{
	Hydra__V1__SealedCall *call = malloc(sizeof(*call));
	void *larger = realloc(connection->calls, (connection->n_calls + 1) * sizeof(*connection->calls));

	if (larger != NULL)
		connection->calls = larger;
	if (call == NULL || larger == NULL) {
		free(call);
		return false;
	}
	hydra__v1__sealed_call__init(call);
	connection->calls[connection->n_calls++] = call;
	call->stream_id = kept->stream_id;
	call->was_begun = kept->state == KEPT_BEGUN;
	call->kept_at = at;
	call->request.data = malloc(kept->size + 1);
	call->request.len = kept->size;
	return call->request.data != NULL &&
	       pread(fd, call->request.data, kept->size, (off_t) (at + sizeof(*kept))) == (ssize_t) kept->size;
}

/* What had arrived of a request. A piece that was being taken was taken if the socket does not wait behind it any more. */
static uint64_t add_pieces(const struct shim *shim, const struct kept_call *kept, uint64_t at)
{
	Hydra__V1__SealedConnection *connection = find_connection(shim, kept->connection);
	uint8_t bytes[TTRPC_HEADER_SIZE];
	struct ttrpc_header header = {.size = 0};
	socklen_t length = sizeof(int);
	size_t arrived = kept->stream_id;
	int offset = 0;

	if (pread(shim->calls_fd, bytes, sizeof(bytes), (off_t) (at + sizeof(*kept))) == (ssize_t) sizeof(bytes))
		ttrpc_header_read(bytes, &header);
	if (connection == NULL || header.size > TTRPC_DATA_MAX)
		return PAGE_SIZE;
	if (kept->size > 0 && getsockopt(connection->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &length) == 0 && offset == 0)
		arrived += kept->size;
	if (arrived > 0 && arrived <= TTRPC_HEADER_SIZE + (size_t) header.size)
		connection->input.data = malloc(arrived);
	if (connection->input.data == NULL ||
	    pread(shim->calls_fd, connection->input.data, arrived, (off_t) (at + sizeof(*kept))) != (ssize_t) arrived)
		return room_of(TTRPC_HEADER_SIZE + (size_t) header.size);
	connection->input.len = arrived;
	connection->arriving_at = at;
	return room_of(TTRPC_HEADER_SIZE + (size_t) header.size);
}

/* What it has at `at`; how much further the next one may be. */
static uint64_t read_kept(struct shim *shim, uint64_t at)
{
	Hydra__V1__SealedConnection *connection;
	struct kept_call kept;

	if (pread(shim->calls_fd, &kept, sizeof(kept), (off_t) at) != (ssize_t) sizeof(kept) || kept.state == KEPT_NOTHING ||
	    kept.size > TTRPC_DATA_MAX)
		return PAGE_SIZE;
	if (kept.state == KEPT_ARRIVING)
		return add_pieces(shim, &kept, at);
	connection = find_connection(shim, kept.connection);
	if (connection != NULL)
		take_from_socket(connection, &kept);
	if (connection == NULL || !add_call(connection, &kept, shim->calls_fd, at)) /* its client has gone */
		(void) fallocate(shim->calls_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) at, (off_t) room_of(kept.size));
	return room_of(kept.size);
}

/* Who asked a shim of a version that keeps calls in another way is hung up on: better than to leave it waiting. */
static void hang_up(struct shim *shim)
{
	for (size_t i = 0; shim->inherited != NULL && i < shim->inherited->n_connections; i++) {
		(void) shutdown(shim->inherited->connections[i]->fd, SHUT_RDWR);
		(void) close(shim->inherited->connections[i]->fd);
		deposit_drop_connection(shim, shim->inherited->connections[i]->number);
	}
	message_free(shim->inherited);
	shim->inherited = NULL;
	owned_fd_release(&shim->calls_fd);
	shim->calls_fd = FD_NONE;
}

static bool is_understood(int fd)
{
	uint32_t version;

	return fd < 0 || (pread(fd, &version, sizeof(version), 0) == (ssize_t) sizeof(version) && (version == VERSION || version == 1));
}

static bool is_attached(const struct shim *shim, int fd)
{
	for (const struct process *process = shim_container(shim)->processes; process != NULL; process = process->next) {
		if (clients_have(process, fd))
			return true;
	}
	return false;
}

/* Who was attached asks nothing any more: that the monitor was told so is lost when it is killed in the same moment. */
static void forget_attached(struct shim *shim)
{
	size_t left = 0;

	for (size_t i = 0; shim->inherited != NULL && i < shim->inherited->n_connections; i++) {
		Hydra__V1__SealedConnection *connection = shim->inherited->connections[i];

		if (!is_attached(shim, connection->fd)) {
			shim->inherited->connections[left++] = connection;
			continue;
		}
		(void) close(connection->fd);
		message_free(connection);
	}
	if (shim->inherited != NULL)
		shim->inherited->n_connections = left;
}

static int compare_calls(const void *a, const void *b)
{
	const Hydra__V1__SealedCall *const *left = a, *const *right = b;

	return ((*left)->stream_id > (*right)->stream_id) - ((*left)->stream_id < (*right)->stream_id);
}

/* In the order they were asked in: numbers grow. */
static void sort_calls(const struct shim *shim)
{
	for (size_t i = 0; shim->inherited != NULL && i < shim->inherited->n_connections; i++) {
		Hydra__V1__SealedConnection *connection = shim->inherited->connections[i];

		if (connection->n_calls > 1)
			qsort(connection->calls, connection->n_calls, sizeof(*connection->calls), compare_calls);
	}
}

/* A request that was whole may be kept as a call already. None of the sockets waits behind anything any more. */
static void settle_pieces(const struct shim *shim)
{
	for (size_t i = 0; i < shim->inherited->n_connections; i++) {
		Hydra__V1__SealedConnection *connection = shim->inherited->connections[i];
		struct ttrpc_header header;

		(void) setsockopt(connection->fd, SOL_SOCKET, SO_PEEK_OFF, &(int){-1}, sizeof(int));
		if (connection->input.len < TTRPC_HEADER_SIZE)
			continue;
		ttrpc_header_read(connection->input.data, &header);
		for (size_t j = 0; j < connection->n_calls; j++) {
			if (connection->calls[j]->stream_id == header.stream_id)
				connection->input.len = 0;
		}
	}
}

void calls_go_on(struct shim *shim)
{
	struct ttrpc_call *ignored;
	struct stat info;

	if (!is_understood(shim->calls_fd))
		hang_up(shim);
	note_version(shim->calls_fd);
	forget_attached(shim);
	if (shim->calls_fd >= 0 && fstat(shim->calls_fd, &info) == 0) {
		for (uint64_t at = FIRST_AT; at < (uint64_t) info.st_size;)
			at += read_kept(shim, at);
	}
	sort_calls(shim);
	if (shim->inherited == NULL)
		return;
	settle_pieces(shim);
	ttrpc_server_unseal(&shim->server, shim->inherited, &ignored);
	message_free(shim->inherited);
	shim->inherited = NULL;
}
