/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/new_mount.h"

#include "base/owned.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define FLAG_LAZYTIME (1UL << 25)

/* Of the file system itself, as words. */
static const struct {
	unsigned long flag;
	const char *word;
} words[] = {
	{MS_RDONLY, "ro"}, {MS_SYNCHRONOUS, "sync"}, {MS_DIRSYNC, "dirsync"}, {FLAG_LAZYTIME, "lazytime"},
};

/* Of the mount. */
static const struct {
	unsigned long flag;
	unsigned int attribute;
} attributes[] = {
	{MS_RDONLY, MOUNT_ATTR_RDONLY},     {MS_NOSUID, MOUNT_ATTR_NOSUID},           {MS_NODEV, MOUNT_ATTR_NODEV},
	{MS_NOEXEC, MOUNT_ATTR_NOEXEC},     {MS_NODIRATIME, MOUNT_ATTR_NODIRATIME},   {MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW},
	{MS_NOATIME, MOUNT_ATTR_NOATIME},   {MS_STRICTATIME, MOUNT_ATTR_STRICTATIME}, {MS_RELATIME, MOUNT_ATTR_RELATIME},
	{MS_REC, 0},
};

static bool set_words(int context_fd, unsigned long flags)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if ((flags & words[i].flag) != 0 && fsconfig(context_fd, FSCONFIG_SET_FLAG, words[i].word, NULL, 0) < 0)
			return false;
	return true;
}

/* "size=64k,mode=755,newinstance"; a comma that is quoted or escaped is only understood by mount(2). */
static bool set_data(int context_fd, const char *data)
{
	auto_free char *copy = strdup(data);
	char *rest = NULL;

	if (copy == NULL || strpbrk(data, "\"\\") != NULL)
		return false;
	for (char *word = strtok_r(copy, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
		char *value = strchr(word, '=');

		if (value != NULL)
			*value++ = '\0';
		if (fsconfig(context_fd, value != NULL ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, word, value, 0) < 0)
			return false;
	}
	return true;
}

static bool find_attributes(unsigned long flags, unsigned int *ret_attributes)
{
	*ret_attributes = 0;
	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
		if ((flags & attributes[i].flag) != 0)
			*ret_attributes |= attributes[i].attribute;
		flags &= ~attributes[i].flag;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		flags &= ~words[i].flag;
	return flags == 0;
}

int new_mount_make(const char *type, const char *source, const struct mount_options *options, int *ret_fd)
{
	auto_close int context_fd = FD_NONE;
	unsigned int wanted;
	int fd;

	if (!find_attributes(options->flags, &wanted))
		return NEW_MOUNT_NOT_POSSIBLE;
	context_fd = fsopen(type, FSOPEN_CLOEXEC);
	if (context_fd < 0 || fsconfig(context_fd, FSCONFIG_SET_STRING, "source", source, 0) < 0 || !set_words(context_fd, options->flags) ||
	    !set_data(context_fd, options->data) || fsconfig(context_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return NEW_MOUNT_NOT_POSSIBLE;
	fd = fsmount(context_fd, FSMOUNT_CLOEXEC, wanted);
	if (fd < 0)
		return NEW_MOUNT_NOT_POSSIBLE;
	*ret_fd = fd;
	return 0;
}
