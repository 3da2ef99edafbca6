/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes samples of today's formats (tests/unit/golden.h): golden_make FOLDER NUMBER. What is there already is never
 * written again. Every field of every message gets a value of its own, so that a field that moved is seen.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "ledger.pb-c.h"
#include "proto/message.h"
#include "proto/stream.h"
#include "proto/ttrpc_frame.h"
#include "shim/queue.h"
#include "state/entry.h"
#include "state/journal.h"
#include "tests/unit/golden.h"
#include "ttrpc.pb-c.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *folder;
static const char *number;

static void write_new(const char *name, const char *suffix, const void *data, size_t size)
{
	auto_free char *path = text_format("%s/%s.%s%s", folder, name, number, suffix);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0 && errno == EEXIST)
		return;
	if (fd < 0 || fd_write_full(fd, data, size) < 0) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	printf("%s\n", path);
}

struct wire {
	uint8_t data[16384];
	size_t size;
};

static void put(struct wire *self, const void *data, size_t size)
{
	assert(size <= sizeof(self->data) - self->size);
	memcpy(self->data + self->size, data, size);
	self->size += size;
}

static void put_varint(struct wire *self, uint64_t value)
{
	uint8_t byte;

	for (; value >= 0x80; value >>= 7) {
		byte = (uint8_t) value | 0x80;
		put(self, &byte, 1);
	}
	byte = (uint8_t) value;
	put(self, &byte, 1);
}

static uint64_t number_for(const ProtobufCFieldDescriptor *field, unsigned index)
{
	const ProtobufCEnumDescriptor *values = field->descriptor;

	if (strcmp(field->name, "version") == 0 || field->type == PROTOBUF_C_TYPE_BOOL)
		return 1;
	if (field->type == PROTOBUF_C_TYPE_ENUM)
		return (uint64_t) values->values[values->n_values - 1].value;
	return (field->id * 100 + index) * (field->type == PROTOBUF_C_TYPE_SINT32 ? 2 : 1);
}

static void put_message(struct wire *self, const ProtobufCMessageDescriptor *descriptor);

static void put_field(struct wire *self, const ProtobufCFieldDescriptor *field, unsigned index)
{
	auto_free struct wire *inner = calloc(1, sizeof(*inner));

	assert(inner != NULL);
	switch (field->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		put_message(inner, field->descriptor);
		break;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
		inner->size = (size_t) snprintf((char *) inner->data, sizeof(inner->data), "%s-%u", field->name, index);
		break;
	default:
		put_varint(self, field->id << 3);
		put_varint(self, number_for(field, index));
		return;
	}
	put_varint(self, field->id << 3 | 2);
	put_varint(self, inner->size);
	put(self, inner->data, inner->size);
}

static void put_message(struct wire *self, const ProtobufCMessageDescriptor *descriptor)
{
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

		if (strcmp(field->name, "needs") == 0)
			continue;
		for (unsigned index = 0; index < (field->label == PROTOBUF_C_LABEL_REPEATED ? 2 : 1); index++)
			put_field(self, field, index);
	}
}

static ProtobufCMessage *full_message(const ProtobufCMessageDescriptor *descriptor)
{
	auto_free struct wire *wire = calloc(1, sizeof(*wire));
	ProtobufCMessage *message;

	assert(wire != NULL);
	put_message(wire, descriptor);
	message = message_decode(descriptor, wire->data, wire->size);
	assert(message != NULL);
	return message;
}

static void write_text(const char *name, const ProtobufCMessage *message)
{
	auto_free char *text = golden_text(message);

	write_new(name, ".txt", text, strlen(text));
}

static void make_message(const struct golden_message *format)
{
	auto_message ProtobufCMessage *message = full_message(format->descriptor);
	auto_free uint8_t *data = NULL;
	struct error err;
	size_t size;
	int r = message_encode(message, &data, &size, &err);

	assert(r == 0);
	write_new(format->name, "", data, size);
	write_text(format->name, message);
}

static void make_ttrpc_request(void)
{
	auto_message ProtobufCMessage *message = full_message(&ttrpc__request__descriptor);
	struct ttrpc_header header = {.stream_id = 3, .type = TTRPC_REQUEST};
	struct wire frame = {.size = TTRPC_HEADER_SIZE};

	frame.size += protobuf_c_message_pack(message, frame.data + TTRPC_HEADER_SIZE);
	header.size = (uint32_t) (frame.size - TTRPC_HEADER_SIZE);
	ttrpc_header_write(&header, frame.data);
	write_new("ttrpc-request", "", frame.data, frame.size);
	write_text("ttrpc-request", message);
}

static void put_stream_frame(struct wire *self, enum stream_type type, const void *data, size_t size)
{
	uint8_t header[STREAM_HEADER_SIZE];

	stream_header_write(header, type, (uint32_t) size);
	put(self, header, sizeof(header));
	put(self, data, size);
}

static void make_stream(void)
{
	auto_message ProtobufCMessage *ended = full_message(&hydra__v1__exit_record__descriptor);
	auto_free uint8_t *data = NULL;
	struct wire frames = {.size = 0};
	uint8_t window[4];
	struct error err;
	size_t size;
	int r = message_encode(ended, &data, &size, &err);

	assert(r == 0);
	stream_resize_write(window, 132, 43);
	put_stream_frame(&frames, STREAM_IN, "input\n", 6);
	put_stream_frame(&frames, STREAM_OUT, "output\n", 7);
	put_stream_frame(&frames, STREAM_ERR, "error\n", 6);
	put_stream_frame(&frames, STREAM_RESIZE, window, sizeof(window));
	put_stream_frame(&frames, STREAM_IN_END, "", 0);
	put_stream_frame(&frames, STREAM_EXIT, data, size);
	write_new("stream", "", frames.data, frames.size);
}

