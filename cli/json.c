/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages as JSON, from their descriptors: what proto/ gains appears here by itself.
 */
#include "base/text.h"
#include "cli/cli.h"
#include "state/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

static yyjson_mut_val *json_of(yyjson_mut_doc *doc, const ProtobufCMessage *message);

static yyjson_mut_val *camel_case(yyjson_mut_doc *doc, const char *name)
{
	char buffer[64];
	size_t size = 0;
	bool upper = false;

	for (; *name != '\0' && size + 1 < sizeof(buffer); name++) {
		if (*name == '_')
			upper = true;
		else
			buffer[size++] = upper && *name >= 'a' && *name <= 'z' ? (char) (*name - 32) : *name;
		upper = *name == '_';
	}
	return yyjson_mut_strncpy(doc, buffer, size);
}

static yyjson_mut_val *json_of_enum(yyjson_mut_doc *doc, const ProtobufCFieldDescriptor *field, int value)
{
	const ProtobufCEnumDescriptor *descriptor = field->descriptor;
	const ProtobufCEnumValue *named;

	if (strcmp(descriptor->short_name, "ContainerState") == 0)
		return yyjson_mut_str(doc, state_name((Hydra__V1__ContainerState) value));
	if (strcmp(descriptor->short_name, "LedgerState") == 0)
		return yyjson_mut_str(doc, ledger_state_name((Hydra__V1__LedgerState) value));
	named = protobuf_c_enum_descriptor_get_value(descriptor, value);
	return named != NULL ? yyjson_mut_str(doc, named->name) : yyjson_mut_int(doc, value);
}

static yyjson_mut_val *json_of_value(yyjson_mut_doc *doc, const ProtobufCFieldDescriptor *field, const void *value)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return yyjson_mut_int(doc, *(const int32_t *) value);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return yyjson_mut_uint(doc, *(const uint32_t *) value);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return yyjson_mut_int(doc, *(const int64_t *) value);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return yyjson_mut_uint(doc, *(const uint64_t *) value);
	case PROTOBUF_C_TYPE_BOOL:
		return yyjson_mut_bool(doc, *(const protobuf_c_boolean *) value);
	case PROTOBUF_C_TYPE_ENUM:
		return json_of_enum(doc, field, *(const int *) value);
	case PROTOBUF_C_TYPE_STRING:
		return yyjson_mut_strcpy(doc, *(char *const *) value != NULL ? *(char *const *) value : "");
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(ProtobufCMessage *const *) value != NULL ? json_of(doc, *(ProtobufCMessage *const *) value)
								  : yyjson_mut_null(doc);
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
	case PROTOBUF_C_TYPE_BYTES:
		break;
	}
	return yyjson_mut_null(doc);
}

static size_t size_of(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		return sizeof(uint64_t);
	default:
		return sizeof(uint32_t);
	}
}

static yyjson_mut_val *json_of_field(yyjson_mut_doc *doc, const ProtobufCFieldDescriptor *field, const char *message)
{
	const char *place = message + field->offset;
	yyjson_mut_val *array;

	if (field->label != PROTOBUF_C_LABEL_REPEATED)
		return json_of_value(doc, field, place);
	array = yyjson_mut_arr(doc);
	for (size_t i = 0; i < *(const size_t *) (const void *) (message + field->quantifier_offset); i++)
		(void) yyjson_mut_arr_append(array, json_of_value(doc, field, *(const char *const *) (const void *) place +
									     i * size_of(field)));
	return array;
}

static yyjson_mut_val *json_of(yyjson_mut_doc *doc, const ProtobufCMessage *message)
{
	yyjson_mut_val *object = yyjson_mut_obj(doc);

	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		yyjson_mut_val *value = json_of_field(doc, field, (const char *) (const void *) message);

		(void) yyjson_mut_obj_add(object, camel_case(doc, field->name), value);
	}
	return object;
}

static char *write_and_free(yyjson_mut_doc *doc, bool pretty)
{
	char *json = yyjson_mut_write(doc, pretty ? YYJSON_WRITE_PRETTY : 0, NULL);

	yyjson_mut_doc_free(doc);
	return json != NULL ? json : text_copy("null");
}

char *json_of_message(const ProtobufCMessage *message, bool pretty)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);

	yyjson_mut_doc_set_root(doc, json_of(doc, message));
	return write_and_free(doc, pretty);
}

char *json_of_view(const struct container_view *view, bool pretty)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = json_of(doc, &view->record->base);

	(void) yyjson_mut_obj_remove_key(root, "state");
	(void) yyjson_mut_obj_add_str(doc, root, "state", view->state);
	(void) yyjson_mut_obj_add_bool(doc, root, "isReachable", view->is_reachable);
	(void) yyjson_mut_obj_add_val(doc, root, "exit", view->exit != NULL ? json_of(doc, &view->exit->base) : yyjson_mut_null(doc));
	yyjson_mut_doc_set_root(doc, root);
	return write_and_free(doc, pretty);
}
