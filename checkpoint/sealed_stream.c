/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/sealed_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "state/crc32c.h"

#define MAGIC       "HYDRASEA"
#define MAGIC_SIZE  8
#define VERSION     1U
#define SALT_SIZE   32
#define CHECK_SIZE  16
#define CRC_SIZE    4
#define HEADER_SIZE (MAGIC_SIZE + 4 + 4 + SALT_SIZE + CHECK_SIZE + CRC_SIZE)
#define SALT_AT     (MAGIC_SIZE + 4 + 4)
#define CHECK_AT    (SALT_AT + SALT_SIZE)
#define CRC_AT      (CHECK_AT + CHECK_SIZE)
#define TAG_SIZE    16
#define NONCE_SIZE  12
#define MAC_SIZE    32

/* A file while it is read or written. */
struct stream {
	uint8_t header[HEADER_SIZE];
	uint8_t key[MAC_SIZE];
	EVP_CIPHER_CTX *cipher;
	uint64_t number; /* of the next chunk */
};

static void put_le32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t) (value >> (8 * i));
}

static uint32_t get_le32(const uint8_t *at)
{
	return (uint32_t) at[0] | (uint32_t) at[1] << 8 | (uint32_t) at[2] << 16 | (uint32_t) at[3] << 24;
}

static int hex_digit(char digit)
{
	const char *digits = "0123456789abcdef", *at = digit != '\0' ? strchr(digits, digit | ((digit >= 'A' && digit <= 'F') ? 0x20 : 0)) : NULL;

	return at != NULL ? (int) (at - digits) : -1;
}

static bool parse_hex(const char *text, size_t size, struct sealed_key *ret_key)
{
	while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
		size--;
	if (size != 2 * (size_t) SEALED_KEY_SIZE)
		return false;
	for (size_t i = 0; i < SEALED_KEY_SIZE; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret_key->bytes[i] = (uint8_t) (high << 4 | low);
	}
	return true;
}

int sealed_key_load(struct sealed_key *ret_self, const char *path, struct error *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[256];
	struct stat status;
	ssize_t size;
	int r = 0;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail_errno(err, errno, "open key file '%s'", path);
	if (S_ISREG(status.st_mode) && (status.st_mode & 077) != 0)
		return fail_because(err, EPERM, "key file '%s' can be read by others: chmod 600 it", path);
	size = read(fd, text, sizeof(text));
	if (size < 0)
		return fail_errno(err, errno, "read key file '%s'", path);
	if (size == SEALED_KEY_SIZE)
		memcpy(ret_self->bytes, text, SEALED_KEY_SIZE);
	else if (!parse_hex(text, (size_t) size, ret_self))
		r = fail_because(err, EINVAL, "key file '%s': expected 32 bytes or 64 hexadecimal digits (openssl rand -hex 32)", path);
	OPENSSL_cleanse(text, sizeof(text));
	return r;
}

void sealed_key_forget(struct sealed_key *self)
{
	OPENSSL_cleanse(self, sizeof(*self));
}

static bool derive(const struct sealed_key *key, const char *purpose, const uint8_t *salt, uint8_t ret_mac[static MAC_SIZE])
{
	uint8_t data[16 + SALT_SIZE] = {0};
	size_t size = 0;

	memcpy(data, purpose, strlen(purpose));
	memcpy(data + 16, salt, SALT_SIZE);
	return EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key->bytes, SEALED_KEY_SIZE, data, sizeof(data), ret_mac, MAC_SIZE, &size) != NULL &&
	       size == MAC_SIZE;
}

static int fail_openssl(struct error *err)
{
	return fail_because(err, EIO, "OpenSSL can't do AES-256-GCM");
}

static int stream_init(struct stream *self, const struct sealed_key *key, struct error *err)
{
	self->cipher = EVP_CIPHER_CTX_new();
	self->number = 0;
	return self->cipher != NULL && derive(key, "hydra file", self->header + SALT_AT, self->key) ? 0 : fail_openssl(err);
}

static void stream_deinit(struct stream *self)
{
	EVP_CIPHER_CTX_free(self->cipher);
	OPENSSL_cleanse(self, sizeof(*self));
}

static void make_nonce(const struct stream *self, uint8_t ret_nonce[static NONCE_SIZE])
{
	memset(ret_nonce, 0, NONCE_SIZE);
	for (int i = 0; i < 8; i++)
		ret_nonce[4 + i] = (uint8_t) (self->number >> (8 * i));
}

/* In place; the tag is behind. is_sealing false: the tag is compared. */
static bool crypt_chunk(struct stream *self, uint8_t *data, size_t size, bool is_last, bool is_sealing)
{
	uint8_t nonce[NONCE_SIZE], last = is_last;
	int part = 0, rest = 0;
	bool fits;

	make_nonce(self, nonce);
	self->number++;
	fits = EVP_CipherInit_ex(self->cipher, EVP_aes_256_gcm(), NULL, self->key, nonce, is_sealing) == 1 &&
	       EVP_CipherUpdate(self->cipher, NULL, &part, self->header, HEADER_SIZE) == 1 &&
	       EVP_CipherUpdate(self->cipher, NULL, &part, &last, 1) == 1;
	if (fits && !is_sealing)
		fits = EVP_CIPHER_CTX_ctrl(self->cipher, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, data + size) == 1;
	part = 0;
	if (fits && size > 0)
		fits = EVP_CipherUpdate(self->cipher, data, &part, data, (int) size) == 1;
	fits = fits && EVP_CipherFinal_ex(self->cipher, data + part, &rest) == 1 && (size_t) part == size;
	if (fits && is_sealing)
		fits = EVP_CIPHER_CTX_ctrl(self->cipher, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, data + size) == 1;
	return fits;
}

