/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of a config.json to struct spec: syntax (json.c), types (the tables), then what must hold before
 * anything is done to the system. Pure: no system calls but reading the file.
 */
#include "runtime/spec.h"

#include "base/file.h"
#include "base/owned.h"
#include "runtime/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int spec_parse(struct spec *self, const char *data, size_t size, const char *name, struct error *err)
{
	*self = (struct spec){.arena = ARENA_EMPTY};
	if (json_parse(data, size, name, &self->document, err) < 0)
		return err->code;
	if (json_fields_read(spec_fields, self->document, "", &self->arena, self, err) < 0 || spec_check(self, err) < 0) {
		spec_deinit(self);
		return fail_while(err, "%s", name);
	}
	return 0;
}

int spec_load(struct spec *self, const char *path, struct error *err)
{
	auto_free char *data = NULL;
	size_t size;

	if (file_read(AT_FDCWD, path, JSON_SIZE_MAX, &data, &size, err) < 0)
		return err->code;
	if (spec_parse(self, data, size, "config.json", err) < 0)
		return err->code;
	self->source = take_ptr(&data);
	self->source_size = size;
	return 0;
}

void spec_deinit(struct spec *self)
{
	arena_deinit(&self->arena);
	json_release(&self->document);
	free(self->source);
	*self = (struct spec){.arena = ARENA_EMPTY};
}

int spec_part_parse(struct spec_part *self, const struct field *fields, const char *data, size_t size, const char *name,
		    void *target, struct error *err)
{
	*self = (struct spec_part){.arena = ARENA_EMPTY};
	if (json_parse(data, size, name, &self->document, err) < 0)
		return err->code;
	if (json_fields_read(fields, self->document, name, &self->arena, target, err) < 0) {
		spec_part_deinit(self);
		return err->code;
	}
	return 0;
}

void spec_part_deinit(struct spec_part *self)
{
	arena_deinit(&self->arena);
	json_release(&self->document);
	*self = (struct spec_part){.arena = ARENA_EMPTY};
}

const struct spec_namespace *spec_find_namespace(const struct spec *self, const char *type)
{
	for (size_t i = 0; i < self->linux_part.namespaces.count; i++) {
		const struct spec_namespace *entry = &self->linux_part.namespaces.items[i];

		if (entry->type != NULL && strcmp(entry->type, type) == 0)
			return entry;
	}
	return NULL;
}

bool spec_annotation_is_true(const struct spec *self, const char *key)
{
	const char *value = spec_annotation(self, key);

	return value != NULL && (strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
}

const char *spec_annotation(const struct spec *self, const char *key)
{
	for (size_t i = 0; i < self->annotations.count; i++)
		if (strcmp(self->annotations.items[i].key, key) == 0)
			return self->annotations.items[i].value;
	return NULL;
}
