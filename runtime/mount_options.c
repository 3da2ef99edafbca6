/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table: a word, what it sets, what it takes back.
 */
#include "runtime/mount_options.h"

#include <errno.h>
#include <sys/mount.h>
#include <string.h>

/* <sys/mount.h> and <linux/mount.h> cannot both be included everywhere; these are the kernel's, for ever. */
#define FLAG_MANDLOCK    64UL
#define FLAG_SILENT      32768UL
#define FLAG_I_VERSION   (1UL << 23)
#define FLAG_LAZYTIME    (1UL << 25)

#define ATTRIBUTES_TIME MOUNT_ATTR__ATIME

enum word_kind {
	WORD_NOTHING,
	WORD_FLAG,      /* only mount(2) knows it */
	WORD_ATTRIBUTE, /* both know it */
	WORD_RECURSIVE,
	WORD_PROPAGATION,
	WORD_COPY_UP,
	WORD_IDMAP,
	WORD_IDMAP_RECURSIVE,
};

struct word {
	const char *name;
	enum word_kind kind;
	unsigned long set_flags;
	unsigned long clear_flags;
	uint64_t set;
	uint64_t clear;
};

static const struct word words[] = {
	{"async", WORD_FLAG, 0, MS_SYNCHRONOUS},
	{"atime", WORD_ATTRIBUTE, 0, MS_NOATIME, 0, ATTRIBUTES_TIME},
	{"bind", WORD_FLAG, MS_BIND},
	{"copy-symlink", WORD_NOTHING}, /* mounts_copies_link() */
	{"defaults", WORD_NOTHING},
	{"dev", WORD_ATTRIBUTE, 0, MS_NODEV, 0, MOUNT_ATTR_NODEV},
	{"diratime", WORD_ATTRIBUTE, 0, MS_NODIRATIME, 0, MOUNT_ATTR_NODIRATIME},
	{"dirsync", WORD_FLAG, MS_DIRSYNC},
	{"exec", WORD_ATTRIBUTE, 0, MS_NOEXEC, 0, MOUNT_ATTR_NOEXEC},
	{"idmap", WORD_IDMAP},
	{"iversion", WORD_FLAG, FLAG_I_VERSION},
	{"lazytime", WORD_FLAG, FLAG_LAZYTIME},
	{"loud", WORD_FLAG, 0, FLAG_SILENT},
	{"mand", WORD_FLAG, FLAG_MANDLOCK},
	{"noatime", WORD_ATTRIBUTE, MS_NOATIME, MS_RELATIME | MS_STRICTATIME, MOUNT_ATTR_NOATIME, ATTRIBUTES_TIME},
	{"nodev", WORD_ATTRIBUTE, MS_NODEV, 0, MOUNT_ATTR_NODEV},
	{"nodiratime", WORD_ATTRIBUTE, MS_NODIRATIME, 0, MOUNT_ATTR_NODIRATIME},
	{"noexec", WORD_ATTRIBUTE, MS_NOEXEC, 0, MOUNT_ATTR_NOEXEC},
	{"noiversion", WORD_FLAG, 0, FLAG_I_VERSION},
	{"nolazytime", WORD_FLAG, 0, FLAG_LAZYTIME},
	{"nomand", WORD_FLAG, 0, FLAG_MANDLOCK},
	{"norelatime", WORD_ATTRIBUTE, 0, MS_RELATIME, 0, ATTRIBUTES_TIME},
	{"nostrictatime", WORD_ATTRIBUTE, 0, MS_STRICTATIME, 0, ATTRIBUTES_TIME},
	{"nosuid", WORD_ATTRIBUTE, MS_NOSUID, 0, MOUNT_ATTR_NOSUID},
	{"nosymfollow", WORD_ATTRIBUTE, MS_NOSYMFOLLOW, 0, MOUNT_ATTR_NOSYMFOLLOW},
	{"private", WORD_PROPAGATION, MS_PRIVATE},
	{"ratime", WORD_RECURSIVE, 0, 0, 0, ATTRIBUTES_TIME},
	{"rbind", WORD_FLAG, MS_BIND | MS_REC},
	{"rdev", WORD_RECURSIVE, 0, 0, 0, MOUNT_ATTR_NODEV},
	{"rdiratime", WORD_RECURSIVE, 0, 0, 0, MOUNT_ATTR_NODIRATIME},
	{"relatime", WORD_ATTRIBUTE, MS_RELATIME, MS_NOATIME | MS_STRICTATIME, MOUNT_ATTR_RELATIME, ATTRIBUTES_TIME},
	{"remount", WORD_FLAG, MS_REMOUNT},
	{"rexec", WORD_RECURSIVE, 0, 0, 0, MOUNT_ATTR_NOEXEC},
	{"ridmap", WORD_IDMAP_RECURSIVE},
	{"rnoatime", WORD_RECURSIVE, 0, 0, MOUNT_ATTR_NOATIME, ATTRIBUTES_TIME},
	{"rnodev", WORD_RECURSIVE, 0, 0, MOUNT_ATTR_NODEV},
	{"rnodiratime", WORD_RECURSIVE, 0, 0, MOUNT_ATTR_NODIRATIME},
	{"rnoexec", WORD_RECURSIVE, 0, 0, MOUNT_ATTR_NOEXEC},
	{"rnorelatime", WORD_RECURSIVE, 0, 0, 0, ATTRIBUTES_TIME},
	{"rnostrictatime", WORD_RECURSIVE, 0, 0, 0, ATTRIBUTES_TIME},
	{"rnosuid", WORD_RECURSIVE, 0, 0, MOUNT_ATTR_NOSUID},
	{"rnosymfollow", WORD_RECURSIVE, 0, 0, MOUNT_ATTR_NOSYMFOLLOW},
	{"ro", WORD_ATTRIBUTE, MS_RDONLY, 0, MOUNT_ATTR_RDONLY},
	{"rprivate", WORD_PROPAGATION, MS_PRIVATE | MS_REC},
	{"rrelatime", WORD_RECURSIVE, 0, 0, MOUNT_ATTR_RELATIME, ATTRIBUTES_TIME},
	{"rro", WORD_RECURSIVE, 0, 0, MOUNT_ATTR_RDONLY},
	{"rrw", WORD_RECURSIVE, 0, 0, 0, MOUNT_ATTR_RDONLY},
	{"rshared", WORD_PROPAGATION, MS_SHARED | MS_REC},
	{"rslave", WORD_PROPAGATION, MS_SLAVE | MS_REC},
	{"rstrictatime", WORD_RECURSIVE, 0, 0, MOUNT_ATTR_STRICTATIME, ATTRIBUTES_TIME},
	{"rsuid", WORD_RECURSIVE, 0, 0, 0, MOUNT_ATTR_NOSUID},
	{"rsymfollow", WORD_RECURSIVE, 0, 0, 0, MOUNT_ATTR_NOSYMFOLLOW},
	{"runbindable", WORD_PROPAGATION, MS_UNBINDABLE | MS_REC},
	{"rw", WORD_ATTRIBUTE, 0, MS_RDONLY, 0, MOUNT_ATTR_RDONLY},
	{"shared", WORD_PROPAGATION, MS_SHARED},
	{"silent", WORD_FLAG, FLAG_SILENT},
	{"slave", WORD_PROPAGATION, MS_SLAVE},
	{"strictatime", WORD_ATTRIBUTE, MS_STRICTATIME, MS_NOATIME | MS_RELATIME, MOUNT_ATTR_STRICTATIME, ATTRIBUTES_TIME},
	{"suid", WORD_ATTRIBUTE, 0, MS_NOSUID, 0, MOUNT_ATTR_NOSUID},
	{"symfollow", WORD_ATTRIBUTE, 0, MS_NOSYMFOLLOW, 0, MOUNT_ATTR_NOSYMFOLLOW},
	{"sync", WORD_FLAG, MS_SYNCHRONOUS},
	{"tmpcopyup", WORD_COPY_UP},
	{"unbindable", WORD_PROPAGATION, MS_UNBINDABLE},
};

