/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/log_line.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

struct part {
	const char *time;
	size_t time_size;
	bool is_error;
	bool is_final; /* a line ends here */
	const char *text;
	size_t size;
};

static void print_part(struct log_printer *self, const struct part *part)
{
	FILE *out = part->is_error ? stderr : stdout;

	if (part->is_error)
		(void) fflush(stdout); /* in the order of the log, also where both go to the same place */
	if (self->with_time && !self->is_continued)
		(void) fprintf(out, "%.*s ", (int) part->time_size, part->time);
	(void) fwrite(part->text, 1, part->size, out);
	if (part->is_final)
		(void) fputc('\n', out);
	self->is_continued = !part->is_final;
}

/* TIME STREAM TAG TEXT */
static void print_cri(struct log_printer *self, char *line, size_t size)
{
	const char *end = line + size;
	const char *stream = memchr(line, ' ', size);
	const char *tag = stream != NULL ? memchr(stream + 1, ' ', (size_t) (end - stream - 1)) : NULL;
	const char *text = tag != NULL ? memchr(tag + 1, ' ', (size_t) (end - tag - 1)) : NULL;

	if (text == NULL)
		return;
	/* the line's own end, which the shim added */
	print_part(self, &(struct part){.time = line,
					.time_size = (size_t) (stream - line),
					.is_error = strncmp(stream + 1, "stderr", 6) == 0,
					.is_final = tag[1] == 'F',
					.text = text + 1,
					.size = (size_t) (end - text) - 2});
}

static void print_json(struct log_printer *self, char *line, size_t size)
{
	yyjson_doc *doc = yyjson_read(line, size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	yyjson_val *log = yyjson_obj_get(root, "log");
	yyjson_val *time = yyjson_obj_get(root, "time");
	const char *stream = yyjson_get_str(yyjson_obj_get(root, "stream"));
	struct part part = {.text = yyjson_get_str(log), .size = yyjson_get_len(log)};

	if (part.text != NULL) {
		part.is_final = part.size > 0 && part.text[part.size - 1] == '\n';
		part.size -= part.is_final;
		part.is_error = stream != NULL && strcmp(stream, "stderr") == 0;
		part.time = yyjson_is_str(time) ? yyjson_get_str(time) : "";
		part.time_size = strlen(part.time);
		print_part(self, &part);
	}
	yyjson_doc_free(doc);
}

static void print_raw(struct log_printer *self, char *line, size_t size)
{
	(void) fwrite(line, 1, size, stdout);
	self->is_continued = size > 0 && line[size - 1] != '\n';
}

static const struct {
	Hydra__V1__LogFormat format;
	void (*print)(struct log_printer *self, char *line, size_t size);
	bool may_have_no_end;
} formats[] = {
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI, print_cri, false},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JSON_FILE, print_json, false},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_RAW, print_raw, true},
};

static size_t find(Hydra__V1__LogFormat format)
{
	size_t index = sizeof(formats) / sizeof(formats[0]);

	while (--index > 0 && formats[index].format != format)
		;
	return index;
}

void log_line_print(struct log_printer *self, char *line, size_t size)
{
	formats[find(self->format)].print(self, line, size);
}

bool log_line_may_have_no_end(const struct log_printer *self)
{
	return formats[find(self->format)].may_have_no_end;
}
