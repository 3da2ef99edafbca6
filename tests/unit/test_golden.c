/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/stream.h"
#include "proto/ttrpc_frame.h"
#include "proto/ttrpc_seal.h"
#include "shim/queue.h"
#include "state/exit_record.h"
#include "state/journal.h"
#include "state/record.h"
#include "tests/unit/golden.h"
#include "tests/unit/harness.h"
#include "ttrpc.pb-c.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct bytes {
	char *data;
	size_t size;
};

static void bytes_release(struct bytes *self)
{
	free(self->data);
}
#define auto_bytes __attribute__((cleanup(bytes_release))) struct bytes

/* False: there is no such sample. */
static bool sample_load(const char *name, unsigned number, const char *suffix, struct bytes *ret_bytes)
{
	auto_free char *path = text_format(GOLDEN_FOLDER "/%s.%u%s", name, number, suffix);
	struct error err;

	return file_read(AT_FDCWD, path, 1 << 20, &ret_bytes->data, &ret_bytes->size, &err) == 0;
}

static ProtobufCMessage *sample_decode(const char *name, const ProtobufCMessageDescriptor *descriptor)
{
	auto_bytes bytes = {NULL, 0};

	CHECK(sample_load(name, 1, "", &bytes));
	return message_decode(descriptor, (uint8_t *) bytes.data, bytes.size);
}

static bool says(const ProtobufCMessage *message, const char *name, unsigned number)
{
	auto_bytes expected = {NULL, 0};
	auto_free char *text = message != NULL ? golden_text(message) : NULL;

	if (text != NULL && sample_load(name, number, ".txt", &expected) && strcmp(text, expected.data) == 0)
		return true;
	printf("# sample %s.%u is not read as %s.%u.txt says\n", name, number, name, number);
	return false;
}

static bool encodes_to(const ProtobufCMessage *message, const char *data, size_t size)
{
	auto_free uint8_t *encoded = NULL;
	struct error err;
	size_t encoded_size;

	return message_encode(message, &encoded, &encoded_size, &err) == 0 && encoded_size == size && memcmp(encoded, data, size) == 0;
}

