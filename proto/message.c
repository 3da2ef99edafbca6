/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct budget {
	size_t left;
};

/* Only growth counts: a hostile message asks for much at once, it does not allocate and free. */
static void *bounded_alloc(void *data, size_t size)
{
	struct budget *budget = data;

	if (size > budget->left)
		return NULL;
	budget->left -= size;
	return malloc(size > 0 ? size : 1);
}

static void bounded_free(void *data, void *pointer)
{
	(void) data;
	free(pointer);
}

static bool has_field_zero(const ProtobufCMessage *message);

static bool has_field_zero_in(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const char *place = (const char *) (const void *) message + field->offset;
	const ProtobufCMessage *item;
	ProtobufCMessage *const *items;
	size_t count;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	if (field->label != PROTOBUF_C_LABEL_REPEATED) {
		memcpy(&item, place, sizeof(item));
		return item != NULL && has_field_zero(item);
	}
	memcpy(&items, place, sizeof(items));
	memcpy(&count, (const char *) (const void *) message + field->quantifier_offset, sizeof(count));
	for (size_t i = 0; i < count; i++) {
		if (has_field_zero(items[i]))
			return true;
	}
	return false;
}

/* Field number 0 is illegal; protobuf-c reads it as an unknown field and writes something else for it. */
static bool has_field_zero(const ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->n_unknown_fields; i++) {
		if (message->unknown_fields[i].tag == 0)
			return true;
	}
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		if (has_field_zero_in(message, &message->descriptor->fields[i]))
			return true;
	}
	return false;
}

ProtobufCMessage *message_decode(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size)
{
	struct budget budget = {.left = MESSAGE_MEMORY_MAX};
	ProtobufCAllocator allocator = {.alloc = bounded_alloc, .free = bounded_free, .allocator_data = &budget};
	ProtobufCMessage *message;

	/* "" decodes to a message of defaults; protobuf-c wants a pointer all the same */
	message = protobuf_c_message_unpack(descriptor, &allocator, size, data != NULL ? data : (const uint8_t *) "");
	if (message == NULL || !has_field_zero(message))
		return message;
	message_free(message);
	return NULL;
}

void message_free(void *message)
{
	if (message != NULL)
		protobuf_c_message_free_unpacked(message, NULL);
}

void message_release(void *pointer)
{
	message_free(*(void **) pointer);
}

int message_encode(const ProtobufCMessage *message, uint8_t **ret_data, size_t *ret_size, struct error *err)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *data = malloc(size + 1);

	if (data == NULL)
		return fail_errno(err, ENOMEM, "encode %s", message->descriptor->name);
	(void) protobuf_c_message_pack(message, data);
	*ret_data = data;
	*ret_size = size;
	return 0;
}

ProtobufCMessage *message_copy(const ProtobufCMessage *message)
{
	struct error ignored;
	ProtobufCMessage *copy;
	uint8_t *data = NULL;
	size_t size = 0;

	if (message_encode(message, &data, &size, &ignored) < 0)
		return NULL;
	copy = message_decode(message->descriptor, data, size);
	free(data);
	return copy;
}

bool message_set_string(char **field, const char *value)
{
	char *copy = (char *) (uintptr_t) protobuf_c_empty_string;

	if (value != NULL && value[0] != '\0')
		copy = strdup(value);
	if (copy == NULL)
		return false;
	if (*field != NULL && *field != protobuf_c_empty_string)
		free(*field);
	*field = copy;
	return true;
}

bool message_set_strings(char ***field, size_t *field_count, const char *const *values, size_t count)
{
	char **list = calloc(count + 1, sizeof(*list));
	size_t copied = 0;

	while (list != NULL && copied < count && (list[copied] = strdup(values[copied])) != NULL)
		copied++;
	if (list == NULL || copied < count) {
		while (copied > 0)
			free(list[--copied]);
		free(list);
		return false;
	}
	for (size_t i = 0; i < *field_count; i++)
		free((*field)[i]);
	free(*field);
	*field = list;
	*field_count = count;
	return true;
}
