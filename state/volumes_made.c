/* SPDX-License-Identifier: Apache-2.0 */
#include "state/volumes_made.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "state/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE      "volumes" /* a line for each: the first folder that was missing ("" when none was), a tab, the path */
#define NOTE_MAX  (1U << 20)
#define WORD_MAX  128U
#define LOST_AND_FOUND "lost+found"

static char *note_path(const char *work)
{
	return text_format("%s/" NOTE, work);
}

/* The first folder on the way to path, and path itself, that does not exist. */
static char *first_missing(const char *path)
{
	auto_free char *part = text_copy(path);

	for (char *at = part + 1;; at++) {
		char was = *at;

		if (was != '/' && was != '\0')
			continue;
		*at = '\0';
		if (!path_exists(AT_FDCWD, part))
			return text_copy(part);
		*at = was;
		if (was == '\0')
			return text_copy("");
	}
}

static int note(const char *work, const char *missing, const char *path, struct error *err)
{
	auto_free char *file = note_path(work);
	auto_free char *line = text_format("%s\t%s\n", missing, path);
	auto_close int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : fd_write_full(fd, line, strlen(line));

	return r < 0 ? fail_errno(err, -r, "write '%s'", file) : 0;
}

static bool is_there_always(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, LOST_AND_FOUND) == 0;
}

bool volumes_made_is_free(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	bool is = folder != NULL;

	while (is && (entry = readdir(folder)) != NULL)
		is = is_there_always(entry->d_name);
	if (folder != NULL)
		(void) closedir(folder);
	else
		owned_fd_release(&fd);
	return is;
}

int volumes_made_add(const char *work, const char *path, struct error *err)
{
	auto_free char *missing = first_missing(path);
	int r;

	/* somebody may have put something there since it was looked at */
	if (*missing == '\0' && !volumes_made_is_free(path))
		return fail_because(err, ENOTEMPTY, "'%s' is no empty folder", path);
	r = note(work, missing, path, err);
	return r == 0 ? dir_make_all(path, 0755, err) : r;
}

void volumes_made_keep(const char *work)
{
	auto_free char *file = note_path(work);

	(void) unlink(file);
}

static void remove_content(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	struct error ignored;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		if (!is_there_always(entry->d_name))
			(void) dir_remove_all(fd, entry->d_name, &ignored);
	}
	if (folder != NULL)
		(void) closedir(folder);
	else
		owned_fd_release(&fd);
}

/* Folders above it only when nobody else has put anything into them. */
static void undo(const char *missing, char *path)
{
	auto_free char *lost = text_format("%s/" LOST_AND_FOUND, path);

	remove_content(path);
	if (*missing != '\0')
		(void) rmdir(lost); /* it came along, and was not there before */
	while (*missing != '\0' && rmdir(path) == 0 && strcmp(path, missing) != 0)
		*strrchr(path, '/') = '\0';
}

static bool has_run(const char *work)
{
	auto_free char *fate = text_format("%s/" RECORD_FATE_FILE, work);
	auto_free char *word = NULL;
	struct error ignored;

	return file_read(AT_FDCWD, fate, WORD_MAX, &word, NULL, &ignored) == 0 && text_has_prefix(word, "resumed");
}

void volumes_made_undo(const char *work)
{
	auto_free char *file = note_path(work);
	auto_free char *lines = NULL;
	struct error ignored;

	if (has_run(work) || file_read(AT_FDCWD, file, NOTE_MAX, &lines, NULL, &ignored) < 0)
		return;
	for (char *rest = lines, *line; (line = strsep(&rest, "\n")) != NULL;) {
		char *path = strchr(line, '\t');

		if (path == NULL || path[1] != '/')
			continue;
		*path++ = '\0';
		undo(line, path);
	}
	(void) unlink(file);
}
