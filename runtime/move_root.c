/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/move_root.h"

#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNTS_LIMIT (64UL << 20)

struct host_mount {
	uint64_t id;
	uint64_t parent;
	const char *path;
	bool is_revealing; /* a proc or sysfs */
};

/* mountinfo writes spaces and the like as \040. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text != '\0'; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
			*to++ = (char) ((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

/* "42 21 0:5 / /proc rw - proc proc rw": of no more than these is anything said here. */
static int parse_line(char *line, struct host_mount *ret_mount)
{
	const char *type = strstr(line, " - ");
	char *rest = NULL;
	char *words[5];

	ret_mount->is_revealing = type != NULL && (text_has_prefix(type, " - proc ") || text_has_prefix(type, " - sysfs "));
	for (int i = 0; i < 5; i++) {
		words[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
		if (words[i] == NULL)
			return -EINVAL;
	}
	unescape(words[4]);
	ret_mount->path = words[4];
	return number_parse_u64(words[0], &ret_mount->id) < 0 || number_parse_u64(words[1], &ret_mount->parent) < 0 ? -EINVAL : 0;
}

static size_t parse_lines(char *data, struct host_mount *mounts)
{
	char *rest = NULL;
	size_t count = 0;

	for (char *line = strtok_r(data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		count += parse_line(line, &mounts[count]) == 0;
	return count;
}

/* Names would not do: the rootfs may be mounted on the host's root. */
static bool is_of_rootfs(const struct host_mount *mounts, size_t count, const struct host_mount *mount, uint64_t rootfs_id)
{
	for (size_t depth = 0; depth < count && mount->id != rootfs_id; depth++) {
		const struct host_mount *parent = NULL;

		for (size_t i = 0; i < count && parent == NULL; i++)
			if (mounts[i].id == mount->parent && mounts[i].id != mount->id)
				parent = &mounts[i];
		if (parent == NULL)
			return false;
		mount = parent;
	}
	return mount->id == rootfs_id;
}

/* In a user namespace what came from outside cannot be taken away, but it can be covered, which is as good. */
static int take_away(const char *path, struct error *err)
{
	if (umount2(path, MNT_DETACH) == 0 || errno == ENOENT)
		return 0;
	if ((errno == EINVAL || errno == EPERM) && mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0)
		return 0;
	return errno == ENOENT ? 0 : fail_errno(err, errno, "take away '%s' of the host", path);
}

static int hide_host(const struct host_mount *mounts, size_t count, uint64_t rootfs_id, struct error *err)
{
	auto_free bool *is_outside = calloc(count + 1, sizeof(*is_outside));

	if (is_outside == NULL)
		return fail_errno(err, ENOMEM, "look at the mounts");
	for (size_t i = 0; i < count; i++) {
		is_outside[i] = !is_of_rootfs(mounts, count, &mounts[i], rootfs_id);
		/* what happens to it from here on must not happen to the host as well */
		if (is_outside[i])
			(void) mount(NULL, mounts[i].path, NULL, MS_SLAVE, NULL);
	}
	for (size_t i = count; i > 0; i--)
		if (is_outside[i - 1] && mounts[i - 1].is_revealing && take_away(mounts[i - 1].path, err) < 0)
			return err->code;
	return 0;
}

static int hide_outside(struct error *err)
{
	auto_free struct host_mount *mounts = NULL;
	auto_free char *data = NULL;
	struct statx status;
	size_t size = 0;

	if (statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) < 0 || (status.stx_mask & STATX_MNT_ID) == 0)
		return fail_errno(err, errno != 0 ? errno : ENOSYS, "look at the rootfs");
	if (file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_LIMIT, &data, NULL, err) < 0)
		return err->code;
	for (const char *at = strchr(data, '\n'); at != NULL; at = strchr(at + 1, '\n'))
		size++;
	mounts = calloc(size + 1, sizeof(*mounts));
	if (mounts == NULL)
		return fail_errno(err, ENOMEM, "look at the mounts");
	return hide_host(mounts, parse_lines(data, mounts), status.stx_mnt_id, err);
}

int move_root(struct error *err)
{
	if (hide_outside(err) < 0)
		return err->code;
	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0)
		return fail_errno(err, errno, "move the rootfs to /");
	if (chroot(".") < 0)
		return fail_errno(err, errno, "enter the rootfs");
	return 0;
}
