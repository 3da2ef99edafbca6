/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/layer_xattrs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/text.h"

/* What describes the source's own file systems means nothing at the target. */
static const char *const local_xattrs[] = {"trusted.overlay.origin", "trusted.overlay.uuid", "trusted.overlay.impure",
					   "trusted.overlay.nlink", NULL};

void layer_xattrs_clear(struct layer_xattrs *self)
{
	for (size_t i = 0; i < self->count; i++)
		free(self->items[i].value.data);
	self->count = 0;
}

static int compare_names(const void *left, const void *right)
{
	return strcmp((*(Hydra__V1__LayerXattr *const *) left)->name, (*(Hydra__V1__LayerXattr *const *) right)->name);
}

static int add(struct layer_xattrs *self, const char *proc_path, const char *name)
{
	Hydra__V1__LayerXattr *item = &self->items[self->count];
	ssize_t length = lgetxattr(proc_path, name, NULL, 0);
	void *value = length < 0 ? NULL : malloc((size_t) length + 1);

	if (value != NULL)
		length = lgetxattr(proc_path, name, value, (size_t) length + 1);
	if (value == NULL || length < 0) {
		int code = errno;

		free(value);
		return code == ENODATA || code == ENOENT ? 0 : -code;
	}
	hydra__v1__layer_xattr__init(item);
	item->name = (char *) (uintptr_t) name;
	item->value.data = value;
	item->value.len = (size_t) length;
	self->list[self->count++] = item;
	return 0;
}

int layer_xattrs_read(struct layer_xattrs *self, const char *proc_path, const char *path, struct error *err)
{
	ssize_t size = llistxattr(proc_path, self->names, sizeof(self->names));

	if (size < 0)
		return errno == EOPNOTSUPP || errno == ENOENT ? 0 : fail_errno(err, errno, "list attributes of '%s'", path);
	for (const char *name = self->names; name < self->names + size; name += strlen(name) + 1) {
		int r;

		if (text_is_one_of(name, local_xattrs))
			continue;
		if (self->count == LAYER_XATTRS_MAX)
			return fail_because(err, E2BIG, "'%s' has more than %u attributes", path, LAYER_XATTRS_MAX);
		r = add(self, proc_path, name);
		if (r < 0)
			return fail_errno(err, -r, "read attribute '%s' of '%s'", name, path);
	}
	if (self->count > 1)
		qsort(self->list, self->count, sizeof(self->list[0]), compare_names);
	return 0;
}
