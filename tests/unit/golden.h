/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The samples in tests/unit/golden/: NAME.N is a format as it was written when N was made, NAME.N.txt says what is in it.
 * A sample is never changed: it stands for what some host still has. New ones are added by golden_make.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

/* A file that is one message. */
struct golden_message {
	const char *name;
	const ProtobufCMessageDescriptor *descriptor;
};

/* Ends with a name of NULL. */
extern const struct golden_message golden_messages[];

/* A line for each field that is not empty, "log.format: LOG_FORMAT_CRI"; the caller frees. */
char *golden_text(const ProtobufCMessage *message);
