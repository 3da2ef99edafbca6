/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/layer_known.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"

#define VERSION   "1"
#define NOTE_MAX  16384U
#define NOTES_MAX 64U

/* A file of lines. */
struct note {
	char *text; /* the others point into it */
	const char *path, *digest, *fingerprint; /* fingerprint "": it says nothing about now */
};

static char *notes_folder(const char *store)
{
	return text_format("%s/known", store);
}

static char *note_path(const char *store, const char *path)
{
	char name[LAYER_DIGEST_SIZE];

	layer_sum(path, strlen(path), name);
	return text_format("%s/known/%s", store, name);
}

/* False: there is none that is understood. */
static bool note_read(struct note *self, const char *file)
{
	const char *lines[4] = {NULL};
	struct error ignored;
	char *rest;

	*self = (struct note){0};
	if (file_read(AT_FDCWD, file, NOTE_MAX, &self->text, NULL, &ignored) < 0)
		return false;
	rest = self->text;
	for (size_t i = 0; i < 4; i++)
		lines[i] = strsep(&rest, "\n");
	self->path = lines[1];
	self->digest = lines[2];
	self->fingerprint = lines[3];
	return lines[3] != NULL && strcmp(lines[0], VERSION) == 0 && layer_digest_is_valid(lines[2]);
}

static void note_write(const char *store, const char *path, const char *digest, const char *fingerprint)
{
	auto_free char *folder = notes_folder(store);
	auto_free char *file = note_path(store, path);
	auto_free char *text = text_format(VERSION "\n%s\n%s\n%s\n", path, digest, fingerprint);
	auto_close int folder_fd = FD_NONE;
	struct error ignored;

	if (dir_make_all(folder, 0700, &ignored) < 0 ||
	    file_replace_fast(AT_FDCWD, file, text, strlen(text), 0600, &ignored) < 0)
		return;
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder_fd >= 0)
		dir_forget_oldest(folder_fd, "", NOTES_MAX, NULL);
}

/* Is it the same as when the note was written? */
static bool is_noted(const char *store, const char *path, const char *fingerprint, char ret_digest[LAYER_DIGEST_SIZE])
{
	auto_free char *file = note_path(store, path);
	struct note note;
	bool is = note_read(&note, file) && strcmp(note.path, path) == 0 && strcmp(note.fingerprint, fingerprint) == 0;

	if (is)
		(void) text_fit(ret_digest, LAYER_DIGEST_SIZE, "%s", note.digest);
	free(note.text);
	return is;
}

static int find_digest(struct layer_folder *self, const char *store, const char *path, const struct layer_turn *turn, struct error *err)
{
	const char *name = store != NULL ? layer_store_digest(store, path) : NULL;
	bool times_tell = layer_times_tell(self->root_fd) && !layer_is_racy(&self->list);
	char fingerprint[LAYER_DIGEST_SIZE] = "";
	int r;

	if (store == NULL)
		return layer_digest(self->root_fd, &self->list, times_tell, turn, self->digest, err);
	if (name != NULL)
		return text_fit(self->digest, sizeof(self->digest), "%s", name) ? 0 : -EINVAL;
	if (times_tell)
		layer_fingerprint(&self->list, fingerprint);
	if (times_tell && is_noted(store, path, fingerprint, self->digest))
		return 0;
	r = layer_digest(self->root_fd, &self->list, times_tell, turn, self->digest, err);
	if (r == 0 && strchr(path, '\n') == NULL)
		note_write(store, path, self->digest, fingerprint);
	return r;
}

int layer_folder_open(struct layer_folder *self, const char *store, const char *path, const struct layer_turn *turn, struct error *err)
{
	int r;

	*self = LAYER_FOLDER_NONE;
	self->root_fd = kernel_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (self->root_fd < 0)
		return fail_errno(err, errno, "open layer '%s'", path);
	r = layer_list_take(&self->list, self->root_fd, err);
	if (r == 0)
		r = find_digest(self, store, path, turn, err);
	if (r < 0)
		layer_folder_close(self);
	return r < 0 ? fail_while(err, "look at layer '%s'", path) : 0;
}

void layer_folder_close(struct layer_folder *self)
{
	owned_fd_release(&self->root_fd);
	layer_list_deinit(&self->list);
	*self = LAYER_FOLDER_NONE;
}

int layer_has_digest(const char *store, const char *path, const char *digest, const struct layer_turn *turn, bool *ret_has, struct error *err)
{
	struct layer_folder folder = LAYER_FOLDER_NONE;
	struct error problem = ERROR_NONE;
	int r = layer_folder_open(&folder, store, path, turn, &problem);

	*ret_has = r == 0 && strcmp(folder.digest, digest) == 0;
	layer_folder_close(&folder);
	/* what can't be read is not it; but who called it off or went away ends it */
	return turn != NULL && r < 0 && turn->turn(turn->context, err) < 0 ? err->code : 0;
}

int layer_known_find(const char *store, const char *digest, const struct layer_turn *turn, char **ret_path, struct error *err)
{
	auto_free char *folder = notes_folder(store);
	DIR *entries = opendir(folder);
	struct dirent *entry;
	int r = 0;

	*ret_path = NULL;
	while (entries != NULL && r == 0 && *ret_path == NULL && (entry = readdir(entries)) != NULL) {
		auto_free char *file = text_format("%s/%s", folder, entry->d_name);
		struct note note;
		bool has = false;

		if (entry->d_name[0] != '.' && note_read(&note, file) && strcmp(note.digest, digest) == 0) {
			r = layer_has_digest(store, note.path, digest, turn, &has, err);
			if (has)
				*ret_path = text_copy(note.path);
		}
		if (entry->d_name[0] != '.')
			free(note.text);
	}
	if (entries != NULL)
		(void) closedir(entries);
	return r;
}
