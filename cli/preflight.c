/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl migrate --dry-run: what is in the way of a migration, and what it would be like.
 */
#include "base/owned.h"
#include "base/text.h"
#include "cli/migrate.h"
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

#define PATIENCE_MS 60000

static const char *text_of(yyjson_val *object, const char *key)
{
	const char *text = yyjson_get_str(yyjson_obj_get(object, key));

	return text != NULL ? text : "";
}

static unsigned long long number_of(yyjson_val *object, const char *key)
{
	return (unsigned long long) yyjson_get_uint(yyjson_obj_get(object, key));
}

static void print_problem(yyjson_val *problem)
{
	const char *remedy = text_of(problem, "remedy"), *host = text_of(problem, "host");

	(void) printf("  %s%s%s: %s\n", host, host[0] != '\0' ? ": " : "", text_of(problem, "object"), text_of(problem, "reason"));
	if (remedy[0] != '\0')
		(void) printf("      %s\n", remedy);
}

static void print_list(yyjson_val *list)
{
	yyjson_arr_iter items = yyjson_arr_iter_with(list);

	for (yyjson_val *item = yyjson_arr_iter_next(&items); item != NULL; item = yyjson_arr_iter_next(&items))
		print_problem(item);
}

/* What of disks is sent besides the writable layer; of an older report nothing is known. */
static void print_trees(yyjson_val *report)
{
	yyjson_val *image = yyjson_obj_get(report, "image");
	yyjson_arr_iter volumes = yyjson_arr_iter_with(yyjson_obj_get(report, "volumes"));
	char size[32];

	format_size(number_of(image, "bytes"), size, sizeof(size));
	if (image != NULL && yyjson_get_bool(yyjson_obj_get(image, "isSent")))
		(void) printf("image       %s is sent: %s\n", size, text_of(image, "digest"));
	else if (image != NULL)
		(void) printf("image       %s is there: %s\n", size, text_of(image, "path"));
	for (yyjson_val *volume = yyjson_arr_iter_next(&volumes); volume != NULL; volume = yyjson_arr_iter_next(&volumes)) {
		format_size(number_of(volume, "bytesToSend"), size, sizeof(size));
		(void) printf("volume      %s is sent: %s\n", size, text_of(volume, "path"));
	}
}

static void print_report(yyjson_val *report)
{
	size_t problem_count = yyjson_arr_size(yyjson_obj_get(report, "problems"));
	unsigned long long left_out = number_of(report, "problemsLeftOut");
	const char *why = text_of(report, "modeReason");
	char memory[32], layer[32];

	format_size(number_of(report, "memoryBytes"), memory, sizeof(memory));
	format_size(number_of(report, "layerBytes"), layer, sizeof(layer));
	(void) printf("mode        %s%s%s\nmemory      %s in %llu tasks\nlayer       %s\ndowntime    about %llu ms\n", text_of(report, "mode"),
		      why[0] != '\0' ? ": " : "", why, memory, number_of(report, "tasks"), layer, number_of(report, "expectedDowntimeMs"));
	print_trees(report);
	(void) printf("in the way  %s\n", problem_count == 0 ? "nothing" : "");
	print_list(yyjson_obj_get(report, "problems"));
	if (left_out > 0)
		(void) printf("  and %llu more\n", left_out);
	if (yyjson_arr_size(yyjson_obj_get(report, "notes")) > 0)
		(void) puts("to think of");
	print_list(yyjson_obj_get(report, "notes"));
}

/* 0: it can be moved. */
static int show(const struct cli *cli, const char *text, struct error *err)
{
	yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
	yyjson_val *report = yyjson_doc_get_root(doc);
	bool can_migrate = yyjson_get_bool(yyjson_obj_get(report, "canMigrate"));

	if (report == NULL)
		return fail_because(err, EPROTO, "hydrad's report is not understood");
	if (cli_wants_json(cli))
		(void) puts(text);
	else
		print_report(report);
	yyjson_doc_free(doc);
	return can_migrate ? 0 : 1;
}

/* 0: it can be moved. */
static int digest(yyjson_val *report, struct preflight_answer *ret_answer)
{
	yyjson_val *problems = yyjson_obj_get(report, "problems"), *first = yyjson_arr_get_first(problems), *image = yyjson_obj_get(report, "image");
	unsigned long long others = yyjson_arr_size(problems) + number_of(report, "problemsLeftOut") - 1;
	char more[48] = "";

	if (yyjson_get_bool(yyjson_obj_get(report, "canMigrate"))) {
		if (yyjson_get_bool(yyjson_obj_get(image, "isSent")))
			(void) text_fit(ret_answer->layer, sizeof(ret_answer->layer), "%s", text_of(image, "digest"));
		return 0;
	}
	if (others > 0)
		(void) text_fit(more, sizeof(more), "; and %llu more", others);
	(void) text_fit(ret_answer->why, sizeof(ret_answer->why), "%.80s: %.200s%s", text_of(first, "object"), text_of(first, "reason"), more);
	return 1;
}

int preflight_ask(const struct cli *cli, const Hydra__V1__MigrateRequest *request, struct preflight_answer *ret_answer, struct error *err)
{
	auto_message Hydra__V1__PreflightResponse *response = NULL;
	int r = cli_call_daemon(cli, "Preflight", &request->base, &hydra__v1__preflight_response__descriptor, PATIENCE_MS, &response, err);
	yyjson_doc *doc = r == 0 ? yyjson_read(response->report, strlen(response->report), 0) : NULL;
	yyjson_val *report = yyjson_doc_get_root(doc);

	*ret_answer = (struct preflight_answer){.why = ""};
	if (r == 0)
		r = report != NULL ? digest(report, ret_answer) : fail_because(err, EPROTO, "hydrad's report is not understood");
	yyjson_doc_free(doc);
	return r;
}

int preflight_run(const struct cli *cli, const Hydra__V1__MigrateRequest *request, struct error *err)
{
	auto_message Hydra__V1__PreflightResponse *response = NULL;
	int r = cli_call_daemon(cli, "Preflight", &request->base, &hydra__v1__preflight_response__descriptor, PATIENCE_MS, &response, err);

	return r < 0 ? r : show(cli, response->report, err);
}
