/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/log_files.h"

#include "base/owned.h"
#include "state/log_config.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOWHERE UINT_MAX
/* While files are moved, numbers are missing in between. */
#define HOLES_MAX 8

/* The file with that number, of whatever format. False: there is none. */
static bool find_file(const char *path, unsigned number, char buffer[static PATH_MAX], Hydra__V1__LogFormat *ret_format)
{
	if (number == 0)
		return snprintf(buffer, PATH_MAX, "%s", path) < PATH_MAX && access(buffer, R_OK) == 0;
	for (size_t i = 0; i < log_file_format_count; i++) {
		if (log_rotated_path(buffer, PATH_MAX, path, number, log_file_formats[i]) && access(buffer, R_OK) == 0) {
			*ret_format = log_file_formats[i];
			return true;
		}
	}
	return false;
}

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* One more than the number of the oldest file that was written since then. */
static unsigned behind_oldest(const char *path, const struct timespec *since)
{
	Hydra__V1__LogFormat ignored;
	char name[PATH_MAX];
	unsigned behind = 0;
	unsigned holes = 0;

	for (unsigned number = 0; holes < HOLES_MAX; number++) {
		struct stat info;

		if (!find_file(path, number, name, &ignored) || stat(name, &info) < 0) {
			holes++;
			continue;
		}
		holes = 0;
		if (!is_before(&info.st_mtim, since))
			behind = number + 1;
	}
	return behind;
}

/* The number of our file by now. When it was removed, or there is none yet, the one behind all that is younger. Looked for
 * upwards, because that is where files go. */
static unsigned own_number(const struct log_files *self)
{
	Hydra__V1__LogFormat ignored;
	char name[PATH_MAX];
	struct stat own = {.st_ino = 0}, info;
	unsigned holes = 0;

	if (self->file == NULL || fstat(fileno(self->file), &own) < 0)
		return behind_oldest(self->path, &own.st_mtim);
	for (unsigned number = self->number; holes < HOLES_MAX; number++) {
		if (!find_file(self->path, number, name, &ignored) || stat(name, &info) < 0) {
			holes++;
			continue;
		}
		if (info.st_ino == own.st_ino && info.st_dev == own.st_dev)
			return number;
		holes = 0;
	}
	return behind_oldest(self->path, &own.st_mtim);
}

static bool is_any_between(const char *path, unsigned younger, unsigned older)
{
	Hydra__V1__LogFormat ignored;
	char name[PATH_MAX];

	for (unsigned number = younger + 1; number < older; number++) {
		if (find_file(path, number, name, &ignored))
			return true;
	}
	return false;
}

/* The oldest file with a smaller number. */
static FILE *open_younger(const struct log_files *self, unsigned number, unsigned *ret_number)
{
	Hydra__V1__LogFormat ignored;
	char name[PATH_MAX];

	while (number-- > 0) {
		FILE *file = find_file(self->path, number, name, &ignored) ? fopen(name, "re") : NULL;

		if (file != NULL) {
			*ret_number = number;
			return file;
		}
	}
	return NULL;
}

bool log_files_has_next(const struct log_files *self)
{
	return self->file == NULL || own_number(self) > 0;
}

bool log_files_is_rotated(const struct log_files *self, Hydra__V1__LogFormat *ret_format)
{
	char name[PATH_MAX];
	unsigned number = own_number(self);

	return number > 0 && find_file(self->path, number, name, ret_format);
}

bool log_files_next(struct log_files *self)
{
	FILE *younger = NULL;
	unsigned number, next = 0;

	/* again, when files were moved in between */
	do {
		if (younger != NULL)
			(void) fclose(younger);
		number = own_number(self);
		younger = open_younger(self, number, &next);
		if (younger == NULL)
			return false;
	} while (own_number(self) != number || is_any_between(self->path, next, number));
	log_files_close(self);
	self->file = younger;
	self->number = next;
	return true;
}

void log_files_close(struct log_files *self)
{
	if (self->file != NULL)
		(void) fclose(self->file);
	self->file = NULL;
}
