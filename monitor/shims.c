/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"
#include "proto/store.h"
#include "state/record.h"
#include "state/run_dir.h"
#include "state/shim_process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define SUCCESSOR_FIRST_NS (5 * NS_PER_MS)
#define SUCCESSOR_LAST_NS  (5 * NS_PER_S)
#define DIED_YOUNG_NS      (10 * NS_PER_S)
#define STATE(name)        HYDRA__V1__LEDGER_STATE__LEDGER_##name
#define JUST_BEGUN_NS      NS_PER_S
#define LOOK_NS            (5 * NS_PER_MS) /* for all that ended in one moment */
#define LOOK_AGAIN_NS      (200 * NS_PER_MS) /* locks are free then for certain */
#define LOCK_ATTEMPTS      8                 /* over a second */

unsigned shims_count(const struct monitor *monitor)
{
	unsigned count = 0;

	for (const struct watched_shim *shim = monitor->shims; shim != NULL; shim = shim->next)
		count += shim->pid > 0;
	return count;
}

static void note(struct watched_shim *self, ledger_state state, const char *why)
{
	account_note_shim(self->monitor, self->namespace, self->id, &(struct ledger_change){.state = state, .pid = self->pid, .why = why});
}

static void forget(struct watched_shim *self)
{
	for (struct watched_shim **link = &self->monitor->shims; *link != NULL; link = &(*link)->next) {
		if (*link == self) {
			*link = self->next;
			break;
		}
	}
	event_loop_disarm(&self->monitor->loop, &self->timer);
	free(self);
}

static bool is_unfinished(const record *container, bool has_output)
{
	if (container->state == HYDRA__V1__CONTAINER_STATE__STATE_REMOVING)
		return false;
	if (container->containerd != NULL) /* which says when it is over */
		return container->shim_pid != 0;
	if (container->state == HYDRA__V1__CONTAINER_STATE__STATE_STOPPED)
		return container->restart_is_pending || has_output;
	return container->restart_is_pending || container->pid > 0 || record_init_is_alive(container);
}

enum need {
	NOT_NEEDED,
	NEEDED,     /* something of it still runs, will run again or was not read to its end, and nobody supervises it */
	SUPERVISED, /* by another shim; or a child of a dead one, that has not executed anything yet, still holds its lock */
};

static enum need find_need(struct monitor *monitor, const char *namespace, const char *id)
{
	struct run_dir dir;
	struct error ignored;
	record *container = NULL;
	enum need need = NOT_NEEDED;

	if (run_dir_open(&dir, monitor->root, namespace, id, &ignored) < 0)
		return NOT_NEEDED;
	if (record_load(dir.fd, &container, &ignored) == 0 && is_unfinished(container, store_has_output(monitor, namespace, id)))
		need = run_dir_is_locked(&dir, LOCK_SHIM) ? SUPERVISED : NEEDED;
	record_free(container);
	run_dir_close(&dir);
	return need;
}

bool shims_need_successor(struct monitor *monitor, const char *namespace, const char *id)
{
	return find_need(monitor, namespace, id) == NEEDED;
}

static bool shims_watches(const struct monitor *monitor, const char *namespace, const char *id)
{
	for (const struct watched_shim *shim = monitor->shims; shim != NULL; shim = shim->next) {
		if (strcmp(shim->id, id) == 0 && strcmp(shim->namespace, namespace) == 0)
			return true;
	}
	return false;
}

bool shims_are_done_with(struct monitor *monitor, const char *namespace, const char *id)
{
	struct run_dir dir;
	struct error ignored;
	bool has_shim = false;

	if (run_dir_open(&dir, monitor->root, namespace, id, &ignored) == 0) {
		has_shim = run_dir_is_locked(&dir, LOCK_SHIM);
		run_dir_close(&dir);
	}
	return !has_shim && !shims_watches(monitor, namespace, id) && find_need(monitor, namespace, id) == NOT_NEEDED;
}

static int start(struct watched_shim *self, bool adopt, struct error *err)
{
	const char *root = self->monitor->root;
	int listen_fd = adopt ? store_find(self->monitor, self->namespace, self->id, STORE_LISTENER) : FD_NONE;
	int r = adopt ? shim_process_succeed(root, self->namespace, self->id, listen_fd, &self->pid, err)
		      : shim_process_start(root, self->namespace, self->id, &self->pid, NULL, err);

	if (r < 0)
		return r;
	self->started_ns = clock_monotonic_ns();
	self->is_successor = adopt;
	note(self, STATE(UP), adopt ? "successor" : "");
	return 0;
}