static void folder_make(char path[static 32], int *ret_fd)
{
	(void) snprintf(path, 32, "/tmp/hydra-XXXXXX");
	CHECK(mkdtemp(path) != NULL);
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void folder_remove(const char *path, int fd)
{
	struct error err;

	(void) close(fd);
	CHECK(dir_remove_all(AT_FDCWD, path, &err) == 0);
}

TEST(every_message_of_every_version_is_read_and_written_as_it_was)
{
	for (const struct golden_message *format = golden_messages; format->name != NULL; format++) {
		unsigned number = 1;

		for (;; number++) {
			auto_bytes sample = {NULL, 0};
			auto_message ProtobufCMessage *message = NULL;

			if (!sample_load(format->name, number, "", &sample))
				break;
			message = message_decode(format->descriptor, (uint8_t *) sample.data, sample.size);
			CHECK(says(message, format->name, number));
			CHECK(message != NULL && encodes_to(message, sample.data, sample.size));
		}
		CHECK(number > 1);
	}
}

TEST(a_field_of_a_later_version_is_ignored_and_kept)
{
	static const char later[] = {(char) 0xa2, 0x1f, 5, 'l', 'a', 't', 'e', 'r'}; /* field 500 */

	for (const struct golden_message *format = golden_messages; format->name != NULL; format++) {
		auto_bytes sample = {NULL, 0};
		auto_free char *longer = NULL;
		auto_message ProtobufCMessage *message = NULL;

		CHECK(sample_load(format->name, 1, "", &sample));
		longer = malloc(sample.size + sizeof(later));
		memcpy(longer, sample.data, sample.size);
		memcpy(longer + sample.size, later, sizeof(later));
		message = message_decode(format->descriptor, (uint8_t *) longer, sample.size + sizeof(later));
		CHECK(says(message, format->name, 1));
		CHECK(message != NULL && encodes_to(message, longer, sample.size + sizeof(later)));
	}
}

TEST(a_record_that_was_written_is_accepted_and_a_later_one_refused)
{
	auto_record *sample = (record *) (void *) sample_decode("record", &hydra__v1__container_record__descriptor);
	auto_record *loaded = NULL;
	struct error err;
	char path[32];
	int dir_fd;

	folder_make(path, &dir_fd);
	CHECK(record_save(dir_fd, sample, &err) == 0 && record_load(dir_fd, &loaded, &err) == 0);
	record_free(loaded);
	loaded = NULL;
	sample->version = RECORD_VERSION + 1;
	CHECK(record_save(dir_fd, sample, &err) == 0 && record_load(dir_fd, &loaded, &err) == -EPROTO);
	CHECK(strcmp(err.message, "the record has version 2, this program knows up to 1") == 0 && loaded == NULL);
	folder_remove(path, dir_fd);
}

TEST(an_exit_record_that_was_written_is_accepted_and_a_later_one_refused)
{
	auto_message exit_record *sample = (exit_record *) (void *) sample_decode("exit", &hydra__v1__exit_record__descriptor);
	auto_message exit_record *loaded = NULL;
	struct error err;
	char path[32];
	int dir_fd;

	folder_make(path, &dir_fd);
	CHECK(exit_record_save(dir_fd, sample, &err) == 0 && exit_record_load(dir_fd, sample->exec_id, &loaded, &err) == 0);
	message_free(loaded);
	loaded = NULL;
	sample->version = EXIT_RECORD_VERSION + 1;
	CHECK(exit_record_save(dir_fd, sample, &err) == 0 && exit_record_load(dir_fd, sample->exec_id, &loaded, &err) == -EPROTO);
	CHECK(strcmp(err.message, "the exit record has version 2, this program knows up to 1") == 0 && loaded == NULL);
	folder_remove(path, dir_fd);
}

/* The three messages begin alike; what differs is behind. */
static void check_seal(const char *program_version, uint32_t version, const Hydra__V1__SealedServer *server)
{
	struct error err;

	CHECK(seal_check(program_version, version, 0, server, &err) == 0);
	CHECK(seal_check(program_version, version + 1, 0, server, &err) == -EPROTO);
	CHECK(strcmp(err.message, "the state of version program_version-0 has format 2; version " HYDRA_VERSION " knows format 1") == 0);
	CHECK(seal_check(program_version, version, 1ULL << 63, server, &err) == -EPROTO);
	CHECK(strstr(err.message, "version program_version-0 needs what version " HYDRA_VERSION " does not know") != NULL);
}

TEST(a_sealed_state_is_accepted_and_one_with_a_later_version_or_an_unknown_need_refused)
{
	auto_message Hydra__V1__SealedShim *shim = (void *) sample_decode("sealed-shim", &hydra__v1__sealed_shim__descriptor);
	auto_message Hydra__V1__SealedMonitor *monitor = (void *) sample_decode("sealed-monitor", &hydra__v1__sealed_monitor__descriptor);
	auto_message Hydra__V1__SealedDaemon *daemon = (void *) sample_decode("sealed-daemon", &hydra__v1__sealed_daemon__descriptor);

	check_seal(shim->program_version, shim->version, shim->server);
	check_seal(monitor->program_version, monitor->version, monitor->server);
	check_seal(daemon->program_version, daemon->version, daemon->server);
}

static bool append_again(const event *entry, void *context)
{
	auto_message ProtobufCMessage *copy = message_copy(&entry->base);
	struct journal *journal = context;
	struct error err;

	CHECK(entry->sequence == journal->last_sequence + 1 && entry->time_ns == 200 && strcmp(entry->type, "type-0") == 0);
	CHECK(strcmp(entry->detail, "detail-0") == 0 && entry->exit->exit_code == 500 && entry->exit->usage->user_us == 100);
	CHECK(journal_append(journal, (event *) (void *) copy, &err) == 0);
	return true;
}

TEST(a_journal_is_read_and_written_as_it_was)
{
	auto_bytes sample = {NULL, 0};
	auto_bytes again = {NULL, 0};
	struct journal journal;
	struct error err;
	char path[32];
	int dir_fd;

	folder_make(path, &dir_fd);
	CHECK(sample_load("journal", 1, "", &sample) && journal_open(&journal, dir_fd, &err) == 0);
	CHECK(journal_parse((uint8_t *) sample.data, sample.size, append_again, &journal) == sample.size);
	CHECK(journal.last_sequence == 2);
	journal_close(&journal);
	CHECK(file_read(dir_fd, "journal", JOURNAL_FILE_MAX, &again.data, &again.size, &err) == 0);
	CHECK(again.size == sample.size && memcmp(again.data, sample.data, sample.size) == 0);
	folder_remove(path, dir_fd);
}

static void copy_sample(const char *name, int dir_fd)
{
	auto_bytes sample = {NULL, 0};
	struct error err;

	CHECK(sample_load(name, 1, "", &sample) && file_replace_fast(dir_fd, name, sample.data, sample.size, 0600, &err) == 0);
}

static void check_queue(struct queue *queue)
{
	static uint8_t bytes[QUEUE_CHUNK_MAX];
	struct queue_state *now = &queue->now;
	struct queue_chunk chunk;

	CHECK(now->read == 29 && now->written == 9 && now->dropped == 5 && now->unmarked == 5 && now->consumed == 6);
	CHECK(now->rests[0].size == 0 && now->rests[1].size == 2 && memcmp(now->rests[1].bytes, "\xe2\x82", 2) == 0);
	CHECK(now->intent.inode == 7 && now->intent.size_before == 100 && now->intent.marks == 5 && now->intent.size == 20);
	CHECK(now->intent.taken == 6 && now->intent.consumed == 6 && now->intent.ends_line == 1 && now->intent.is_error == 0);
	CHECK(now->is_mid_line && !now->is_filling && !now->is_in_memory && queue_pending(queue) == 15);
	CHECK(queue_peek(queue, bytes, &chunk) == 6 && memcmp(bytes, "chunk\n", 6) == 0 && chunk.time_ns == 111 && !chunk.is_error);
	queue_fulfil(queue);
	CHECK(now->written == 15 && now->unmarked == 0 && !now->is_mid_line);
	CHECK(queue_peek(queue, bytes, &chunk) == 7 && memcmp(bytes, "second\n", 7) == 0 && chunk.time_ns == 222 && chunk.is_error);
}

TEST(output_that_waits_is_found_where_it_was)
{
	struct queue queue;
	char path[32];
	int dir_fd;

	if (htole32(1) != 1)
		return; /* the page never leaves its machine: the sample is of one with the little end first */
	folder_make(path, &dir_fd);
	copy_sample("stdio", dir_fd);
	copy_sample("spill", dir_fd);
	queue_init(&queue, dir_fd, false);
	check_queue(&queue);
	queue_deinit(&queue);
	folder_remove(path, dir_fd);
}

TEST(a_ttrpc_request_is_read_and_written_as_it_was)
{
	auto_bytes sample = {NULL, 0};
	auto_message ProtobufCMessage *request = NULL;
	struct ttrpc_reader reader = {0};
	uint8_t header[TTRPC_HEADER_SIZE];
	size_t taken;

	CHECK(sample_load("ttrpc-request", 1, "", &sample));
	CHECK(ttrpc_reader_push(&reader, (uint8_t *) sample.data, sample.size, &taken) == TTRPC_READER_FRAME && taken == sample.size);
	CHECK(reader.header.type == TTRPC_REQUEST && reader.header.stream_id == 3 && reader.header.flags == 0);
	request = message_decode(&ttrpc__request__descriptor, reader.data, reader.header.size);
	CHECK(says(request, "ttrpc-request", 1));
	ttrpc_header_write(&reader.header, header);
	CHECK(memcmp(header, sample.data, sizeof(header)) == 0);
	CHECK(request != NULL && encodes_to(request, sample.data + sizeof(header), sample.size - sizeof(header)));
	ttrpc_reader_deinit(&reader);
}

static const struct {
	enum stream_type type;
	const char *text; /* NULL: an exit record */
	size_t size;
} frames[] = {
	{STREAM_IN, "input\n", 6}, {STREAM_OUT, "output\n", 7}, {STREAM_ERR, "error\n", 6}, {STREAM_RESIZE, "\0\x84\0\x2b", 4},
	{STREAM_IN_END, "", 0},    {STREAM_EXIT, NULL, 0},
};

/* Gives the size of the frame at bytes. */
static size_t check_frame(size_t index, const uint8_t *bytes, size_t size)
{
	auto_message ProtobufCMessage *ended = NULL;
	uint8_t again[STREAM_HEADER_SIZE];
	struct stream_header header = {0};
	const uint8_t *data = bytes + STREAM_HEADER_SIZE;

	CHECK(size >= STREAM_HEADER_SIZE && stream_header_read(bytes, &header) && header.type == frames[index].type);
	stream_header_write(again, header.type, header.size);
	CHECK(memcmp(again, bytes, sizeof(again)) == 0 && header.size <= size - STREAM_HEADER_SIZE);
	if (frames[index].text != NULL) {
		CHECK(header.size == frames[index].size && memcmp(data, frames[index].text, header.size) == 0);
	} else {
		ended = message_decode(&hydra__v1__exit_record__descriptor, data, header.size);
		CHECK(says(ended, "exit", 1));
	}
	return STREAM_HEADER_SIZE + header.size;
}

TEST(the_frames_of_a_session_are_read_and_written_as_they_were)
{
	auto_bytes sample = {NULL, 0};
	unsigned columns, rows;
	size_t at = 0;

	CHECK(sample_load("stream", 1, "", &sample));
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]) && at < sample.size; i++)
		at += check_frame(i, (uint8_t *) sample.data + at, sample.size - at);
	CHECK(at == sample.size);
	CHECK(stream_resize_read((const uint8_t *) frames[3].text, 4, &columns, &rows) && columns == 132 && rows == 43);
}
