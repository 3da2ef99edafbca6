/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/log_line.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

/* What a line of the file says; pointers are into it. */
struct part {
	const char *time;
	size_t time_size;
	bool is_error;
	bool is_final; /* a line ends here */
	const char *text;
	size_t size;
};

/* TIME STREAM TAG TEXT */
static bool parse_cri(const char *line, size_t size, struct part *ret_part)
{
	const char *end = line + size;
	const char *stream = memchr(line, ' ', size);
	const char *tag = stream != NULL ? memchr(stream + 1, ' ', (size_t) (end - stream - 1)) : NULL;
	const char *text = tag != NULL ? memchr(tag + 1, ' ', (size_t) (end - tag - 1)) : NULL;

	if (text == NULL)
		return false;
	/* the line's own end, which the shim added */
	*ret_part = (struct part){.time = line,
				  .time_size = (size_t) (stream - line),
				  .is_error = strncmp(stream + 1, "stderr", 6) == 0,
				  .is_final = tag[1] == 'F',
				  .text = text + 1,
				  .size = (size_t) (end - text) - 2};
	return true;
}

static bool parse_json(yyjson_doc *doc, struct part *ret_part)
{
	yyjson_val *root = yyjson_doc_get_root(doc);
	yyjson_val *log = yyjson_obj_get(root, "log");
	const char *time = yyjson_get_str(yyjson_obj_get(root, "time"));
	const char *stream = yyjson_get_str(yyjson_obj_get(root, "stream"));
	struct part part = {.text = yyjson_get_str(log), .size = yyjson_get_len(log)};

	if (part.text == NULL)
		return false;
	part.is_final = part.size > 0 && part.text[part.size - 1] == '\n';
	part.size -= part.is_final;
	part.is_error = stream != NULL && strcmp(stream, "stderr") == 0;
	part.time = time != NULL ? time : "";
	part.time_size = strlen(part.time);
	*ret_part = part;
	return true;
}

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

static void print_cri(struct log_printer *self, const char *line, size_t size)
{
	struct part part;

	if (parse_cri(line, size, &part))
		print_part(self, &part);
}

static bool is_final_cri(const char *line, size_t size)
{
	struct part part;

	return !parse_cri(line, size, &part) || part.is_final;
}

static void print_json(struct log_printer *self, const char *line, size_t size)
{
	yyjson_doc *doc = yyjson_read(line, size, 0);
	struct part part;

	if (parse_json(doc, &part))
		print_part(self, &part);
	yyjson_doc_free(doc);
}

static bool is_final_json(const char *line, size_t size)
{
	yyjson_doc *doc = yyjson_read(line, size, 0);
	struct part part;
	bool is_final = !parse_json(doc, &part) || part.is_final;

	yyjson_doc_free(doc);
	return is_final;
}

static void print_raw(struct log_printer *self, const char *line, size_t size)
{
	(void) fwrite(line, 1, size, stdout);
	self->is_continued = size > 0 && line[size - 1] != '\n';
}

static bool is_final_raw(const char *line, size_t size)
{
	return size > 0 && line[size - 1] == '\n';
}

static const struct {
	Hydra__V1__LogFormat format;
	void (*print)(struct log_printer *self, const char *line, size_t size);
	bool (*is_final)(const char *line, size_t size);
	bool may_have_no_end;
} formats[] = {
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI, print_cri, is_final_cri, false},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JSON_FILE, print_json, is_final_json, false},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_RAW, print_raw, is_final_raw, true},
};

static size_t find(Hydra__V1__LogFormat format)
{
	size_t index = sizeof(formats) / sizeof(formats[0]);

	while (--index > 0 && formats[index].format != format)
		;
	return index;
}

void log_line_print(struct log_printer *self, const char *line, size_t size)
{
	formats[find(self->format)].print(self, line, size);
}

bool log_line_is_final(const struct log_printer *self, const char *line, size_t size)
{
	return formats[find(self->format)].is_final(line, size);
}

bool log_line_may_have_no_end(const struct log_printer *self)
{
	return formats[find(self->format)].may_have_no_end;
}