static void try_later(struct watched_shim *self)
{
	uint64_t delay_ns = SUCCESSOR_FIRST_NS << (self->successors < 10 ? self->successors : 10);

	self->successors++;
	event_loop_arm(&self->monitor->loop, &self->timer, delay_ns < SUCCESSOR_LAST_NS ? delay_ns : SUCCESSOR_LAST_NS);
}

static void start_successor(struct event_timer *timer)
{
	struct watched_shim *self = timer->context;
	enum need need = find_need(self->monitor, self->namespace, self->id);
	struct error err;

	if (need == SUPERVISED && self->successors < LOCK_ATTEMPTS) {
		try_later(self);
		return;
	}
	if (need != NEEDED) {
		note(self, STATE(ENDED), "nothing is left to supervise");
		forget(self);
		return;
	}
	if (start(self, true, &err) < 0) {
		log_error("successor not started", "container=%s error=\"%s\"", self->id, err.message);
		try_later(self);
	}
}

static struct watched_shim *watch(struct monitor *monitor, const char *namespace, const char *id)
{
	struct watched_shim *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return NULL;
	self->monitor = monitor;
	(void) text_fit(self->namespace, sizeof(self->namespace), "%s", namespace);
	(void) text_fit(self->id, sizeof(self->id), "%s", id);
	self->timer = (struct event_timer){.handle = start_successor, .context = self};
	self->next = monitor->shims;
	monitor->shims = self;
	return self;
}

int shims_spawn(struct monitor *monitor, const char *namespace, const char *id, bool adopt, pid_t *ret_pid, struct error *err)
{
	struct watched_shim *self;
	int r = id_check("namespace", namespace, err);

	if (r == 0)
		r = id_check("container name", id, err);
	if (r < 0)
		return r;
	self = watch(monitor, namespace, id);
	if (self == NULL)
		return fail_errno(err, ENOMEM, "start a shim");
	r = start(self, adopt, err);
	if (r < 0) {
		forget(self);
		return r;
	}
	*ret_pid = self->pid;
	return 0;
}

static const char *describe(int status, char *buffer, size_t size)
{
	if (WIFSIGNALED(status))
		(void) text_fit(buffer, size, "signal %d", WTERMSIG(status));
	else
		(void) text_fit(buffer, size, "status %d", WEXITSTATUS(status));
	return buffer;
}

bool shims_are_being_replaced(const struct monitor *monitor)
{
	uint64_t now_ns = clock_monotonic_ns();

	for (const struct watched_shim *shim = monitor->shims; shim != NULL; shim = shim->next) {
		if (shim->timer.due_ns != 0 || (shim->is_successor && now_ns - shim->started_ns < JUST_BEGUN_NS))
			return true;
	}
	return false;
}

bool shims_ended(struct monitor *monitor, pid_t pid, int status)
{
	for (struct watched_shim *self = monitor->shims; self != NULL; self = self->next) {
		char namespace[80], id[80];
		char detail[32];
		bool is_needed;

		if (self->pid != pid)
			continue;
		(void) text_fit(namespace, sizeof(namespace), "%s", self->namespace);
		(void) text_fit(id, sizeof(id), "%s", self->id);
		store_hear_out(monitor, pid);
		is_needed = find_need(monitor, namespace, id) != NOT_NEEDED;
		note(self, is_needed ? STATE(DOWN) : STATE(ENDED), describe(status, detail, sizeof(detail)));
		self->pid = 0;
		if (clock_monotonic_ns() - self->started_ns > DIED_YOUNG_NS)
			self->successors = 0;
		if (is_needed)
			try_later(self);
		else
			forget(self);
		/* it may have gone without saying that its container is over */
		if (!shims_watches(monitor, namespace, id))
			store_drop(monitor, namespace, id, "*");
		return true;
	}
	return false;
}

/* "stopped by signal 19", "continued" */
static const char *describe_stop(int status, char *buffer, size_t size)
{
	if (WIFSTOPPED(status))
		(void) text_fit(buffer, size, "stopped by signal %d", WSTOPSIG(status));
	else
		(void) text_fit(buffer, size, "continued");
	return buffer;
}

