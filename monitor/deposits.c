/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/deposits.h"

#include "base/fd_pass.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"

#include <stdlib.h>
#include <string.h>

static void deposit_free(struct deposit *self)
{
	owned_fd_release(&self->fd);
	free(self->namespace);
	free(self->id);
	free(self->name);
	free(self);
}

static void remove_at(struct monitor *monitor, struct deposit **link)
{
	struct deposit *deposit = *link;

	*link = deposit->next;
	log_debug("descriptor dropped", "container=%s/%s name=%s", deposit->namespace, deposit->id, deposit->name);
	keeper_forget(monitor, deposit->namespace, deposit->id, deposit->name);
	deposit_free(deposit);
}

static bool is_of(const struct deposit *deposit, const char *namespace, const char *id)
{
	return strcmp(deposit->id, id) == 0 && strcmp(deposit->namespace, namespace) == 0;
}

/* True: something was dropped. */
static bool drop_if(struct monitor *monitor, bool (*is_meant)(struct monitor *monitor, const struct deposit *deposit, void *context),
		    void *context)
{
	struct deposit **link = &monitor->deposits;
	bool was_there = false;

	while (*link != NULL) {
		if (is_meant(monitor, *link, context)) {
			remove_at(monitor, link);
			was_there = true;
		} else {
			link = &(*link)->next;
		}
	}
	return was_there;
}

struct place {
	const char *namespace, *id, *name; /* name "*": any */
	const struct depositor *by;
};

static bool is_by_others(struct monitor *monitor, const struct deposit *deposit, void *context)
{
	const struct place *place = context;

	(void) monitor;
	return deposit->by != place->by && is_of(deposit, place->namespace, place->id);
}

static bool is_there(struct monitor *monitor, const struct deposit *deposit, void *context)
{
	const struct place *place = context;

	(void) monitor;
	return (strcmp(place->name, "*") == 0 || strcmp(deposit->name, place->name) == 0) && is_of(deposit, place->namespace, place->id);
}

bool deposits_drop(struct monitor *monitor, const char *namespace, const char *id, const char *name)
{
	return drop_if(monitor, is_there, &(struct place){namespace, id, name, NULL});
}

void deposits_drop_others(struct monitor *monitor, const char *namespace, const char *id, const struct depositor *by)
{
	(void) drop_if(monitor, is_by_others, &(struct place){namespace, id, NULL, by});
}

/* What is known of the container that was looked at last: deposits of one mostly follow each other. */
struct last {
	char namespace[80], id[80];
	bool is_over;
};

static bool is_orphan(struct monitor *monitor, const struct deposit *deposit, void *context)
{
	struct last *last = context;

	if (deposit->by != NULL)
		return false;
	if (!is_of(deposit, last->namespace, last->id)) {
		last->is_over = shims_are_done_with(monitor, deposit->namespace, deposit->id);
		(void) text_fit(last->namespace, sizeof(last->namespace), "%s", deposit->namespace);
		(void) text_fit(last->id, sizeof(last->id), "%s", deposit->id);
	}
	return last->is_over;
}

bool deposits_drop_orphans(struct monitor *monitor)
{
	return drop_if(monitor, is_orphan, &(struct last){.namespace = ""});
}

struct deposit *deposits_find(const struct monitor *monitor, const char *namespace, const char *id, const char *name)
{
	struct deposit *deposit = monitor->deposits;

	while (deposit != NULL && (strcmp(deposit->name, name) != 0 || !is_of(deposit, namespace, id)))
		deposit = deposit->next;
	return deposit;
}

void store_add(struct monitor *monitor, const char *namespace, const char *id, const char *name, int fd)
{
	struct deposit *deposit = calloc(1, sizeof(*deposit));

	if (deposit == NULL) {
		(void) close(fd);
		return;
	}
	*deposit = (struct deposit){.namespace = text_copy(namespace),
				    .id = text_copy(id),
				    .name = text_copy(name),
				    .fd = fd,
				    .next = monitor->deposits};
	monitor->deposits = deposit;
}

bool store_has_output(const struct monitor *monitor, const char *namespace, const char *id)
{
	for (const struct deposit *deposit = monitor->deposits; deposit != NULL; deposit = deposit->next) {
		/* "1" and "2" are init's; those of execs have the exec's id behind it, and are read for clients alone: "a" and more */
		bool is_output = strcmp(deposit->name, "1") == 0 || strcmp(deposit->name, "2") == 0 || deposit->name[0] == 'a';

		if (is_output && is_of(deposit, namespace, id))
			return true;
	}
	return false;
}

int store_find(const struct monitor *monitor, const char *namespace, const char *id, const char *name)
{
	const struct deposit *deposit = deposits_find(monitor, namespace, id, name);

	return deposit != NULL ? deposit->fd : FD_NONE;
}

void deposits_give(const struct monitor *monitor, const char *namespace, const char *id, int client_fd)
{
	for (const struct deposit *deposit = monitor->deposits; deposit != NULL; deposit = deposit->next) {
		if (is_of(deposit, namespace, id))
			(void) fd_pass_send(client_fd, deposit->name, strlen(deposit->name) + 1, &deposit->fd, 1);
	}
	(void) fd_pass_send(client_fd, "", 1, NULL, 0);
}

void deposits_forget_depositor(struct monitor *monitor, const struct depositor *by)
{
	for (struct deposit *deposit = monitor->deposits; deposit != NULL; deposit = deposit->next)
		deposit->by = deposit->by == by ? NULL : deposit->by;
}

unsigned store_count(const struct monitor *monitor)
{
	unsigned count = 0;

	for (const struct deposit *deposit = monitor->deposits; deposit != NULL; deposit = deposit->next)
		count++;
	return count;
}

bool deposits_seal(const struct monitor *monitor, Hydra__V1__SealedMonitor *sealed)
{
	size_t count = 0;

	for (const struct deposit *deposit = monitor->deposits; deposit != NULL; deposit = deposit->next)
		count++;
	sealed->deposits = calloc(count + 1, sizeof(*sealed->deposits));
	for (const struct deposit *deposit = monitor->deposits; deposit != NULL && sealed->deposits != NULL; deposit = deposit->next) {
		Hydra__V1__SealedDeposit *item = malloc(sizeof(*item));

		if (item == NULL)
			return false;
		hydra__v1__sealed_deposit__init(item);
		item->namespace_ = text_copy(deposit->namespace);
		item->id = text_copy(deposit->id);
		item->name = text_copy(deposit->name);
		item->fd = deposit->fd;
		sealed->deposits[sealed->n_deposits++] = item;
	}
	return sealed->deposits != NULL;
}
