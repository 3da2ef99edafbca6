/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inside the container, as its user, and so reads only what that user may read.
 */
#include "runtime/process_program.h"

#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PASSWD_LIMIT (1UL << 20)

static const char *find_variable(const struct spec_process *process, const char *prefix)
{
	/* the last one wins, as for the shell */
	for (size_t i = process->env.count; i > 0; i--)
		if (text_has_prefix(process->env.items[i - 1], prefix))
			return process->env.items[i - 1] + strlen(prefix);
	return NULL;
}

/* The field'th of a passwd line ("name:x:uid:gid:comment:home:shell"), ended in place. */
static char *passwd_field(char *line, int field)
{
	char *end;

	while (field-- > 0) {
		line = strchr(line, ':');
		if (line == NULL)
			return NULL;
		line++;
	}
	end = strchr(line, ':');
	return end != NULL ? text_format("%.*s", (int) (end - line), line) : text_copy(line);
}

char *process_home_from_passwd(const char *passwd, uint32_t uid)
{
	auto_free char *copy = text_copy(passwd);
	char *rest = NULL;

	for (char *line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		auto_free char *number = passwd_field(line, 2);
		auto_free char *home = passwd_field(line, 5);
		uint64_t value;

		if (number != NULL && home != NULL && home[0] != '\0' && number_parse_u64(number, &value) == 0 && value == uid)
			return text_copy(home);
	}
	return text_copy("/");
}

static char *home_variable(uint32_t uid)
{
	struct error ignored;
	auto_free char *passwd = NULL;
	auto_free char *home = NULL;

	if (file_read(AT_FDCWD, "/etc/passwd", PASSWD_LIMIT, &passwd, NULL, &ignored) < 0)
		return text_copy("HOME=/");
	home = process_home_from_passwd(passwd, uid);
	return text_format("HOME=%s", home);
}

/* A later one with the same name replaces it; an empty HOME is none. */
static bool is_kept(const struct spec_process *process, size_t index)
{
	const char *item = process->env.items[index];
	size_t size = strcspn(item, "=");

	if (strcmp(item, "HOME=") == 0)
		return false;
	for (size_t i = index + 1; i < process->env.count; i++)
		if (strncmp(process->env.items[i], item, size) == 0 && (process->env.items[i][size] == '=' || process->env.items[i][size] == '\0'))
			return false;
	return true;
}

int process_build_environment(const struct spec_process *process, int listen_fds, char ***ret_environment,
			      struct error *err)
{
	const char *home = find_variable(process, "HOME=");
	char **environment = calloc(process->env.count + 4, sizeof(*environment));
	size_t count = 0;

	if (environment == NULL)
		return fail_errno(err, ENOMEM, "build the environment");
	for (size_t i = 0; i < process->env.count; i++)
		if (is_kept(process, i))
			environment[count++] = text_copy(process->env.items[i]);
	if (home == NULL || home[0] == '\0')
		environment[count++] = home_variable(process->user.uid);
	if (listen_fds > 0) {
		environment[count++] = text_format("LISTEN_FDS=%d", listen_fds);
		environment[count++] = text_copy("LISTEN_PID=1");
	}
	*ret_environment = environment;
	return 0;
}

/* 0, or the errno that says why it cannot be executed. */
static int examine(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return errno;
	if (S_ISDIR(status.st_mode))
		return EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

static int find_by_path(const char *name, char **ret_program, struct error *err)
{
	int problem = examine(name);

	if (problem == ENOENT || problem == ENOTDIR)
		return fail_because(err, ENOENT, "exec: \"%s\": stat %s: no such file or directory", name, name);
	if (problem == EISDIR)
		return fail_because(err, EACCES, "exec: \"%s\": is a directory: permission denied", name);
	if (problem == EACCES)
		return fail_because(err, EACCES, "exec: \"%s\": permission denied", name);
	if (problem != 0)
		return fail_errno(err, problem, "exec: \"%s\"", name);
	*ret_program = text_copy(name);
	return 0;
}

int process_find_program(const struct spec_process *process, char **ret_program, struct error *err)
{
	const char *name = process->args.items[0];
	const char *path = find_variable(process, "PATH=");
	auto_free char *folders = NULL;
	bool was_denied = false;
	char *rest = NULL;

	if (strchr(name, '/') != NULL)
		return find_by_path(name, ret_program, err);
	folders = text_copy(path != NULL ? path : "");
	for (char *folder = strtok_r(folders, ":", &rest); name[0] != '\0' && folder != NULL; folder = strtok_r(NULL, ":", &rest)) {
		auto_free char *candidate = text_format("%s/%s", folder, name);
		int problem = examine(candidate);

		if (problem == 0) {
			*ret_program = take_ptr(&candidate);
			return 0;
		}
		was_denied |= problem == EACCES;
	}
	if (was_denied)
		return fail_because(err, EACCES, "exec: \"%s\": permission denied", name);
	return fail_because(err, ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
}
