/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/golden.h"

#include "checkpoint.pb-c.h"
#include "container.pb-c.h"
#include "daemon.pb-c.h"
#include "handoff.pb-c.h"
#include "ledger.pb-c.h"
#include "seal.pb-c.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct golden_message golden_messages[] = {
	{"record", &hydra__v1__container_record__descriptor},
	{"exit", &hydra__v1__exit_record__descriptor},
	{"handover", &hydra__v1__handover_record__descriptor},
	{"checkpoint", &hydra__v1__checkpoint_metadata__descriptor},
	{"sealed-shim", &hydra__v1__sealed_shim__descriptor},
	{"sealed-monitor", &hydra__v1__sealed_monitor__descriptor},
	{"ledger-entry", &hydra__v1__ledger_file_entry__descriptor},
	{"sealed-daemon", &hydra__v1__sealed_daemon__descriptor},
	{"handoff-hello", &hydra__v1__handoff_hello__descriptor},
	{"handoff-offer", &hydra__v1__handoff_offer__descriptor},
	{"handoff-answer", &hydra__v1__handoff_answer__descriptor},
	{"handoff-stage", &hydra__v1__handoff_stage__descriptor},
	{"migration", &hydra__v1__migration_status__descriptor},
	{"hosts", &hydra__v1__known_hosts__descriptor},
	{NULL, NULL},
};

static void print_message(FILE *out, const char *prefix, const ProtobufCMessage *message);

static uint64_t number_of(const ProtobufCFieldDescriptor *field, const void *value)
{
	uint64_t wide = 0;
	int32_t narrow;

	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_INT64:
		memcpy(&wide, value, sizeof(wide));
		return wide;
	default:
		memcpy(&narrow, value, sizeof(narrow));
		return (uint64_t) (int64_t) narrow;
	}
}

static void print_number(FILE *out, const char *path, const ProtobufCFieldDescriptor *field, uint64_t number)
{
	const ProtobufCEnumValue *name;

	if (number == 0)
		return;
	name = field->type == PROTOBUF_C_TYPE_ENUM ? protobuf_c_enum_descriptor_get_value(field->descriptor, (int) number) : NULL;
	if (name != NULL)
		fprintf(out, "%s: %s\n", path, name->name);
	else
		fprintf(out, "%s: %" PRIu64 "\n", path, number);
}

static void print_value(FILE *out, const char *path, const ProtobufCFieldDescriptor *field, const void *value)
{
	ProtobufCBinaryData bytes;
	const void *pointer;

	switch (field->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
	case PROTOBUF_C_TYPE_STRING:
		memcpy(&pointer, value, sizeof(pointer));
		if (pointer != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE)
			print_message(out, path, pointer);
		else if (pointer != NULL && *(const char *) pointer != '\0')
			fprintf(out, "%s: \"%s\"\n", path, (const char *) pointer);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		memcpy(&bytes, value, sizeof(bytes));
		if (bytes.len > 0)
			fprintf(out, "%s: %.*s\n", path, (int) bytes.len, (const char *) bytes.data);
		break;
	default:
		print_number(out, path, field, number_of(field, value));
		break;
	}
}

static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_MESSAGE:
	case PROTOBUF_C_TYPE_STRING:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_INT64:
		return sizeof(uint64_t);
	default:
		return sizeof(uint32_t);
	}
}

static void print_field(FILE *out, const char *prefix, const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
	const char *base = (const char *) (const void *) message;
	const char *items;
	char path[256];
	size_t count;

	if (field->label != PROTOBUF_C_LABEL_REPEATED) {
		(void) snprintf(path, sizeof(path), "%s%s", prefix, field->name);
		print_value(out, path, field, base + field->offset);
		return;
	}
	memcpy(&count, base + field->quantifier_offset, sizeof(count));
	memcpy(&items, base + field->offset, sizeof(items));
	for (size_t i = 0; i < count; i++) {
		(void) snprintf(path, sizeof(path), "%s%s[%zu]", prefix, field->name, i);
		print_value(out, path, field, items + i * value_size(field->type));
	}
}

static void print_message(FILE *out, const char *prefix, const ProtobufCMessage *message)
{
	char path[256];

	(void) snprintf(path, sizeof(path), "%s%s", prefix, prefix[0] != '\0' ? "." : "");
	for (unsigned i = 0; i < message->descriptor->n_fields; i++)
		print_field(out, path, &message->descriptor->fields[i], message);
}

char *golden_text(const ProtobufCMessage *message)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert(out != NULL);
	print_message(out, "", message);
	(void) fclose(out);
	return text;
}
