/* SPDX-License-Identifier: Apache-2.0 */
#include "base/reexec.h"

#include "base/descriptor_limit.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STATE_MAX     (64U << 20)
#define ARGUMENTS_MAX 64

struct arguments {
	const char *list[ARGUMENTS_MAX + 1];
	char sealed[16], previous[16];
};

/* Ours come first, in place of those that we were started with: what follows may belong to somebody else. */
static void fill(struct arguments *self, const char *const *argv, int sealed_fd, int previous_fd, const char *refused)
{
	static const char *const ours[] = {"--sealed-fd", "--previous-fd", "--refused", NULL};
	const char *more[] = {argv[0], "--sealed-fd", self->sealed, "--previous-fd", self->previous,
			      refused != NULL ? "--refused" : NULL, refused};
	size_t count = 0;

	(void) text_fit(self->sealed, sizeof(self->sealed), "%d", sealed_fd);
	(void) text_fit(self->previous, sizeof(self->previous), "%d", previous_fd);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]) && more[i] != NULL; i++)
		self->list[count++] = more[i];
	argv++;
	while (argv[0] != NULL && argv[1] != NULL && text_is_one_of(argv[0], ours))
		argv += 2;
	for (; *argv != NULL && count < ARGUMENTS_MAX; argv++)
		self->list[count++] = *argv;
	self->list[count] = NULL;
}

int reexec_check(const char *path, struct error *err)
{
	if (path[0] != '/')
		return fail_because(err, EINVAL, "upgrade: path '%s': expected an absolute path", path);
	return access(path, X_OK) < 0 ? fail_errno(err, errno, "upgrade: path '%s'", path) : 0;
}

int reexec(const char *path, const char *const *argv, const uint8_t *state, size_t size, struct error *err)
{
	auto_close int sealed_fd = memfd_create("sealed", MFD_CLOEXEC);
	auto_close int previous_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	struct arguments arguments;

	if (sealed_fd < 0 || fd_write_full(sealed_fd, state, size) < 0)
		return fail_errno(err, errno, "write down the state");
	if (previous_fd < 0)
		return fail_errno(err, errno, "open /proc/self/exe");
	fill(&arguments, argv, sealed_fd, previous_fd, NULL);
	reexec_keep(sealed_fd);
	reexec_keep(previous_fd);
	descriptor_limit_restore();
	(void) execv(path, (char *const *) (uintptr_t) arguments.list);
	(void) fail_errno(err, errno, "execute '%s'", path);
	descriptor_limit_return();
	return err->code;
}

int reexec_read(const struct reexec_options *options, uint8_t **ret_state, size_t *ret_size, struct error *err)
{
	/* a program that was executed by descriptor is called by its number */
	(void) prctl(PR_SET_NAME, program_invocation_short_name);
	if (lseek(options->sealed_fd, 0, SEEK_SET) < 0)
		return fail_errno(err, errno, "read the state of the binary before");
	return file_read_fd(options->sealed_fd, "sealed state", STATE_MAX, (char **) ret_state, ret_size, err);
}

void reexec_refuse(const struct reexec_options *options, const char *const *argv, const char *reason)
{
	struct arguments arguments;

	if (options->refused != NULL || options->previous_fd <= 0)
		return;
	fill(&arguments, argv, options->sealed_fd, options->previous_fd, reason);
	descriptor_limit_restore();
	(void) execveat(options->previous_fd, "", (char *const *) (uintptr_t) arguments.list, environ, AT_EMPTY_PATH);
}

void reexec_finish(const struct reexec_options *options)
{
	(void) close(options->sealed_fd);
	(void) close(options->previous_fd);
}

void reexec_keep(int fd)
{
	if (fd >= 0)
		(void) fcntl(fd, F_SETFD, 0);
}

void reexec_keep_not(int fd)
{
	if (fd >= 0)
		(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
}