const char *mount_options_word(size_t index)
{
	return index < sizeof(words) / sizeof(words[0]) ? words[index].name : NULL;
}

static const struct word *find_word(const char *name)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].name, name) == 0)
			return &words[i];
	return NULL;
}

/* A later word wins over an earlier one: "ro", "rw" is writable. */
static void change(uint64_t *set, uint64_t *clear, const struct word *word)
{
	*set = (*set & ~word->clear) | word->set;
	*clear = (*clear & ~word->set) | word->clear;
}

static void apply(struct mount_options *options, const struct word *word)
{
	switch (word->kind) {
	case WORD_NOTHING:
		break;
	case WORD_ATTRIBUTE:
		change(&options->attributes_set, &options->attributes_clear, word);
		options->flags = (options->flags & ~word->clear_flags) | word->set_flags;
		break;
	case WORD_FLAG:
		options->flags = (options->flags & ~word->clear_flags) | word->set_flags;
		break;
	case WORD_RECURSIVE:
		change(&options->recursive_set, &options->recursive_clear, word);
		break;
	case WORD_PROPAGATION:
		options->propagation = word->set_flags;
		break;
	case WORD_COPY_UP:
		options->copies_up = true;
		break;
	case WORD_IDMAP:
	case WORD_IDMAP_RECURSIVE:
		options->is_idmapped = true;
		options->is_idmapped_recursively = word->kind == WORD_IDMAP_RECURSIVE;
		break;
	}
}

int mount_options_parse(const struct json_strings *option_words, struct mount_options *ret_options)
{
	struct mount_options *options = ret_options;
	size_t used = 0;

	memset(options, 0, offsetof(struct mount_options, data) + 1);
	for (size_t i = 0; i < option_words->count; i++) {
		const char *name = option_words->items[i];
		const struct word *word = find_word(name);
		size_t size = strlen(name);

		if (word != NULL) {
			apply(options, word);
			continue;
		}
		if (used + size + 2 > sizeof(options->data))
			return -E2BIG;
		if (used > 0)
			options->data[used++] = ',';
		memcpy(options->data + used, name, size + 1);
		used += size;
	}
	return 0;
}

static const char *skip_nothing(const char *path)
{
	while (path[0] == '/' || (path[0] == '.' && (path[1] == '/' || path[1] == '\0')))
		path++;
	return path;
}

bool mount_is_at(const char *destination, const char *name)
{
	const char *at = skip_nothing(destination);
	size_t size = strlen(name);

	return strncmp(at, name, size) == 0 && (at[size] == '/' || at[size] == '\0') && *skip_nothing(at + size) == '\0';
}
