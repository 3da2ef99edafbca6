/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints on disk. Their folder has all that a restore needs besides the image: CRIU's images, the container's
 * record and configuration, and its writable layer.
 *
 *   images/  record  config.json  upper/
 *
 * or, encrypted, all of it in one file (setup/sealed.h).
 */
#include "base/child.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "setup/sealed.h"
#include "setup/setup.h"
#include "shim.pb-c.h"
#include "state/left_data.h"
#include "state/shim_process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FILE_SIZE_MAX (4U << 20)

static int copy_file(const char *from_folder, const char *to_folder, const char *name, struct error *err)
{
	auto_free char *from = text_format("%s/%s", from_folder, name);
	auto_free char *to = text_format("%s/%s", to_folder, name);
	auto_free char *data = NULL;
	size_t size;
	int r = file_read(AT_FDCWD, from, FILE_SIZE_MAX, &data, &size, err);

	return r < 0 ? r : file_replace(AT_FDCWD, to, data, size, 0600, err);
}

/* With owners, times and extended attributes: an overlay keeps its own in them. */
static int copy_layer(const char *from, const char *to, struct error *err)
{
	auto_free char *source = text_format("%s/.", from);
	const char *argv[] = {"cp", "-a", source, to, NULL};
	struct child_spec spec = {.path = "/bin/cp", .argv = argv, .cwd = "/", .fds = {{STDERR_FILENO, 2}}, .fd_count = 1};
	pid_t pid;
	int status = 0;
	int r = dir_make_all(to, 0755, err);

	if (r == 0)
		r = child_start(&spec, &pid, NULL, err);
	if (r == 0)
		r = child_wait(pid, &status, err);
	return r == 0 && status != 0 ? fail_because(err, EIO, "copy '%s' to '%s': cp ended with status %d", from, to, status) : r;
}

static int dump(const char *root, const record *container, const char *images, bool leave_running, struct error *err)
{
	Hydra__V1__CheckpointRequest request = HYDRA__V1__CHECKPOINT_REQUEST__INIT;
	auto_free char *folder = text_format("%s/images", images);
	auto_message ProtobufCMessage *response = NULL;
	auto_close int fd = FD_NONE;
	int r = shim_process_connect(root, container->namespace_, container->id, &fd, err);

	if (r == -ENOENT || r == -ECONNREFUSED)
		return fail_because(err, EBUSY, "checkpoint container '%s': it does not run", container->id);
	request.images = folder;
	request.leave_running = leave_running;
	if (r == 0)
		r = dir_make_all(folder, 0700, err);
	if (r == 0)
		r = ttrpc_call_blocking(fd, "hydra.v1.Shim", "Checkpoint", &request.base, &hydra__v1__empty__descriptor, 0,
					&response, err);
	return r;
}

/* Nothing was saved: what was put into the folder goes, and the folder if there is nothing else in it. */
static void forget_parts(const char *images)
{
	static const char *const names[] = {"record", "config.json", "images"};
	struct error ignored;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		auto_free char *path = text_format("%s/%s", images, names[i]);

		(void) dir_remove_all(AT_FDCWD, path, &ignored);
	}
	(void) rmdir(images);
}

static int check(const record *container, struct error *err)
{
	if (container->rootfs == NULL)
		return fail_because(err, EOPNOTSUPP, "checkpoint container '%s': it was made from a bundle; containers made with "
						     "--rootfs can be saved", container->id);
	return 0;
}

/* All but the layer. */
static int save_parts(const char *root, const record *container, const char *dir, const char *images, bool leave_running, struct error *err)
{
	int r = dir_make_all(images, 0700, err);

	if (r == 0)
		r = copy_file(dir, images, "record", err);
	if (r == 0)
		r = copy_file(container->bundle, images, "config.json", err);
	return r == 0 ? dump(root, container, images, leave_running, err) : r;
}

static int save(const char *root, const record *container, const char *dir, const char *images, bool leave_running,
		struct error *err)
{
	auto_free char *layer = text_format("%s/upper", images);
	auto_free char *sealed = text_format("%s/" SEALED_FILE, images);
	int r;

