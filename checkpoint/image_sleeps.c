/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core-N.img, one for each thread: 8 bytes of magic, then {u32 length, core_entry}. Numbers keep the room that they have: protobuf lets a
 * varint be longer than it needs to be.
 */
#include "checkpoint/image_sleeps.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/image_cursor.h"
#include "checkpoint/images.h"

#define MAGIC_SIZE   8
#define SYSCALL_SIZE 2 /* of the instruction */

enum {
	CORE_THREAD_INFO_X86 = 2, CORE_TASK = 3, CORE_THREAD = 5, /* in core_entry */
	TASK_SIGNALS = 10, THREAD_SIGNALS = 9,                    /* that wait, in task_core_entry and thread_core_entry */
	INFO_REGISTERS = 2,                                       /* in thread_info_x86 */
	/* in user_x86_regs_entry */
	GPR_R10 = 8, GPR_AX = 11, GPR_DX = 13, GPR_SI = 14, GPR_DI = 15, GPR_ORIG_AX = 16, GPR_IP = 17, GPR_MODE = 28, GPRS = 29,
};

#define MODE_COMPAT 2 /* of 32 bit programs, whose system calls have other numbers */

enum { NANOSLEEP = 35, CLOCK_NANOSLEEP = 230 }; /* of x86-64, whichever processor this is compiled for */

struct registers {
	uint64_t value[GPRS];
	const unsigned char *end[GPRS]; /* behind the value; NULL: not there */
};

static bool find_message(struct image_cursor entry, uint64_t wanted, struct image_cursor *ret_message)
{
	uint64_t number, value;

	while (entry.at < entry.end) {
		if (image_cursor_take_message(&entry, wanted, ret_message))
			return true;
		if (!image_cursor_take_field(&entry, &number, &value))
			return false;
	}
	return false;
}

/* A signal's handler ends the call, whose result is EINTR then. */
static bool has_signals(struct image_cursor core)
{
	struct image_cursor part, signals;

	return (find_message(core, CORE_TASK, &part) && find_message(part, TASK_SIGNALS, &signals) && signals.at < signals.end) ||
	       (find_message(core, CORE_THREAD, &part) && find_message(part, THREAD_SIGNALS, &signals) && signals.at < signals.end);
}

static bool read_registers(struct image_cursor core, struct registers *ret_registers)
{
	struct image_cursor info, entry;

	*ret_registers = (struct registers){{0}, {NULL}};
	if (!find_message(core, CORE_THREAD_INFO_X86, &info) || !find_message(info, INFO_REGISTERS, &entry))
		return false;
	while (entry.at < entry.end) {
		uint64_t number, value = 0;

		if (!image_cursor_take_field(&entry, &number, &value))
			return false;
		if (number > 0 && number < GPRS) {
			ret_registers->value[number] = value;
			ret_registers->end[number] = entry.at;
		}
	}
	return ret_registers->end[GPR_AX] != NULL && ret_registers->end[GPR_IP] != NULL && ret_registers->value[GPR_MODE] != MODE_COMPAT;
}

/* In a relative sleep whose rest was written over what was asked for. */
static bool is_in_sleep(const struct registers *at)
{
	const uint64_t *value = at->value;

	if (value[GPR_AX] != (uint64_t) -EINTR || at->end[GPR_ORIG_AX] == NULL)
		return false;
	if (value[GPR_ORIG_AX] == NANOSLEEP)
		return value[GPR_DI] != 0 && value[GPR_DI] == value[GPR_SI];
	return value[GPR_ORIG_AX] == CLOCK_NANOSLEEP && value[GPR_SI] == 0 && value[GPR_DX] != 0 && value[GPR_DX] == value[GPR_R10];
}

/* Over the value that ends there, with as many bytes. False: it needs more. */
static bool overwrite(unsigned char *data, const unsigned char *start, const unsigned char *end, uint64_t value)
{
	unsigned char *at = data + (end - data) - 1;
	size_t size = 1;

	for (; at > start && (at[-1] & 0x80) != 0; at--)
		size++;
	if (size < 10 && value >> (7 * size) != 0)
		return false;
	for (size_t i = 0; i < size; i++, value >>= 7)
		at[i] = (unsigned char) ((value & 0x7f) | (i + 1 < size ? 0x80 : 0));
	return true;
}

bool image_sleeps_resume_in(unsigned char *data, size_t size)
{
	struct image_cursor cursor = {data + (size < MAGIC_SIZE ? size : MAGIC_SIZE), data + size}, core;
	struct registers registers;
	uint32_t length;

	if (!image_cursor_take_u32(&cursor, &length) || length > cursor.end - cursor.at)
		return false;
	core = (struct image_cursor){cursor.at, cursor.at + length};
	if (!read_registers(core, &registers) || !is_in_sleep(&registers) || has_signals(core))
		return false;
	/* a tag stands before each value; it has fewer than 8 bits, or its last byte has no mark */
	return overwrite(data, core.at, registers.end[GPR_IP], registers.value[GPR_IP] - SYSCALL_SIZE) &&
	       overwrite(data, core.at, registers.end[GPR_AX], registers.value[GPR_ORIG_AX]);
}

static int resume_in_file(int images_fd, const char *name, struct error *err)
{
	auto_free char *data = NULL;
	size_t size;
	int r = file_read(images_fd, name, IMAGE_FILE_MAX, &data, &size, err);

	if (r < 0 || !image_sleeps_resume_in((unsigned char *) data, size))
		return r;
	return file_replace_fast(images_fd, name, data, size, 0600, err);
}

int image_sleeps_resume(int images_fd, struct error *err)
{
	int fd = openat(images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	int r = 0;

	if (folder == NULL) {
		r = fail_errno(err, errno, "read the folder of images");
		if (fd >= 0)
			(void) close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(folder)) != NULL) {
		if (text_has_prefix(entry->d_name, "core-"))
			r = resume_in_file(images_fd, entry->d_name, err);
	}
	(void) closedir(folder);
	return r;
}