/* As much as there is, up to size. */
static int read_up_to(int fd, uint8_t *data, size_t size, size_t *ret_got, struct error *err)
{
	size_t got = 0;

	while (got < size) {
		ssize_t part = read(fd, data + got, size - got);

		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			return fail_errno(err, errno, "read");
		if (part == 0)
			break;
		got += (size_t) part;
	}
	*ret_got = got;
	return 0;
}

static int write_all(int fd, const void *data, size_t size, struct error *err)
{
	int r = fd_write_full(fd, data, size);

	return r < 0 ? fail_errno(err, -r, "write") : 0;
}

/* Chunk after chunk: whether one is the last is only known when the next one was looked for. */
static int pump(struct stream *stream, int in_fd, int out_fd, bool is_sealing, struct error *err)
{
	size_t in_size = SEALED_CHUNK_BYTES + (is_sealing ? 0 : TAG_SIZE), got = 0, next_got = 0;
	auto_free uint8_t *buffers = malloc(2 * ((size_t) SEALED_CHUNK_BYTES + TAG_SIZE));
	uint8_t *data = buffers, *next = buffers + SEALED_CHUNK_BYTES + TAG_SIZE;
	int r = buffers == NULL ? fail_errno(err, ENOMEM, "encrypt") : read_up_to(in_fd, data, in_size, &got, err);

	while (r == 0) {
		uint8_t *done = data;
		size_t size = is_sealing || got < TAG_SIZE ? got : got - TAG_SIZE;

		r = read_up_to(in_fd, next, in_size, &next_got, err);
		if (r == 0 && (!is_sealing && got < TAG_SIZE))
			r = fail_because(err, EBADMSG, "it was cut off");
		if (r == 0 && !crypt_chunk(stream, data, size, next_got == 0, is_sealing))
			r = is_sealing ? fail_openssl(err) : fail_because(err, EBADMSG, "it was damaged or cut off (chunk %llu)",
									  (unsigned long long) stream->number);
		if (r == 0)
			r = write_all(out_fd, data, is_sealing ? size + TAG_SIZE : size, err);
		if (next_got == 0)
			break;
		data = next;
		next = done;
		got = next_got;
	}
	if (buffers != NULL)
		OPENSSL_cleanse(buffers, 2 * ((size_t) SEALED_CHUNK_BYTES + TAG_SIZE));
	return r;
}

int sealed_write(int in_fd, int out_fd, const struct sealed_key *key, struct error *err)
{
	struct stream stream = {.cipher = NULL};
	uint8_t check[MAC_SIZE];
	int r;

	memcpy(stream.header, MAGIC, MAGIC_SIZE);
	put_le32(stream.header + MAGIC_SIZE, VERSION);
	put_le32(stream.header + MAGIC_SIZE + 4, SEALED_CHUNK_BYTES);
	if (RAND_bytes(stream.header + SALT_AT, SALT_SIZE) != 1 || !derive(key, "hydra check", stream.header + SALT_AT, check))
		return fail_openssl(err);
	memcpy(stream.header + CHECK_AT, check, CHECK_SIZE);
	put_le32(stream.header + CRC_AT, crc32c(stream.header, CRC_AT));
	r = stream_init(&stream, key, err);
	if (r == 0)
		r = write_all(out_fd, stream.header, HEADER_SIZE, err);
	if (r == 0)
		r = pump(&stream, in_fd, out_fd, true, err);
	stream_deinit(&stream);
	return r;
}

static int check_header(const uint8_t *header, size_t size, const struct sealed_key *key, struct error *err)
{
	uint8_t check[MAC_SIZE];

	if (size < HEADER_SIZE || memcmp(header, MAGIC, MAGIC_SIZE) != 0)
		return fail_because(err, EBADMSG, "it is no encrypted checkpoint, or its beginning was damaged");
	if (crc32c(header, CRC_AT) != get_le32(header + CRC_AT))
		return fail_because(err, EBADMSG, "its beginning was damaged");
	if (get_le32(header + MAGIC_SIZE) != VERSION || get_le32(header + MAGIC_SIZE + 4) != SEALED_CHUNK_BYTES)
		return fail_because(err, EPROTO, "it has version %u, this program knows %u", get_le32(header + MAGIC_SIZE), VERSION);
	if (!derive(key, "hydra check", header + SALT_AT, check))
		return fail_openssl(err);
	if (CRYPTO_memcmp(check, header + CHECK_AT, CHECK_SIZE) != 0)
		return fail_because(err, EKEYREJECTED, "it was encrypted with another key");
	return 0;
}

int sealed_read(int in_fd, int out_fd, const struct sealed_key *key, struct error *err)
{
	struct stream stream = {.cipher = NULL};
	size_t got = 0;
	int r = read_up_to(in_fd, stream.header, HEADER_SIZE, &got, err);

	if (r == 0)
		r = check_header(stream.header, got, key, err);
	if (r == 0)
		r = stream_init(&stream, key, err);
	if (r == 0)
		r = pump(&stream, in_fd, out_fd, false, err);
	stream_deinit(&stream);
	return r;
}
