/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <yyjson.h>

#define SCREEN_HOME "\033[H"
#define LINE_END    "\033[K\n"
#define SCREEN_REST "\033[J"

/* What is said of a container; negative numbers: unknown. */
struct line {
	const char *namespace, *id, *state, *health, *shim;
	const struct top_sample *now;
	double cpu_percent, output_rate;
	uint32_t restarts, shim_restarts;
	int32_t shim_pid;
};

static const Hydra__V1__LedgerSubject *find_subject(const struct top *top, const struct top_row *row)
{
	auto_free char *name = text_format("%s/%s", row->namespace, row->id);

	for (size_t i = 0; top->ledger != NULL && i < top->ledger->n_subjects; i++) {
		if (strcmp(top->ledger->subjects[i]->name, name) == 0)
			return top->ledger->subjects[i];
	}
	return NULL;
}

/* Between two looks; at the first one, since the container was started. */
static double rate(const struct top_row *row, uint64_t now, uint64_t before)
{
	uint64_t since_ns = row->before.is_there ? row->before.time_ns : row->record->started_ns;
	uint64_t base = row->before.is_there ? before : 0;

	if (!row->now.is_there || since_ns == 0 || row->now.time_ns <= since_ns || now < base)
		return -1;
	return (double) (now - base) * (double) NS_PER_S / (double) (row->now.time_ns - since_ns);
}

static bool is_stopped(const struct top_row *row)
{
	return row->record->state == HYDRA__V1__CONTAINER_STATE__STATE_STOPPED && !row->now.is_there;
}

/* What the monitor says, unless its word is older than the shim's own. */
static const char *describe_shim(const struct top_row *row, const Hydra__V1__LedgerSubject *subject)
{
	if (row->now.is_there)
		return "up";
	if (subject != NULL && subject->state != HYDRA__V1__LEDGER_STATE__LEDGER_UP)
		return ledger_state_name(subject->state);
	return row->has_client ? "unreachable" : is_stopped(row) ? "ended" : "down";
}

static struct line describe(const struct top *top, const struct top_row *row)
{
	static const char *const healths[] = {"-", "starting", "healthy", "unhealthy"};
	const Hydra__V1__LedgerSubject *subject = find_subject(top, row);
	unsigned health = row->record->health != NULL && row->record->health->status < 4 ? row->record->health->status : 0;
	bool is_known = row->now.is_there || is_stopped(row);

	return (struct line){.namespace = row->namespace,
			     .id = row->id,
			     .state = state_name(is_known ? row->record->state : HYDRA__V1__CONTAINER_STATE__STATE_UNKNOWN),
			     .health = healths[is_known ? health : 0],
			     .shim = describe_shim(row, subject),
			     .now = &row->now,
			     .cpu_percent = rate(row, row->now.cpu_ns, row->before.cpu_ns) * 100 / (double) NS_PER_S,
			     .output_rate = rate(row, row->now.output_bytes, row->before.output_bytes),
			     .restarts = row->record->restart_count,
			     .shim_restarts = subject != NULL ? subject->restarts : 0,
			     .shim_pid = row->record->shim_pid};
}

static void add_bytes(yyjson_mut_doc *doc, yyjson_mut_val *item, const char *key, const struct line *line, uint64_t value)
{
	(void) yyjson_mut_obj_add_val(doc, item, key, line->now->is_there ? yyjson_mut_uint(doc, value) : yyjson_mut_null(doc));
}

static void add_rate(yyjson_mut_doc *doc, yyjson_mut_val *item, const char *key, double value)
{
	(void) yyjson_mut_obj_add_val(doc, item, key, value >= 0 ? yyjson_mut_real(doc, value) : yyjson_mut_null(doc));
}

static yyjson_mut_val *json_of_line(yyjson_mut_doc *doc, const struct line *line)
{
	yyjson_mut_val *item = yyjson_mut_obj(doc);

	(void) yyjson_mut_obj_add_str(doc, item, "namespace", line->namespace);
	(void) yyjson_mut_obj_add_str(doc, item, "id", line->id);
	(void) yyjson_mut_obj_add_str(doc, item, "state", line->state);
	(void) yyjson_mut_obj_add_str(doc, item, "health", line->health);
	add_rate(doc, item, "cpuPercent", line->cpu_percent);
	add_bytes(doc, item, "memoryBytes", line, line->now->memory_bytes);
	add_bytes(doc, item, "memoryLimitBytes", line, line->now->memory_limit_bytes);
	add_bytes(doc, item, "pids", line, line->now->pids);
	add_rate(doc, item, "outputBytesPerSecond", line->output_rate);
	(void) yyjson_mut_obj_add_val(doc, item, "outputDroppedBytes", line->now->is_there && !line->now->is_partial ?
				      yyjson_mut_uint(doc, line->now->dropped_bytes) : yyjson_mut_null(doc));
	add_bytes(doc, item, "outputSpilledBytes", line, line->now->spilled_bytes);
	(void) yyjson_mut_obj_add_uint(doc, item, "restarts", line->restarts);
	(void) yyjson_mut_obj_add_str(doc, item, "shim", line->shim);
	(void) yyjson_mut_obj_add_uint(doc, item, "shimRestarts", line->shim_restarts);
	(void) yyjson_mut_obj_add_int(doc, item, "shimPid", line->shim_pid);
	return item;
}

