/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root file system as containerd describes it: mounts in order onto <bundle>/rootfs.
 */
#include "base/owned.h"
#include "base/text.h"
#include "shim/containerd.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

static const struct mount_word {
	const char *word;
	unsigned long set, clear;
} mount_words[] = {
	{"ro", MS_RDONLY, 0},           {"rw", 0, MS_RDONLY},           {"nosuid", MS_NOSUID, 0},    {"suid", 0, MS_NOSUID},
	{"nodev", MS_NODEV, 0},         {"dev", 0, MS_NODEV},           {"noexec", MS_NOEXEC, 0},    {"exec", 0, MS_NOEXEC},
	{"noatime", MS_NOATIME, 0},     {"atime", 0, MS_NOATIME},       {"relatime", MS_RELATIME, 0}, {"norelatime", 0, MS_RELATIME},
	{"nodiratime", MS_NODIRATIME, 0}, {"diratime", 0, MS_NODIRATIME}, {"bind", MS_BIND, 0},
	{"rbind", MS_BIND | MS_REC, 0}, {"sync", MS_SYNCHRONOUS, 0},    {"async", 0, MS_SYNCHRONOUS}, {"dirsync", MS_DIRSYNC, 0},
	{"strictatime", MS_STRICTATIME, 0}, {"defaults", 0, 0},
};

static bool take_word(const char *word, unsigned long *flags)
{
	for (size_t i = 0; i < sizeof(mount_words) / sizeof(mount_words[0]); i++) {
		if (strcmp(word, mount_words[i].word) == 0) {
			*flags = (*flags | mount_words[i].set) & ~mount_words[i].clear;
			return true;
		}
	}
	return false;
}

static int mount_one(const Containerd__Task__Mount *entry, const char *target, struct error *err)
{
	auto_text data = TEXT_EMPTY;
	unsigned long flags = 0;

	for (size_t i = 0; i < entry->n_options; i++) {
		if (!take_word(entry->options[i], &flags))
			text_addf(&data, "%s%s", data.size > 0 ? "," : "", entry->options[i]);
	}
	if (mount(entry->source, target, entry->type, flags, data.data) < 0)
		return fail_errno(err, errno, "mount %s '%s' at '%s'", entry->type, entry->source, target);
	/* the kernel takes read-only for a bind mount only in a second step */
	if ((flags & MS_BIND) != 0 && (flags & MS_RDONLY) != 0 &&
	    mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | (flags & ~(unsigned long) MS_REC), NULL) < 0)
		return fail_errno(err, errno, "make '%s' read-only", target);
	return 0;
}

int containerd_mount_rootfs(const Containerd__Task__CreateRequest *request, struct error *err)
{
	auto_free char *target = text_format("%s/rootfs", request->bundle);
	int r = 0;

	if (request->n_rootfs > 0)
		(void) mkdir(target, 0711);
	for (size_t i = 0; i < request->n_rootfs && r == 0; i++)
		r = mount_one(request->rootfs[i], target, err);
	if (r < 0)
		containerd_unmount_rootfs(request->bundle);
	return r;
}

void containerd_unmount_rootfs(const char *bundle)
{
	auto_free char *target = text_format("%s/rootfs", bundle);

	while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
}
