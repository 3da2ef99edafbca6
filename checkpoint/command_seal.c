/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sub-commands that encrypt what comes on standard input, and decrypt to standard output.
 */
#include "checkpoint/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/sealed_stream.h"

struct seal_options {
	const char *key_file, *file;
};

static const struct option_entry seal_entries[] = {
	{0, "key-file", "FILE", OPTION_STRING, offsetof(struct seal_options, key_file), "the key: 32 bytes or 64 hexadecimal digits"},
	{0, "file", "FILE", OPTION_STRING, offsetof(struct seal_options, file), "what is written; appears when it is complete"},
	{0},
};

static const struct option_entry unseal_entries[] = {
	{0, "key-file", "FILE", OPTION_STRING, offsetof(struct seal_options, key_file), "the key: 32 bytes or 64 hexadecimal digits"},
	{0, "file", "FILE", OPTION_STRING, offsetof(struct seal_options, file), "what is read"},
	{0},
};

static int begin(const struct seal_options *options, struct sealed_key *key, struct error *err)
{
	int r = command_line_need(options->key_file != NULL, "key-file", err);

	(void) signal(SIGPIPE, SIG_IGN);
	if (r == 0)
		r = command_line_need(options->file != NULL, "file", err);
	return r == 0 ? sealed_key_load(key, options->key_file, err) : r;
}

static int finish(int fd, const char *made, const char *path, struct error *err)
{
	if (fsync(fd) < 0 || rename(made, path) < 0)
		return fail_errno(err, errno, "write '%s'", path);
	return 0;
}

static int seal(void *context, struct error *err)
{
	const struct seal_options *options = context;
	auto_free char *made = text_format("%s.new", options->file != NULL ? options->file : "");
	auto_close int fd = FD_NONE;
	struct sealed_key key;
	int r = begin(options, &key, err);

	if (r < 0)
		return r;
	fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	r = fd < 0 ? fail_errno(err, errno, "make '%s'", made) : sealed_write(STDIN_FILENO, fd, &key, err);
	if (r == 0)
		r = finish(fd, made, options->file, err);
	else if (fd >= 0)
		(void) unlink(made);
	sealed_key_forget(&key);
	return r;
}

static int unseal(void *context, struct error *err)
{
	const struct seal_options *options = context;
	auto_close int fd = FD_NONE;
	struct sealed_key key;
	int r = begin(options, &key, err);

	if (r < 0)
		return r;
	fd = open(options->file, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? fail_errno(err, errno, "open '%s'", options->file) : sealed_read(fd, STDOUT_FILENO, &key, err);
	sealed_key_forget(&key);
	return r == -EKEYREJECTED || r == -EBADMSG ? fail_while(err, "'%s'", options->file) : r;
}

const struct command command_seal = {
	.name = "seal",
	.purpose = "encrypt standard input into a file",
	.entries = seal_entries,
	.defaults = &(const struct seal_options){.file = NULL},
	.options_size = sizeof(struct seal_options),
	.run = seal,
};

const struct command command_unseal = {
	.name = "unseal",
	.purpose = "decrypt a file to standard output; what was damaged is found at the latest when it fails",
	.entries = unseal_entries,
	.defaults = &(const struct seal_options){.file = NULL},
	.options_size = sizeof(struct seal_options),
	.run = unseal,
};
