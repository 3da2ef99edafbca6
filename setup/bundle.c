/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "setup/setup.h"
#include "state/layer_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

char *bundle_data_path(const char *namespace, const char *id)
{
	return text_format("%s/%s/%s", data_root(), namespace, id);
}

static int require_folder(const char *what, const char *path, struct error *err)
{
	struct stat info;

	if (path[0] != '/')
		return fail_because(err, EINVAL, "%s '%s': expected an absolute path", what, path);
	if (stat(path, &info) < 0)
		return fail_because(err, errno, "%s '%s': %s", what, path, strerrordesc_np(errno));
	if (!S_ISDIR(info.st_mode))
		return fail_because(err, ENOTDIR, "%s '%s': expected a folder", what, path);
	return 0;
}

/* Nobody may find it unused (hydractl prune) before our record names it; held until we end. */
static int hold_layer(const char *path, struct error *err)
{
	auto_free char *store = layer_store_root(data_root());
	int held_fd;

	return layer_store_digest(store, path) != NULL ? layer_store_hold(path, &held_fd, err) : 0;
}

static int use_bundle(const create_request *request, record *container, struct error *err)
{
	auto_free char *config_path = text_format("%s/config.json", request->bundle);
	int r = require_folder("bundle", request->bundle, err);

	if (r < 0)
		return r;
	if (!path_exists(AT_FDCWD, config_path))
		return fail_because(err, ENOENT, "bundle '%s': it has no config.json", request->bundle);
	return message_set_string(&container->bundle, request->bundle) ? 0 : fail_errno(err, ENOMEM, "use the bundle");
}

static int mount_overlay(const Hydra__V1__Rootfs *rootfs, const char *target, struct error *err)
{
	auto_free char *options =
		text_format("lowerdir=%s,upperdir=%s,workdir=%s", rootfs->lower, rootfs->upper, rootfs->work);

	if (strpbrk(rootfs->lower, ",:\\") != NULL)
		return fail_because(err, EINVAL, "rootfs '%s': an overlay can't use a path with , : or \\", rootfs->lower);
	if (mount("overlay", target, "overlay", 0, options) < 0)
		return fail_errno(err, errno, "mount an overlay of '%s' at '%s'", rootfs->lower, target);
	return 0;
}

static int set_paths(const create_request *request, record *container, const char *data, struct error *err)
{
	Hydra__V1__Rootfs *rootfs = malloc(sizeof(*rootfs));
	auto_free char *bundle = text_format("%s/bundle", data);
	auto_free char *upper = text_format("%s/upper", data);
	auto_free char *work = text_format("%s/work", data);

	if (rootfs == NULL)
		return fail_errno(err, ENOMEM, "make a bundle");
	hydra__v1__rootfs__init(rootfs);
	container->rootfs = rootfs;
	if (!message_set_string(&container->bundle, bundle) || !message_set_string(&rootfs->lower, request->rootfs) ||
	    !message_set_string(&rootfs->upper, upper) || !message_set_string(&rootfs->work, work))
		return fail_errno(err, ENOMEM, "make a bundle");
	return 0;
}

int bundle_make(const create_request *request, record *container, struct error *err)
{
	auto_free char *data = NULL;
	auto_free char *target = NULL;
	auto_free char *config_path = NULL;
	int r;

	if (request->bundle[0] != '\0')
		return use_bundle(request, container, err);
	r = require_folder("rootfs", request->rootfs, err);
	if (r == 0)
		r = hold_layer(request->rootfs, err);
	if (r < 0)
		return r;
	data = bundle_data_path(container->namespace_, container->id);
	target = text_format("%s/bundle/rootfs", data);
	config_path = text_format("%s/bundle/config.json", data);
	r = set_paths(request, container, data, err);
	if (r == 0)
		r = dir_make_all(target, 0711, err);
	if (r == 0)
		r = dir_make_all(container->rootfs->upper, 0755, err);
	if (r == 0)
		r = dir_make_all(container->rootfs->work, 0700, err);
	if (r == 0)
		r = mount_overlay(container->rootfs, target, err);
	if (r == 0)
		r = spec_write(request, container->network != NULL ? container->network->netns_path : "", config_path, err);
	return r;
}

int bundle_remove(const record *container, struct error *err)
{
	auto_free char *data = bundle_data_path(container->namespace_, container->id);
	auto_free char *target = text_format("%s/bundle/rootfs", data);

	while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	return dir_remove_all(AT_FDCWD, data, err);
}
