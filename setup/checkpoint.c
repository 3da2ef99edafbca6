/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints on disk. Their folder has all that a restore needs besides the image: CRIU's images, the container's
 * record and configuration, and its writable layer.
 *
 *   images/  record  config.json  upper/
 */
#include "base/child.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "setup/setup.h"
#include "shim.pb-c.h"
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

static int save(const char *root, const record *container, const char *dir, const char *images, bool leave_running,
		struct error *err)
{
	auto_free char *layer = text_format("%s/upper", images);
	int r;

	if (container->rootfs == NULL)
		return fail_because(err, EOPNOTSUPP, "checkpoint container '%s': it was made from a bundle; containers made with "
						     "--rootfs can be saved", container->id);
	if (path_exists(AT_FDCWD, layer))
		return fail_because(err, EEXIST, "'%s' has a checkpoint already", images);
	r = dir_make_all(images, 0700, err);
	if (r == 0)
		r = copy_file(dir, images, "record", err);
	if (r == 0)
		r = copy_file(container->bundle, images, "config.json", err);
	if (r == 0)
		r = dump(root, container, images, leave_running, err);
	if (r < 0)
		forget_parts(images);
	/* what runs on may write meanwhile: its files are as new as its memory, or newer */
	return r == 0 ? copy_layer(container->rootfs->upper, layer, err) : r;
}

int container_checkpoint(const char *root, const char *namespace, const char *id, const char *images, bool leave_running,
			 struct error *err)
{
	auto_record *container = NULL;
	struct run_dir dir;
	int r;

	if (images[0] != '/')
		return fail_because(err, EINVAL, "images '%s': expected an absolute path", images);
	r = run_dir_open(&dir, root, namespace, id, err);
	if (r < 0)
		return r;
	r = record_load(dir.fd, &container, err);
	if (r == 0)
		r = save(root, container, dir.path, images, leave_running, err);
	run_dir_close(&dir);
	return r;
}

int container_restore(const char *root, const char *namespace, const char *id, const char *images, struct error *err)
{
	struct target target = {.root = root, .namespace = namespace, .id = id, .images = images};
	auto_free char *data = bundle_data_path(namespace, id);
	auto_free char *from = text_format("%s/upper", images);
	auto_free char *to = text_format("%s/upper", data);
	auto_free char *folder = text_format("%s/%s/%s", root, namespace, id);
	struct run_dir dir;
	struct error ignored;
	int r;

	if (images[0] != '/')
		return fail_because(err, EINVAL, "images '%s': expected an absolute path", images);
	if (path_exists(AT_FDCWD, folder))
		return fail_because(err, EEXIST, "container '%s' exists", id);
	/* what a host that crashed left of an earlier one with this name */
	r = dir_remove_all(AT_FDCWD, data, err);
	if (r == 0)
		r = copy_layer(from, to, err);
	if (r == 0)
		r = target_make(&target, &dir, err);
	if (r < 0) {
		(void) dir_remove_all(AT_FDCWD, data, &ignored);
		return r;
	}
	run_dir_close(&dir);
	r = launch_call_patiently(root, namespace, id, "Create", err);
	if (r < 0)
		(void) container_remove(root, namespace, id, true, &ignored);
	return r;
}
