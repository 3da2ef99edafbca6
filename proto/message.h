/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf messages from and to bytes, with a bound on what decoding may allocate.
 */
#pragma once

#include "base/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory one decoded message may take. */
#define MESSAGE_MEMORY_MAX (16U << 20)

/* Decodes; NULL when the bytes are no such message or would take more than MESSAGE_MEMORY_MAX. */
ProtobufCMessage *message_decode(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size);
/* Accepts NULL. */
void message_free(void *message);
/* *ret_data is the caller's to free. */
int message_encode(const ProtobufCMessage *message, uint8_t **ret_data, size_t *ret_size, struct error *err);
/* A deep copy; NULL when memory ran out. */
ProtobufCMessage *message_copy(const ProtobufCMessage *message);

void message_release(void *pointer);
#define auto_message __attribute__((cleanup(message_release)))

/* Replaces a string field, freeing the old one; NULL and "" mean empty. False when memory ran out. */
bool message_set_string(char **field, const char *value);
/* The same for a repeated field. */
bool message_set_strings(char ***field, size_t *field_count, const char *const *values, size_t count);
