/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/watches.h"

#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/proc.h"

#define MINOR_BITS 20 /* of a device as the kernel prints it here */

struct search {
	ino_t inodes[WATCHES_MAX];
	size_t wanted;
	dev_t root;
};

static void want(struct search *self, ino_t inode)
{
	for (size_t i = 0; i < self->wanted; i++) {
		if (self->inodes[i] == inode)
			return;
	}
	if (self->wanted < WATCHES_MAX)
		self->inodes[self->wanted++] = inode;
}

/* Lines "inotify wd:1 ino:a3 sdev:2b mask:…", numbers in hexadecimal. */
static void read_watches(struct search *self, const char *path)
{
	auto_free char *text = NULL;
	struct error ignored;

	if (file_read(AT_FDCWD, path, 1 << 20, &text, NULL, &ignored) < 0)
		return;
	for (const char *line = strstr(text, "inotify wd:"); line != NULL; line = strstr(line + 1, "inotify wd:")) {
		unsigned long inode;
		unsigned int device;

		if (sscanf(line, "inotify wd:%*x ino:%lx sdev:%x", &inode, &device) == 2 &&
		    makedev(device >> MINOR_BITS, device & ((1U << MINOR_BITS) - 1)) == self->root)
			want(self, inode);
	}
}

static void look_at_task(struct search *self, pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/fd", (int) pid);
	DIR *folder = opendir(path);
	struct dirent *entry;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		auto_free char *info = text_format("/proc/%d/fdinfo/%s", (int) pid, entry->d_name);
		char link[64];
		ssize_t size = readlinkat(dirfd(folder), entry->d_name, link, sizeof(link) - 1);

		link[size > 0 ? size : 0] = '\0';
		if (text_has_prefix(link, "anon_inode:inotify"))
			read_watches(self, info);
	}
	if (folder != NULL)
		(void) closedir(folder);
}

/* True when it was the last one. */
static bool find(struct search *search, struct watches *self, const struct stat *status, const char *path)
{
	for (size_t i = 0; i < search->wanted && status->st_dev == search->root; i++) {
		if (search->inodes[i] != status->st_ino)
			continue;
		search->inodes[i] = search->inodes[--search->wanted];
		self->paths[self->count++] = text_copy(*path != '\0' ? path : "/");
		break;
	}
	return search->wanted == 0;
}

static void walk(struct search *search, struct watches *self, char *root)
{
	char *paths[] = {root, NULL};
	size_t length = strlen(root) - 1; /* it ends with the slash that paths in the container begin with */
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
	FTSENT *entry;

	while (tree != NULL && (entry = fts_read(tree)) != NULL) {
		if (entry->fts_info != FTS_DP && entry->fts_statp != NULL && find(search, self, entry->fts_statp, entry->fts_path + length))
			break;
	}
	if (tree != NULL)
		(void) fts_close(tree);
}

void watches_find(struct watches *self, pid_t init)
{
	auto_free char *root = text_format("/proc/%d/root/", (int) init);
	struct search search = {.wanted = 0};
	struct proc_tasks tasks;
	struct stat status;
	struct error ignored;

	*self = (struct watches){.count = 0};
	if (stat(root, &status) < 0 || proc_tasks_read(&tasks, init, &ignored) < 0)
		return;
	search.root = status.st_dev;
	for (size_t i = 0; i < tasks.count; i++)
		look_at_task(&search, tasks.items[i].pid);
	proc_tasks_deinit(&tasks);
	if (search.wanted > 0)
		walk(&search, self, root);
}

void watches_deinit(struct watches *self)
{
	while (self->count > 0)
		free(self->paths[--self->count]);
}