static bool is_shown(const struct top *top, const struct top_row *row)
{
	return row->record != NULL && (top->shows_all || !is_stopped(row));
}

/* What is shown, in the order asked for. */
struct view {
	const struct top *top;
	struct line *lines;
	size_t count;
};

/* Larger comes first; what is unknown last. */
static double weight(const struct line *line, enum top_order order)
{
	if (order == TOP_BY_CPU)
		return line->cpu_percent;
	return line->now->is_there ? (double) line->now->memory_bytes : -1;
}

static int compare(const void *one, const void *other, void *context)
{
	const struct line *a = one, *b = other;
	const enum top_order *order = context;
	double left = *order == TOP_BY_NAME ? 0 : weight(a, *order);
	double right = *order == TOP_BY_NAME ? 0 : weight(b, *order);
	int r = strcmp(a->namespace, b->namespace);

	if (left != right)
		return left > right ? -1 : 1;
	return r != 0 ? r : strcmp(a->id, b->id);
}

static void view_make(struct view *self, const struct top *top)
{
	enum top_order order = top->order;
	size_t count = 0;

	for (const struct top_row *row = top->rows; row != NULL; row = row->next)
		count++;
	*self = (struct view){.top = top, .lines = calloc(count + 1, sizeof(*self->lines))};
	for (const struct top_row *row = top->rows; row != NULL && self->lines != NULL; row = row->next) {
		if (is_shown(top, row))
			self->lines[self->count++] = describe(top, row);
	}
	if (self->count > 0)
		qsort_r(self->lines, self->count, sizeof(*self->lines), compare, &order);
}

static void print_json(const struct view *view)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	yyjson_mut_val *list = yyjson_mut_arr(doc);
	auto_free char *json = NULL;

	for (size_t i = 0; i < view->count; i++)
		(void) yyjson_mut_arr_append(list, json_of_line(doc, &view->lines[i]));
	(void) yyjson_mut_obj_add_uint(doc, root, "timeNs", clock_realtime_ns());
	(void) yyjson_mut_obj_add_val(doc, root, "containers", list);
	yyjson_mut_doc_set_root(doc, root);
	json = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	(void) puts(json != NULL ? json : "null");
}

static void add_row(struct table *table, const struct line *line, bool with_namespace)
{
	char cpu[32] = "-", memory[32] = "-", pids[32] = "-", output[40] = "-", dropped[32] = "-", bytes[32], restarts[16], shim[48];

	if (line->cpu_percent >= 0)
		(void) text_fit(cpu, sizeof(cpu), "%.1f", line->cpu_percent);
	if (line->now->is_there) {
		format_size(line->now->memory_bytes, memory, sizeof(memory));
		(void) text_fit(pids, sizeof(pids), "%llu", (unsigned long long) line->now->pids);
		if (!line->now->is_partial)
			format_size(line->now->dropped_bytes, dropped, sizeof(dropped));
	}
	if (line->output_rate >= 0) {
		format_size((uint64_t) line->output_rate, bytes, sizeof(bytes));
		(void) text_fit(output, sizeof(output), "%s/s", bytes);
	}
	(void) text_fit(restarts, sizeof(restarts), "%u", line->restarts);
	if (line->shim_restarts > 0)
		(void) text_fit(shim, sizeof(shim), "%s, restarts: %u", line->shim, line->shim_restarts);
	else
		(void) text_fit(shim, sizeof(shim), "%s", line->shim);
	table_add(table, (const char *[]){line->namespace, line->id, line->state, line->health, cpu, memory, pids, output, dropped, restarts, shim} +
				 !with_namespace);
}

static struct table *make_table(const struct view *view, unsigned rows_max)
{
	static const char *const headers[] = {"NAMESPACE", "NAME", "STATE", "HEALTH", "CPU %", "MEMORY", "PIDS", "OUTPUT", "DROPPED",
					      "RESTARTS", "SHIM", NULL};
	struct table *table = table_new(headers + !view->top->all_namespaces);

	for (size_t i = 0; i < view->count && i < rows_max; i++)
		add_row(table, &view->lines[i], view->top->all_namespaces);
	return table;
}

static void print_screen(const struct view *view)
{
	const struct top *top = view->top;
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	char time_text[CLOCK_TEXT_SIZE];
	struct table *table;

	(void) ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	clock_format(clock_realtime_ns(), time_text);
	(void) printf(SCREEN_HOME "%zu containers of %s%s%s, %.19s%s" LINE_END, view->count, top->all_namespaces ? "all namespaces" : "'",
		      top->all_namespaces ? "" : top->cli->namespace, top->all_namespaces ? "" : "'", time_text,
		      top->ledger == NULL ? ", without a monitor" : "");
	table = make_table(view, size.ws_row > 3 ? size.ws_row - 3U : 1);
	table_print_within(table, size.ws_col > 0 ? size.ws_col : 80, LINE_END);
	table_free(table);
	(void) fputs(SCREEN_REST, stdout);
}

void top_print(struct top *top)
{
	struct table *table;
	struct view view;

	view_make(&view, top);
	if (cli_wants_json(top->cli)) {
		print_json(&view);
	} else if (top->is_screen) {
		print_screen(&view);
	} else {
		table = make_table(&view, ~0U);
		table_print(table);
		table_free(table);
	}
	free(view.lines);
	(void) fflush(stdout);
}
