/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that nobody reads or changes without a key: chunks encrypted and authenticated with AES-256-GCM, whose place and whose being
 * the last one are authenticated too. What comes out of sealed_read() is what went in, up to where it failed.
 *
 *   "HYDRASEA", version (le32, 1), bytes of a chunk (le32), salt (32), check of the key (16), CRC-32C of all that (le32)
 *   chunks: ciphertext, tag (16); all but the last are full
 *
 * The key of a file is HMAC-SHA-256 of the salt under the user's key, so that numbers serve as nonces.
 */
#pragma once

#include "base/error.h"

#include <stdint.h>

#define SEALED_KEY_SIZE    32
#define SEALED_CHUNK_BYTES (1U << 20)

struct sealed_key {
	uint8_t bytes[SEALED_KEY_SIZE];
};

/* A file with 32 bytes, or 64 hexadecimal digits and perhaps a line end. -EINVAL: it is no key; -EPERM: others may read it. */
int sealed_key_load(struct sealed_key *ret_self, const char *path, struct error *err);
void sealed_key_forget(struct sealed_key *self);

/* From in_fd to its end, to out_fd. */
int sealed_write(int in_fd, int out_fd, const struct sealed_key *key, struct error *err);
/* The reverse. -EKEYREJECTED: it is of another key; -EBADMSG: it was damaged, or a part is missing. */
int sealed_read(int in_fd, int out_fd, const struct sealed_key *key, struct error *err);
