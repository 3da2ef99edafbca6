/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/seccomp_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <seccomp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#define FOLDER     "hydra/.seccomp"
#define PREFIX     "filter-"
#define FILES_MAX  64U
#define KEY_MAX    (1U << 20)
#define FNV_OFFSET 0xcbf29ce484222325U
#define FNV_PRIME  0x100000001b3U

/* In front of the key and the instructions. */
struct cache_head {
	char magic[8];
	uint32_t key_size, count;
};

static const char magic[8] = "hydrabpf";

static void put_size(struct text *to, size_t size)
{
	text_add_bytes(to, &size, sizeof(size));
}

static void put(struct text *to, const char *word)
{
	size_t size = word != NULL ? strlen(word) : 0;

	put_size(to, size);
	if (size > 0)
		text_add_bytes(to, word, size);
}

static void put_all(struct text *to, const struct json_strings *words)
{
	put_size(to, words->count);
	for (size_t i = 0; i < words->count; i++)
		put(to, words->items[i]);
}

static void put_number(struct text *to, const struct json_uint *number)
{
	char is_set = number->is_set ? 1 : 0;

	text_add_bytes(to, &is_set, 1);
	text_add_bytes(to, &number->value, sizeof(number->value));
}

static void put_rule(struct text *to, const struct spec_seccomp_rule *rule)
{
	put_all(to, &rule->names);
	put(to, rule->action);
	put_number(to, &rule->errno_value);
	put_size(to, rule->arguments.count);
	for (size_t i = 0; i < rule->arguments.count; i++) {
		put_number(to, &rule->arguments.items[i].index);
		put_number(to, &rule->arguments.items[i].value);
		put_number(to, &rule->arguments.items[i].value_two);
		put(to, rule->arguments.items[i].operator);
	}
}

void seccomp_cache_key(const struct spec_seccomp *seccomp, char **ret_key, size_t *ret_size)
{
	const struct scmp_version *library = seccomp_version();
	struct utsname kernel = {0};
	auto_text key = TEXT_EMPTY;

	(void) uname(&kernel); /* what the library compiles depends on what the kernel knows */
	put(&key, HYDRA_VERSION);
	put(&key, kernel.release);
	put(&key, kernel.machine);
	text_add_bytes(&key, library, sizeof(*library));
	put(&key, seccomp->default_action);
	put_number(&key, &seccomp->default_errno);
	put_all(&key, &seccomp->architectures);
	for (size_t i = 0; i < seccomp->rules.count; i++)
		put_rule(&key, &seccomp->rules.items[i]);
	*ret_size = key.size;
	*ret_key = text_take(&key);
}

static uint64_t hash(const char *data, size_t size)
{
	uint64_t value = FNV_OFFSET;

	for (size_t i = 0; i < size; i++)
		value = (value ^ (unsigned char) data[i]) * FNV_PRIME;
	return value;
}

/* Ours alone: nobody else may have put anything there. */
static bool is_private(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 0022) == 0;
}

static int open_folder(const char *top)
{
	auto_free char *parent = text_format("%s/hydra", top);
	auto_free char *path = text_format("%s/" FOLDER, top);
	auto_close int fd = FD_NONE;

	if (mkdir(parent, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return is_private(fd) ? take_fd(&fd) : -EPERM;
}

/* -errno: there is none. */
static int find_folder(void)
{
	const char *user = getenv("XDG_RUNTIME_DIR");
	int fd = geteuid() == 0 ? open_folder("/run") : -EACCES;

	return fd < 0 && user != NULL && user[0] == '/' ? open_folder(user) : fd;
}

/* Whether data is a file for that key; then the instructions are at its end. */
static bool is_for(const char *data, size_t size, const char *key, size_t key_size)
{
	struct cache_head head;

	if (size < sizeof(head))
		return false;
	memcpy(&head, data, sizeof(head));
	return memcmp(head.magic, magic, sizeof(magic)) == 0 && head.key_size == key_size && head.count > 0 &&
	       head.count <= SECCOMP_INSTRUCTIONS_MAX && size == sizeof(head) + key_size + head.count * sizeof(struct sock_filter) &&
	       memcmp(data + sizeof(head), key, key_size) == 0;
}

static bool look_up(int folder, const char *name, const char *key, size_t key_size, struct seccomp_filter *ret_filter)
{
	size_t size = 0, limit = sizeof(struct cache_head) + KEY_MAX + SECCOMP_INSTRUCTIONS_MAX * sizeof(struct sock_filter);
	auto_close int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	auto_free char *data = NULL;
	struct error ignored;
	size_t start = sizeof(struct cache_head) + key_size;

	if (fd < 0 || !is_private(fd) || file_read_fd(fd, name, limit, &data, &size, &ignored) < 0 || !is_for(data, size, key, key_size))
		return false;
	ret_filter->instructions = malloc(size - start);
	if (ret_filter->instructions == NULL)
		return false;
	memcpy(ret_filter->instructions, data + start, size - start);
	ret_filter->count = (size - start) / sizeof(struct sock_filter);
	return true;
}

static void store(int folder, const char *name, const char *key, size_t key_size, const struct seccomp_filter *filter)
{
	struct cache_head head = {.key_size = (uint32_t) key_size, .count = (uint32_t) filter->count};
	auto_text data = TEXT_EMPTY;
	struct error ignored;

	memcpy(head.magic, magic, sizeof(magic));
	text_add_bytes(&data, &head, sizeof(head));
	text_add_bytes(&data, key, key_size);
	text_add_bytes(&data, filter->instructions, filter->count * sizeof(*filter->instructions));
	if (!data.has_failed && file_replace_fast(folder, name, data.data, data.size, 0600, &ignored) == 0)
		dir_forget_oldest(folder, PREFIX, FILES_MAX, NULL);
}

int seccomp_cache_get(const struct spec_seccomp *seccomp, struct seccomp_filter *ret_filter, struct error *err)
{
	auto_close int folder = FD_NONE;
	auto_free char *key = NULL;
	char name[sizeof(PREFIX) + 16];
	size_t key_size;
	int r = seccomp_begin(ret_filter, seccomp, err);

	if (r < 0)
		return r;
	folder = find_folder();
	seccomp_cache_key(seccomp, &key, &key_size);
	if (key == NULL)
		return fail_errno(err, ENOMEM, "look for a compiled seccomp filter");
	(void) text_fit(name, sizeof(name), PREFIX "%016" PRIx64, hash(key, key_size));
	if (folder >= 0 && look_up(folder, name, key, key_size, ret_filter))
		return 0;
	r = seccomp_compile(ret_filter, seccomp, err);
	if (r == 0 && folder >= 0 && key_size <= KEY_MAX)
		store(folder, name, key, key_size, ret_filter);
	return r;
}