static void copy_new(const char *name, int dir_fd)
{
	auto_free char *data = NULL;
	struct error err;
	size_t size;
	int r = file_read(dir_fd, name, 1 << 20, &data, &size, &err);

	assert(r == 0);
	write_new(name, "", data, size);
}

static void make_journal(int dir_fd)
{
	struct journal journal;
	struct error err;
	int r = journal_open(&journal, dir_fd, &err);

	for (int i = 0; i < 2 && r == 0; i++) {
		auto_message ProtobufCMessage *message = full_message(&hydra__v1__event__descriptor);

		r = journal_append(&journal, (event *) (void *) message, &err);
	}
	assert(r == 0);
	journal_close(&journal);
	copy_new("journal", dir_fd);
}

static void queue_put(struct queue *queue, const char *text, bool is_error, uint64_t time_ns)
{
	int ends[2];
	int r = pipe2(ends, O_CLOEXEC | O_NONBLOCK);
	struct queue_source source = {.fd = ends[0], .is_pipe = true, .is_error = is_error};
	size_t size = strlen(text);
	ssize_t got = 0;

	if (r == 0 && fd_write_full(ends[1], text, size) == 0)
		got = queue_read_from(queue, &source, 1 << 20);
	assert(got == (ssize_t) size);
	queue->now.newest.time_ns = time_ns;
	(void) close(ends[0]);
	(void) close(ends[1]);
}

/* Two chunks wait, the first is half written; 5 bytes were dropped and 3 written before. */
static void make_queue(int dir_fd)
{
	struct queue queue;

	queue_init(&queue, dir_fd, false);
	queue_put(&queue, "first chunk\n", false, 111);
	queue_put(&queue, "second\n", true, 222);
	queue.now.read += 8;
	queue.now.written = 3 + 6;
	queue.now.dropped = queue.now.unmarked = 5;
	queue.now.consumed = 6;
	queue.now.rests[1] = (struct queue_rest){.bytes = {0xe2, 0x82}, .size = 2};
	queue.now.read += 2;
	queue.now.intent = (struct queue_intent){.inode = 7, .size_before = 100, .marks = 5, .size = 20, .taken = 6, .consumed = 6, .ends_line = 1};
	queue.now.is_mid_line = 1;
	queue_commit(&queue);
	queue_deinit(&queue);
	copy_new("stdio", dir_fd);
	copy_new("spill", dir_fd);
}

static void put_entry(struct wire *self, const Hydra__V1__LedgerFileEntry *entry)
{
	size_t size = protobuf_c_message_get_packed_size(&entry->base);

	assert(ENTRY_HEADER_SIZE + size <= sizeof(self->data) - self->size);
	(void) protobuf_c_message_pack(&entry->base, self->data + self->size + ENTRY_HEADER_SIZE);
	entry_seal(self->data + self->size, size);
	self->size += ENTRY_HEADER_SIZE + size;
}

/* A header, a subject, an interval, and two changes of another subject. */
static void make_ledger(void)
{
	auto_message ProtobufCMessage *message = full_message(&hydra__v1__ledger_file_entry__descriptor);
	const Hydra__V1__LedgerFileEntry *full = (const void *) message;
	Hydra__V1__LedgerFileEntry entries[5];
	Hydra__V1__LedgerChange changes[2] = {*full->change, *full->change};
	Hydra__V1__LedgerHeader header = *full->header;
	struct wire file = {.size = 0};
	char boot_id[] = "boot", name[] = "ns/web";

	for (size_t i = 0; i < 5; i++)
		hydra__v1__ledger_file_entry__init(&entries[i]);
	header.boot_id = boot_id;
	changes[0].name = changes[1].name = name;
	changes[0].state = HYDRA__V1__LEDGER_STATE__LEDGER_UP;
	changes[0].time_ns = 2000;
	changes[1].state = HYDRA__V1__LEDGER_STATE__LEDGER_UNREACHABLE;
	changes[1].time_ns = 3000;
	entries[0].header = &header;
	entries[1].subject = full->subject;
	entries[2].interval = full->interval;
	entries[3].change = &changes[0];
	entries[4].change = &changes[1];
	for (size_t i = 0; i < 5; i++)
		put_entry(&file, &entries[i]);
	write_new("ledger", "", file.data, file.size);
}

int main(int argc, char **argv)
{
	char work[] = "/tmp/hydra-XXXXXX";
	auto_close int dir_fd = FD_NONE;
	struct error err;

	if (argc != 3 || mkdtemp(work) == NULL) {
		fprintf(stderr, "golden_make: expected FOLDER NUMBER\n");
		return EXIT_FAILURE;
	}
	folder = argv[1];
	number = argv[2];
	dir_fd = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (const struct golden_message *format = golden_messages; format->name != NULL; format++)
		make_message(format);
	make_ttrpc_request();
	make_stream();
	make_journal(dir_fd);
	make_queue(dir_fd);
	make_ledger();
	return dir_remove_all(AT_FDCWD, work, &err) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
