/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Describes the container's surroundings: which mounts come from outside, what its standard streams are.
 * A mount is CRIU's own business when its whole file system is mounted inside, of a kind CRIU can rebuild, and not
 * visible to us too; everything else (binds, single files, cgroup folders) is external and has to be provided at a
 * restore.
 */
#include "checkpoint/metadata.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/proc.h"

#define MAP_LIMIT 65536

static const char *const always_rebuilt[] = {"proc", "sysfs", "binfmt_misc", "securityfs", "fusectl", "debugfs", "tracefs",
					     NULL};
static const char *const rebuilt_if_private[] = {"tmpfs", "devpts", "mqueue", NULL};

static bool has_device(const struct proc_mounts *mounts, const char *device)
{
	for (size_t i = 0; i < mounts->count; i++) {
		if (strcmp(mounts->items[i].device, device) == 0)
			return true;
	}
	return false;
}

static bool is_below(const char *path, const char *folder)
{
	size_t length = strcmp(folder, "/") == 0 ? 0 : strlen(folder);

	return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool is_rebuilt(const struct proc_mounts *theirs, const struct proc_mounts *ours, const struct proc_mount *mount)
{
	for (size_t i = 0; i < theirs->count; i++) {
		const struct proc_mount *other = &theirs->items[i];
		bool is_whole = strcmp(other->root, "/") == 0;

		if (strcmp(other->device, mount->device) != 0)
			continue;
		if (strcmp(other->mountpoint, "/") == 0 && is_below(mount->root, other->root))
			return true;
		if (is_whole && (text_is_one_of(other->fstype, always_rebuilt) ||
				 (text_is_one_of(other->fstype, rebuilt_if_private) && !has_device(ours, mount->device))))
			return true;
	}
	return false;
}

/* Where the same file or folder is for us; "" when we do not see it. */
static char *host_path(const struct proc_mounts *ours, const struct proc_mount *mount)
{
	const struct proc_mount *best = NULL;
	const char *below;

	for (size_t i = 0; i < ours->count; i++) {
		const struct proc_mount *candidate = &ours->items[i];

		if (strcmp(candidate->device, mount->device) != 0 || !is_below(mount->root, candidate->root))
			continue;
		if (best == NULL || strlen(candidate->root) > strlen(best->root))
			best = candidate;
	}
	if (best == NULL)
		return text_copy("");
	below = mount->root + (strcmp(best->root, "/") == 0 ? 0 : strlen(best->root));
	return text_format("%s%s", strcmp(best->mountpoint, "/") == 0 && *below != '\0' ? "" : best->mountpoint,
			   strcmp(below, "/") == 0 ? "" : below);
}

static Hydra__V1__ExternalMount *describe_mount(const struct proc_mounts *ours, const struct proc_mount *mount)
{
	Hydra__V1__ExternalMount *external = malloc(sizeof(*external));

	if (external == NULL)
		abort();
	hydra__v1__external_mount__init(external);
	external->mountpoint = text_copy(mount->mountpoint);
	external->source = host_path(ours, mount);
	external->fstype = text_copy(mount->fstype);
	external->cgroup_options = text_copy(strcmp(mount->fstype, "cgroup") == 0 ? mount->super_options : "");
	external->is_writable = mount->is_writable;
	return external;
}

static int collect_mounts(Hydra__V1__CheckpointMetadata *self, pid_t init, struct error *err)
{
	struct proc_mounts theirs, ours = {0};
	int r = proc_mounts_read(&theirs, init, err);

	if (r < 0)
		return r;
	r = proc_mounts_read(&ours, 0, err);
	self->mounts = r < 0 ? NULL : calloc(theirs.count + 1, sizeof(Hydra__V1__ExternalMount *));
	for (size_t i = 0; self->mounts != NULL && i < theirs.count; i++) {
		const struct proc_mount *mount = &theirs.items[i];

		if (strcmp(mount->mountpoint, "/") != 0 && !is_rebuilt(&theirs, &ours, mount))
			self->mounts[self->n_mounts++] = describe_mount(&ours, mount);
	}
	proc_mounts_deinit(&theirs);
	proc_mounts_deinit(&ours);
	return r;
}

static void collect_stdio(Hydra__V1__CheckpointMetadata *self, pid_t init)
{
	self->stdio = calloc(3, sizeof(char *));
	if (self->stdio == NULL)
		abort();
	self->n_stdio = 3;
	for (int number = 0; number < 3; number++) {
		auto_free char *path = text_format("/proc/%d/fd/%d", (int) init, number);
		char link[128];
		ssize_t size = readlink(path, link, sizeof(link) - 1);

		link[size > 0 ? size : 0] = '\0';
		self->stdio[number] = text_copy(text_has_prefix(link, "pipe:[") ? link : "");
		if (text_has_prefix(link, "/dev/pts/") || text_has_prefix(link, "/dev/console"))
			self->has_terminal = true;
	}
}

/* What 0 in there is out here. */
static uint32_t root_id(pid_t init)
{
	auto_free char *path = text_format("/proc/%d/uid_map", (int) init);
	auto_free char *data = NULL;
	struct error ignored;
	unsigned int inner, outer;

	if (file_read(AT_FDCWD, path, MAP_LIMIT, &data, NULL, &ignored) < 0)
		return 0;
	for (const char *line = data; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n')
		if (sscanf(line, "%u %u", &inner, &outer) == 2 && inner == 0)
			return outer;
	return 0;
}

int metadata_collect(Hydra__V1__CheckpointMetadata **ret_metadata, const char *id, pid_t init,
		     const struct criu *criu, struct error *err)
{
	Hydra__V1__CheckpointMetadata *self = malloc(sizeof(*self));
	struct utsname kernel;
	int r;

	if (self == NULL)
		return fail_errno(err, ENOMEM, "describe the container");
	hydra__v1__checkpoint_metadata__init(self);
	self->version = METADATA_VERSION;
	self->container_id = text_copy(id);
	self->criu_version = text_copy(criu->version_text);
	self->kernel = text_copy(uname(&kernel) == 0 ? kernel.release : "");
	self->created_ns = clock_realtime_ns();
	self->init_pid = (uint32_t) proc_virtual_pid(init, proc_namespace_depth(init));
	self->has_tcp = true;
	self->root_uid = root_id(init);
	collect_stdio(self, init);
	r = collect_mounts(self, init, err);
	if (r < 0) {
		hydra__v1__checkpoint_metadata__free_unpacked(self, NULL);
		return fail_while(err, "describe the container");
	}
	*ret_metadata = self;
	return 0;
}

int metadata_write(const Hydra__V1__CheckpointMetadata *self, int dir_fd, struct error *err)
{
	size_t size = hydra__v1__checkpoint_metadata__get_packed_size(self);
	auto_free unsigned char *data = malloc(size + 1);

	if (data == NULL)
		return fail_errno(err, ENOMEM, "write " METADATA_FILE);
	(void) hydra__v1__checkpoint_metadata__pack(self, data);
	return file_replace(dir_fd, METADATA_FILE, data, size, 0600, err);
}

int metadata_unpack(Hydra__V1__CheckpointMetadata **ret_metadata, const void *data, size_t size, struct error *err)
{
	Hydra__V1__CheckpointMetadata *self;

	if (size > METADATA_MAX)
		return fail_because(err, EFBIG, "the checkpoint's description is too long");
	self = hydra__v1__checkpoint_metadata__unpack(NULL, size, data);
	if (self == NULL || self->version == 0 || self->n_stdio != 3) {
		hydra__v1__checkpoint_metadata__free_unpacked(self, NULL);
		return fail_because(err, EPROTO, "the checkpoint's description is damaged");
	}
	if (self->version > METADATA_VERSION) {
		(void) fail_because(err, EPROTO, "the checkpoint's description has version %u, this program knows up to %d",
				    self->version, METADATA_VERSION);
		hydra__v1__checkpoint_metadata__free_unpacked(self, NULL);
		return err->code;
	}
	*ret_metadata = self;
	return 0;
}

int metadata_read(Hydra__V1__CheckpointMetadata **ret_metadata, int dir_fd, struct error *err)
{
	auto_free char *data = NULL;
	size_t size;
	int r = file_read(dir_fd, METADATA_FILE, METADATA_MAX, &data, &size, err);

	return r < 0 ? r : metadata_unpack(ret_metadata, data, size, err);
}
