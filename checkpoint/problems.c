/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/problems.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/owned.h"
#include "base/text.h"

#define REASON_SIZE 512

static Hydra__V1__HandoffProblem *make(const char *host, const char *object, const char *reason, const char *remedy)
{
	Hydra__V1__HandoffProblem *made = malloc(sizeof(*made));

	if (made == NULL)
		abort();
	hydra__v1__handoff_problem__init(made);
	made->host = text_copy(host);
	made->object = text_copy(object);
	made->reason = text_copy(reason);
	made->remedy = text_copy(remedy);
	return made;
}

static bool is_known(const struct problems *self, const char *object, const char *reason)
{
	for (size_t i = 0; i < self->count; i++) {
		if (strcmp(self->items[i]->object, object) == 0 && strcmp(self->items[i]->reason, reason) == 0)
			return true;
	}
	return false;
}

static void keep(struct problems *self, const char *host, const char *object, const char *reason, const char *remedy)
{
	if (is_known(self, object, reason))
		return;
	if (self->count == PROBLEMS_MAX)
		self->left_out++;
	else
		self->items[self->count++] = make(host, object, reason, remedy);
}

void problems_add(struct problems *self, const char *remedy, const char *object, const char *reason, ...)
{
	char text[REASON_SIZE];
	va_list arguments;

	va_start(arguments, reason);
	(void) vsnprintf(text, sizeof(text), reason, arguments);
	va_end(arguments);
	keep(self, self->host != NULL ? self->host : "", object, text, remedy != NULL ? remedy : "");
}

void problems_adopt(struct problems *self, const Hydra__V1__HandoffProblem *other)
{
	keep(self, other->host, other->object, other->reason, other->remedy);
}

void problems_deinit(struct problems *self)
{
	while (self->count > 0)
		hydra__v1__handoff_problem__free_unpacked(self->items[--self->count], NULL);
}

/* Whole problems as long as there is room; how many more there are is said. */
int problems_fail(const struct problems *self, struct error *err)
{
	char text[sizeof(err->message) - 40] = "";
	size_t used = 0, told = 0;

	if (self->count == 0)
		return 0;
	for (; told < self->count; told++) {
		const Hydra__V1__HandoffProblem *item = self->items[told];
		auto_free char *next = text_format("%s%s: %s%s%s%s", told > 0 ? "; " : "", item->object, item->reason,
						   item->remedy[0] != '\0' ? " (" : "", item->remedy, item->remedy[0] != '\0' ? ")" : "");
		size_t length = strlen(next);

		if (told > 0 && used + length >= sizeof(text))
			break;
		used += (size_t) snprintf(text + used, sizeof(text) - used, "%s", next);
		if (used >= sizeof(text))
			used = sizeof(text) - 1;
	}
	if (told < self->count + self->left_out)
		return fail_because(err, EOPNOTSUPP, "%s; and %zu more", text, self->count + self->left_out - told);
	return fail_because(err, EOPNOTSUPP, "%s", text);
}