void shims_stopped(struct monitor *monitor, pid_t pid, int status)
{
	char why[32];

	for (struct watched_shim *self = monitor->shims; self != NULL; self = self->next) {
		if (self->pid == pid)
			note(self, WIFSTOPPED(status) ? STATE(UNREACHABLE) : STATE(UP), describe_stop(status, why, sizeof(why)));
	}
}

void shims_reported(struct monitor *monitor, const char *namespace, const char *id, bool is_reachable)
{
	char name[LEDGER_NAME_SIZE];
	const struct ledger_subject *subject;

	account_name(name, namespace, id);
	subject = ledger_find(&monitor->ledger, name);
	if (subject == NULL || subject->facts.state != (is_reachable ? STATE(UNREACHABLE) : STATE(UP)))
		return;
	account_note(monitor, name, is_reachable ? STATE(UP) : STATE(UNREACHABLE), 0,
		     is_reachable ? "it answers hydrad" : "it does not answer hydrad");
}

static bool recover_one(const char *namespace, const char *id, void *context)
{
	struct monitor *monitor = context;
	struct watched_shim *self = NULL;

	if (!shims_watches(monitor, namespace, id) && find_need(monitor, namespace, id) == NEEDED)
		self = watch(monitor, namespace, id);
	if (self != NULL)
		try_later(self);
	return true;
}

void shims_recover(struct monitor *monitor)
{
	struct error err;

	if (run_dir_visit(monitor->root, NULL, recover_one, monitor, &err) < 0)
		log_error("run directories not read", "error=\"%s\"", err.message);
	store_drop_orphans(monitor);
}

static void look(struct event_timer *timer)
{
	struct monitor *monitor = timer->context;

	shims_recover(monitor);
	if (monitor->looks_once_more)
		event_loop_arm(&monitor->loop, timer, LOOK_AGAIN_NS);
	monitor->looks_once_more = false;
}

void shims_look_soon(struct monitor *monitor)
{
	monitor->look_timer.handle = look;
	monitor->look_timer.context = monitor;
	monitor->looks_once_more = true;
	if (monitor->look_timer.due_ns == 0)
		event_loop_arm(&monitor->loop, &monitor->look_timer, LOOK_NS);
}

bool shims_has_child(const struct monitor *monitor, pid_t pid)
{
	for (const struct watched_shim *shim = monitor->shims; shim != NULL; shim = shim->next) {
		if (shim->pid == pid)
			return true;
	}
	return false;
}

bool shims_seal(const struct monitor *monitor, Hydra__V1__SealedMonitor *sealed)
{
	size_t count = 0;

	for (const struct watched_shim *shim = monitor->shims; shim != NULL; shim = shim->next)
		count++;
	sealed->watches = calloc(count + 1, sizeof(*sealed->watches));
	for (const struct watched_shim *shim = monitor->shims; shim != NULL && sealed->watches != NULL; shim = shim->next) {
		Hydra__V1__SealedWatch *item = malloc(sizeof(*item));

		if (item == NULL)
			return false;
		hydra__v1__sealed_watch__init(item);
		item->namespace_ = text_copy(shim->namespace);
		item->id = text_copy(shim->id);
		item->pid = shim->pid;
		item->is_successor = shim->is_successor;
		item->successors = shim->successors;
		item->started_ns = shim->started_ns;
		item->successor_in_ns = event_timer_rest(&shim->timer);
		sealed->watches[sealed->n_watches++] = item;
	}
	return sealed->watches != NULL;
}

void shims_unseal(struct monitor *monitor, const Hydra__V1__SealedMonitor *sealed)
{
	for (size_t i = 0; i < sealed->n_watches; i++) {
		const Hydra__V1__SealedWatch *item = sealed->watches[i];
		struct watched_shim *self = watch(monitor, item->namespace_, item->id);

		if (self == NULL)
			continue;
		self->pid = item->pid;
		self->is_successor = item->is_successor;
		self->successors = item->successors;
		self->started_ns = item->started_ns;
		if (item->successor_in_ns > 0)
			event_loop_arm(&monitor->loop, &self->timer, item->successor_in_ns);
	}
}
