/* SPDX-License-Identifier: Apache-2.0 */
#include "state/run_dir.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *run_root(void)
{
	const char *root = getenv("HYDRA_ROOT");

	return root != NULL && root[0] == '/' ? root : RUN_ROOT_DEFAULT;
}

const char *data_root(void)
{
	const char *root = getenv("HYDRA_DATA");

	return root != NULL && root[0] == '/' ? root : DATA_ROOT_DEFAULT;
}

int id_check(const char *what, const char *id, struct error *err)
{
	size_t size = strlen(id);
	bool is_valid = size >= 1 && size <= ID_SIZE_MAX && isalnum((unsigned char) id[0]);

	for (size_t i = 0; is_valid && i < size; i++)
		is_valid = isalnum((unsigned char) id[i]) || strchr("_.+-", id[i]) != NULL;
	if (is_valid)
		return 0;
	return fail_because(err, EINVAL, "%s '%.80s': expected 1 to %d letters, digits and _ . + -, beginning with a letter or digit",
			    what, id, ID_SIZE_MAX);
}

static int check_names(const char *namespace, const char *id, struct error *err)
{
	int r = id_check("namespace", namespace, err);

	return r < 0 ? r : id_check("container name", id, err);
}

int run_dir_open(struct run_dir *ret_self, const char *root, const char *namespace, const char *id, struct error *err)
{
	int r = check_names(namespace, id, err);

	if (r < 0)
		return r;
	*ret_self = RUN_DIR_CLOSED;
	ret_self->path = text_format("%s/%s/%s", root, namespace, id);
	ret_self->id = strrchr(ret_self->path, '/') + 1;
	ret_self->fd = open(ret_self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ret_self->fd >= 0)
		return 0;
	r = errno == ENOENT ? fail_because(err, ENOENT, "no container '%s'", id)
			    : fail_errno(err, errno, "open '%s'", ret_self->path);
	run_dir_close(ret_self);
	return r;
}

int run_dir_create(struct run_dir *ret_self, const char *root, const char *namespace, const char *id, struct error *err)
{
	auto_free char *parent = NULL;
	auto_free char *path = NULL;
	int r = check_names(namespace, id, err);

	if (r < 0)
		return r;
	parent = text_format("%s/%s", root, namespace);
	path = text_format("%s/%s", parent, id);
	r = dir_make_all(parent, 0700, err);
	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? fail_because(err, EEXIST, "the name '%s' is in use", id)
				       : fail_errno(err, errno, "make '%s'", path);
	r = run_dir_open(ret_self, root, namespace, id, err);
	if (r == 0)
		r = run_dir_lock(ret_self, LOCK_SETUP, err);
	if (r > 0)
		r = fail_because(err, EEXIST, "the name '%s' is in use", id);
	return r;
}

void run_dir_close(struct run_dir *self)
{
	owned_fd_release(&self->lock_fd);
	owned_fd_release(&self->fd);
	free(self->path);
	*self = RUN_DIR_CLOSED;
}

int run_dir_remove(struct run_dir *self, struct error *err)
{
	int r = dir_remove_all(AT_FDCWD, self->path, err);

	if (r == 0)
		run_dir_close(self);
	return r;
}

static int lock(struct run_dir *self, const char *name, bool waits, struct error *err)
{
	auto_close int fd = openat(self->fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return fail_errno(err, errno, "open the lock of '%s'", self->id);
	r = file_lock_fd(fd, waits);
	if (r == -EAGAIN)
		return RUN_DIR_LOCKED_BY_OTHER;
	if (r < 0)
		return fail_errno(err, -r, "lock '%s'", self->id);
	self->lock_fd = take_fd(&fd);
	return 0;
}

int run_dir_lock(struct run_dir *self, const char *name, struct error *err)
{
	return lock(self, name, false, err);
}

int run_dir_lock_wait(struct run_dir *self, const char *name, struct error *err)
{
	return lock(self, name, true, err);
}

bool run_dir_is_locked(const struct run_dir *self, const char *name)
{
	auto_close int fd = openat(self->fd, name, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && file_is_locked(fd);
}

static bool visit_namespace(const char *root, const char *namespace,
			    bool (*visit)(const char *namespace, const char *id, void *context), void *context)
{
	auto_free char *path = text_format("%s/%s", root, namespace);
	DIR *entries = opendir(path);
	bool goes_on = true;
	struct error ignored;

	if (entries == NULL)
		return true;
	for (struct dirent *entry = readdir(entries); entry != NULL && goes_on; entry = readdir(entries)) {
		if (entry->d_type == DT_DIR && id_check("", entry->d_name, &ignored) == 0)
			goes_on = visit(namespace, entry->d_name, context);
	}
	(void) closedir(entries);
	return goes_on;
}

int run_dir_visit_namespaces(const char *root, bool (*visit)(const char *namespace, void *context), void *context, struct error *err)
{
	DIR *entries = opendir(root);
	struct error ignored;

	if (entries == NULL)
		return errno == ENOENT ? 0 : fail_errno(err, errno, "list '%s'", root);
	for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
		if (entry->d_type == DT_DIR && id_check("", entry->d_name, &ignored) == 0 && !visit(entry->d_name, context))
			break;
	}
	(void) closedir(entries);
	return 0;
}

struct visit_all {
	const char *root;
	bool (*visit)(const char *namespace, const char *id, void *context);
	void *context;
};

static bool visit_one_namespace(const char *namespace, void *context)
{
	const struct visit_all *self = context;

	return visit_namespace(self->root, namespace, self->visit, self->context);
}

int run_dir_visit(const char *root, const char *namespace, bool (*visit)(const char *namespace, const char *id, void *context),
		  void *context, struct error *err)
{
	struct visit_all all = {root, visit, context};

	if (namespace == NULL)
		return run_dir_visit_namespaces(root, visit_one_namespace, &all, err);
	(void) visit_one_namespace(namespace, &all);
	return 0;
}

char *run_dir_path(const struct run_dir *self, const char *name)
{
	return text_format("%s/%s", self->path, name);
}
