/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding CRIU. A CRIU that cannot work here is refused before anything is stopped:
 * from 6.16 on the kernel refuses a socket option that older ones ask of every socket.
 */
#include "checkpoint/criu_find.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/child.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

static const char *const usual_places[] = {
	"/opt/criu/bin/criu", "/usr/libexec/hydra/criu", "/usr/local/sbin/criu", "/usr/sbin/criu", NULL,
};

int version_parse(const char *text, int *ret_version)
{
	int part[3] = {0, 0, 0};

	if (sscanf(text, "%d.%d.%d", &part[0], &part[1], &part[2]) < 1 || part[0] < 0 || part[1] < 0 || part[2] < 0)
		return -EINVAL;
	if (part[0] > 1000 || part[1] > 99)
		return -EINVAL;
	*ret_version = part[0] * 10000 + part[1] * 100 + (part[2] > 99 ? 99 : part[2]);
	return 0;
}

int criu_oldest_for_kernel(int kernel_version)
{
	if (kernel_version >= 61600)
		return 40201;
	return 40101;
}

/* The first "criu" in PATH; the caller frees. */
static char *find_in_path(void)
{
	const char *path = getenv("PATH");

	while (path != NULL && *path != '\0') {
		size_t length = strcspn(path, ":");
		auto_free char *candidate = text_format("%.*s/criu", (int) length, path);

		if (length > 0 && access(candidate, X_OK) == 0)
			return take_ptr(&candidate);
		path += length + (path[length] == ':');
	}
	return NULL;
}

static char *find_path(const char *configured)
{
	const char *from_environment = getenv("HYDRA_CRIU");
	char *found;

	if (configured != NULL && *configured != '\0')
		return text_copy(configured);
	if (from_environment != NULL && *from_environment != '\0')
		return text_copy(from_environment);
	found = find_in_path();
	for (size_t i = 0; found == NULL && usual_places[i] != NULL; i++) {
		if (access(usual_places[i], X_OK) == 0)
			found = text_copy(usual_places[i]);
	}
	return found;
}

static int ask_version(struct criu *self, struct error *err)
{
	const char *const argv[] = {self->path, "--version", NULL};
	auto_close int read_fd = FD_NONE;
	auto_close int write_fd = FD_NONE;
	auto_free char *output = NULL;
	int pipe_fds[2], r, status;
	const char *number;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	read_fd = pipe_fds[0];
	write_fd = pipe_fds[1];
	r = child_start(&(struct child_spec){.path = self->path, .argv = argv, .fds = {{write_fd, 1}}, .fd_count = 1},
			&pid, NULL, err);
	if (r < 0)
		return r;
	(void) close(take_fd(&write_fd));
	r = file_read_fd(read_fd, "criu --version", 4096, &output, NULL, err);
	(void) child_wait(pid, &status, &(struct error){0});
	if (r < 0)
		return r;
	number = strstr(output, "Version: ");
	if (number == NULL || version_parse(number + strlen("Version: "), &self->version) < 0)
		return fail_because(err, EINVAL, "'%s --version' says nothing understandable", self->path);
	number += strlen("Version: ");
	(void) text_fit(self->version_text, sizeof(self->version_text), "%.*s",
			(int) (strcspn(number, "\n ") < 20 ? strcspn(number, "\n ") : 20), number);
	return 0;
}

int criu_find(struct criu *self, const char *configured, struct error *err)
{
	struct utsname kernel;
	int kernel_version = 0, oldest, r;

	*self = (struct criu){.path = find_path(configured)};
	if (self->path == NULL)
		return fail_because(err, ENOENT, "CRIU was not found; install criu or name it with HYDRA_CRIU");
	r = ask_version(self, err);
	if (r == 0 && uname(&kernel) == 0)
		(void) version_parse(kernel.release, &kernel_version);
	oldest = criu_oldest_for_kernel(kernel_version);
	if (r == 0 && self->version < oldest)
		r = fail_because(err, EOPNOTSUPP, "%s is version %s; kernel %s needs CRIU %d.%d.%d or newer", self->path,
				 self->version_text, kernel.release, oldest / 10000, oldest / 100 % 100, oldest % 100);
	if (r < 0)
		criu_deinit(self);
	return r;
}

void criu_deinit(struct criu *self)
{
	free(self->path);
	self->path = NULL;
}
