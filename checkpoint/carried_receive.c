/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/carried.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/local.h"
#include "checkpoint/metadata.h"

#define PLACE "tmpfs-"

static int set_option(int context_fd, char *word)
{
	char *value = strchr(word, '=');

	if (value == NULL)
		return fsconfig(context_fd, FSCONFIG_SET_FLAG, word, NULL, 0);
	*value++ = '\0';
	return fsconfig(context_fd, FSCONFIG_SET_STRING, word, value, 0);
}

static int make(const Hydra__V1__CarriedMount *mount, int *ret_fd, struct error *err)
{
	auto_close int context_fd = fsopen("tmpfs", FSOPEN_CLOEXEC);
	const char *options = mount->options;
	auto_free char *words = text_copy(options);
	int r = context_fd, fd;

	if (r >= 0)
		r = fsconfig(context_fd, FSCONFIG_SET_STRING, "source", mount->source, 0);
	for (char *rest = words, *word; r >= 0 && *options != '\0' && (word = strsep(&rest, ",")) != NULL;)
		r = set_option(context_fd, word);
	if (r < 0 || fsconfig(context_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fail_errno(err, errno, "make a tmpfs with '%.200s'", options);
	fd = fsmount(context_fd, FSMOUNT_CLOEXEC, 0);
	if (fd < 0)
		return fail_errno(err, errno, "make a tmpfs with '%.200s'", options);
	*ret_fd = fd;
	return 0;
}

int carried_sinks_make(struct carried_sinks *self, const ProtobufCBinaryData *packed, struct error *err)
{
	Hydra__V1__CheckpointMetadata *metadata = NULL;
	int r = metadata_unpack(&metadata, packed->data, packed->len, err);

	if (r == 0 && metadata->n_carried > CARRIED_MAX)
		r = fail_because(err, E2BIG, "more than %d memory file systems come", CARRIED_MAX);
	for (size_t i = 0; r == 0 && i < metadata->n_carried; i++) {
		int fd = FD_NONE;

		r = make(metadata->carried[i], &fd, err);
		if (r == 0)
			layer_sink_init(&self->items[self->count++], fd);
	}
	hydra__v1__checkpoint_metadata__free_unpacked(metadata, NULL);
	return r;
}

int carried_sinks_pass(const struct carried_sinks *self, int restore_fd, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < self->count && r == 0; i++)
		r = local_send(restore_fd, LOCAL_MOUNT, (int) i, NULL, self->items[i].root_fd, err);
	return r;
}

void carried_sinks_deinit(struct carried_sinks *self)
{
	for (size_t i = 0; i < self->count; i++) {
		auto_close int fd = self->items[i].root_fd;

		layer_sink_deinit(&self->items[i]);
	}
	self->count = 0;
}

int carried_places_add(struct carried_places *self, int fd, struct error *err)
{
	if (fd < 0 || self->count == CARRIED_MAX) {
		owned_fd_release(&fd);
		return fail_because(err, EPROTO, "a file system was announced and did not come");
	}
	self->fds[self->count++] = fd;
	return 0;
}

static char *place(const char *folder, size_t number)
{
	return text_format("%s/" PLACE "%zu", folder, number);
}

static int attach(struct carried_places *self, const char *path, struct error *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail_errno(err, errno, "make '%s'", path);
	if (kernel_move_mount(self->fds[self->attached], "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return fail_errno(err, errno, "mount '%s'", path);
	self->attached++;
	/* else what CRIU binds would belong to its group */
	return mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0 ? fail_errno(err, errno, "make '%s' private", path) : 0;
}

int carried_places_attach(struct carried_places *self, const char *folder, const Hydra__V1__CheckpointMetadata *metadata,
			  struct criu_options *options, struct error *err)
{
	if (self->count != metadata->n_carried)
		return fail_because(err, EPROTO, "%zu memory file systems came of %zu", self->count, metadata->n_carried);
	self->folder = text_copy(folder);
	for (size_t i = 0; i < metadata->n_carried; i++) {
		const Hydra__V1__CarriedMount *mount = metadata->carried[i];
		auto_free char *path = place(folder, i);

		if (attach(self, path, err) < 0)
			return err->code;
		for (size_t j = 0; j < mount->n_mountpoints; j++)
			criu_options_add_external(options, text_format("mnt[%s]:%s", mount->mountpoints[j], path));
	}
	return 0;
}

static void clear(const char *folder, size_t number)
{
	auto_free char *path = place(folder, number);

	(void) umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	(void) rmdir(path);
}

void carried_places_deinit(struct carried_places *self)
{
	for (size_t i = 0; i < self->attached; i++)
		clear(self->folder, i);
	for (size_t i = 0; i < self->count; i++)
		owned_fd_release(&self->fds[i]);
	free(self->folder);
	*self = (struct carried_places){0};
}