	if (path_exists(AT_FDCWD, layer) || path_exists(AT_FDCWD, sealed))
		return fail_because(err, EEXIST, "'%s' has a checkpoint already", images);
	r = save_parts(root, container, dir, images, leave_running, err);
	if (r < 0)
		forget_parts(images);
	/* what runs on may write meanwhile: its files are as new as its memory, or newer */
	return r == 0 ? copy_layer(container->rootfs->upper, layer, err) : r;
}

/* Into memory, and from there encrypted to disk. When that fails although the container has been stopped for it, its images stay. */
static int save_sealed(const char *root, const record *container, const char *dir, const struct checkpoint_place *where, bool leave_running,
		       struct error *err)
{
	auto_free char *place = NULL;
	int r = sealed_check(where->images, where->key_file, err);

	if (r == 0)
		r = sealed_place_make(root, &place, err);
	if (r < 0)
		return r;
	r = save_parts(root, container, dir, place, leave_running, err);
	if (r == 0) {
		r = sealed_pack(place, container->rootfs->upper, where->images, where->key_file, leave_running, err);
		if (r < 0 && !leave_running) {
			sealed_place_keep(place);
			return fail_while(err, "container '%s' was stopped, what was saved is in '%s' (mounted in memory)", container->id, place);
		}
	}
	sealed_place_remove(place);
	return r;
}

int container_checkpoint(const char *root, const char *namespace, const char *id, const struct checkpoint_place *where, bool leave_running,
			 struct error *err)
{
	auto_record *container = NULL;
	struct run_dir dir;
	int r;

	if (where->images[0] != '/')
		return fail_because(err, EINVAL, "images '%s': expected an absolute path", where->images);
	r = run_dir_open(&dir, root, namespace, id, err);
	if (r < 0)
		return r;
	r = record_load(dir.fd, &container, err);
	if (r == 0)
		r = check(container, err);
	if (r == 0)
		r = where->key_file != NULL ? save_sealed(root, container, dir.path, where, leave_running, err)
					    : save(root, container, dir.path, where->images, leave_running, err);
	run_dir_close(&dir);
	return r;
}

/* images: where record, config.json and images are. */
static int bring_back(const struct target *target, struct error *err)
{
	struct run_dir dir;
	struct error ignored;
	int r = target_make(target, &dir, err);

	if (r < 0)
		return r;
	run_dir_close(&dir);
	r = launch_call_patiently(target->root, target->namespace, target->id, "Create", err);
	if (r < 0)
		(void) container_remove(target->root, target->namespace, target->id, true, &ignored);
	return r;
}

static int restore_plain(struct target *target, const char *upper, struct error *err)
{
	auto_free char *from = text_format("%s/upper", target->images);
	auto_free char *sealed = text_format("%s/" SEALED_FILE, target->images);
	int r = path_exists(AT_FDCWD, sealed) ? fail_because(err, ENOKEY, "the checkpoint in '%s' is encrypted: name its key with --key-file",
							     target->images)
					      : copy_layer(from, upper, err);

	return r == 0 ? bring_back(target, err) : r;
}

static int restore_sealed(struct target *target, const char *key_file, const char *upper, struct error *err)
{
	auto_free char *place = NULL;
	int r = sealed_place_make(target->root, &place, err);

	if (r < 0)
		return r;
	r = sealed_unpack(target->images, key_file, place, upper, err);
	target->images = place;
	if (r == 0)
		r = bring_back(target, err);
	sealed_place_remove(place);
	return r;
}

int container_restore(const char *root, const char *namespace, const char *id, const struct checkpoint_place *where, struct error *err)
{
	struct target target = {.root = root, .namespace = namespace, .id = id, .images = where->images};
	auto_free char *data = bundle_data_path(namespace, id);
	auto_free char *upper = text_format("%s/upper", data);
	auto_free char *folder = text_format("%s/%s/%s", root, namespace, id);
	struct error ignored;
	int r;

	if (where->images[0] != '/')
		return fail_because(err, EINVAL, "images '%s': expected an absolute path", where->images);
	if (path_exists(AT_FDCWD, folder))
		return fail_because(err, EEXIST, "container '%s' exists", id);
	r = left_data_set_aside(data_root(), namespace, id, err);
	if (r < 0)
		return r;
	r = where->key_file != NULL ? restore_sealed(&target, where->key_file, upper, err) : restore_plain(&target, upper, err);
	if (r < 0)
		(void) dir_remove_all(AT_FDCWD, data, &ignored);
	return r;
}
