/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running the OCI runtime for a container, and understanding what it complains about.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "shim/container.h"
#include "shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define ARGUMENTS_MAX  32
#define LOG_SIZE_LIMIT (1U << 20)

int runtime_start(struct container *self, const char *operation, const char *const *arguments, const struct child_fd *fds,
		  size_t fd_count, task_done *done, void *context, struct error *err)
{
	auto_free char *oci_root = run_dir_path(&self->dir, "oci");
	auto_free char *log_path = run_dir_path(&self->dir, "oci.log");
	const char *argv[ARGUMENTS_MAX] = {"hydra", "--root", oci_root, "--log", log_path, "--log-format", "json", operation};
	struct child_spec spec = {.path = self->shim->runtime_path, .argv = argv, .cwd = self->record->bundle};
	size_t count = 8;
	int r;

	(void) unlinkat(self->dir.fd, "oci.log", 0);
	for (; *arguments != NULL && count < ARGUMENTS_MAX - 1; arguments++)
		argv[count++] = *arguments;
	for (size_t i = 0; i < fd_count; i++) {
		if (fds[i].fd >= 0)
			spec.fds[spec.fd_count++] = fds[i];
	}
	r = task_start(self->shim, &spec, done, context, err);
	return r < 0 ? fail_while(err, "%s container '%s'", operation, self->dir.id) : 0;
}

bool runtime_waits_for_start(const struct container *self)
{
	auto_free char *path = text_format("oci/%s/exec.fifo", self->dir.id);

	return path_exists(self->dir.fd, path);
}

/* The text of the JSON string that begins at string (behind its quote), in place. */
static void unescape(char *string)
{
	char *to = string;

	for (const char *from = string; *from != '\0' && *from != '"'; from++) {
		if (*from == '\\' && from[1] != '\0') {
			from++;
			*to++ = *from == 'n' || *from == 't' ? ' ' : *from;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

int runtime_failure(struct container *self, const char *operation, int exit_status, struct error *err)
{
	auto_free char *log = NULL;
	struct error ignored;
	char *message = NULL;

	if (file_read(self->dir.fd, "oci.log", LOG_SIZE_LIMIT, &log, NULL, &ignored) == 0) {
		for (char *next = strstr(log, "\"msg\""); next != NULL; next = strstr(next + 1, "\"msg\""))
			message = next;
	}
	message = message != NULL ? strchr(message + 5, '"') : NULL;
	if (message == NULL)
		return fail_because(err, EIO, "%s container '%s': the runtime failed with status %d and gave no reason",
				    operation, self->dir.id, exit_status);
	unescape(++message);
	return fail_because(err, EIO, "%s container '%s': %s", operation, self->dir.id, message);
}
