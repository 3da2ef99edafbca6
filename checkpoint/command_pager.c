/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines of hydra-pager: both ends of a migration, and what a killed send left behind.
 */
#include "checkpoint/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/departure.h"
#include "checkpoint/bridge.h"
#include "checkpoint/receive.h"
#include "checkpoint/send.h"
#include "checkpoint/tcp_repair.h"
#include "state/run_dir.h"

/* What both workers are told. */
#define HOLDS_MAX 4

struct worker_options {
	const char *criu, *ca, *certificate, *key;
	int connection_fd, progress_fd, patience_s;
};

#define WORKER_ENTRIES                                                                                                            \
	{0, "connection-fd", "FD", OPTION_INT, AT(worker.connection_fd), "the connected socket (Unix sockets are used without TLS)"}, \
	{0, "ca", "FILE", OPTION_STRING, AT(worker.ca), "CA that both hosts' certificates are of (PEM)"},                         \
	{0, "cert", "FILE", OPTION_STRING, AT(worker.certificate), "this host's certificate"},                                    \
	{0, "key", "FILE", OPTION_STRING, AT(worker.key), "its key"},                                                             \
	{0, "criu", "PATH", OPTION_STRING, AT(worker.criu), "the CRIU to use"},                                                   \
	{0, "progress-fd", "FD", OPTION_INT, AT(worker.progress_fd), "receives one JSON object a line"},                          \
	{0, "patience", "SECONDS", OPTION_INT, AT(worker.patience_s), "how long the other host may be silent (default 30)"}
#define WORKER_DEFAULTS {.connection_fd = FD_NONE, .progress_fd = FD_NONE, .patience_s = 30}

struct send_options {
	struct worker_options worker;
	const char *connect, *id, *container_namespace, *migration, *epoch, *work, *state, *layer;
	const char *record, *config, *limits, *veth, *bridge, *mac, *bandwidth, *compress, *mode, *downtime, *lost_pages, *departures;
	const char *lower, *layers;
	struct string_list required, volumes, obstacles, holds;
	struct string_list deadlines;
	int pid, reconnect_s;
	bool is_resumed, is_dry_run, strangers_end;
};

#define AT(field) offsetof(struct send_options, field)

static const struct option_entry send_entries[] = {
	{0, "connect", "HOST:PORT", OPTION_STRING, AT(connect), "the target's hydrad, instead of --connection-fd"},
	WORKER_ENTRIES,
	{0, "id", "ID", OPTION_STRING, AT(id), "the container"},
	{0, "namespace", "NAME", OPTION_STRING, AT(container_namespace), "its namespace (default: default)"},
	{0, "migration", "ID", OPTION_STRING, AT(migration), "name of this migration, unique"},
	{0, "epoch", "NUMBER", OPTION_STRING, AT(epoch), "fencing epoch, larger than that of every earlier migration"},
	{0, "pid", "PID", OPTION_INT, AT(pid), "the container's init"},
	{0, "work", "DIR", OPTION_STRING, AT(work), "folder for the images, on a tmpfs; is emptied and removed"},
	{0, "state", "DIR", OPTION_STRING, AT(state), "folder that receives the fencing record 'handover'"},
	{0, "layer", "DIR", OPTION_STRING, AT(layer), "the writable layer (overlay's upper folder, or the whole root)"},
	{0, "lower", "DIR", OPTION_STRING, AT(lower), "the layer below it, which is only read: sent if the target does not have it"},
	{0, "layers", "DIR", OPTION_STRING, AT(layers), "layers that came from other hosts, and what is known of those of this host"},
	{0, "volume", "DIR", OPTION_LIST, AT(volumes), "a folder of this host that the container has mounted, and that is carried along"},
	{0, "require", "PATH", OPTION_LIST, AT(required), "must exist at the target too (what is mounted in the container)"},
	{0, "record", "FILE", OPTION_STRING, AT(record), "passed on as it is"},
	{0, "config", "FILE", OPTION_STRING, AT(config), "the OCI configuration, passed on as it is"},
	{0, "limits", "FILE", OPTION_STRING, AT(limits), "passed on as it is"},
	{0, "veth", "NAME", OPTION_STRING, AT(veth), "host end of the network pair, unplugged while the container is frozen"},
	{0, "bridge", "NAME", OPTION_STRING, AT(bridge), "the bridge it is in; none: it is set down"},
	{0, "mac", "ADDRESS", OPTION_STRING, AT(mac), "the container's hardware address: what is said to it while it stands still is carried along"},
	{0, "deadline", "PART=TIME", OPTION_LIST, AT(deadlines),
	 "how long preflight, sync, freeze (from the standstill to the commit) or commit (all until then) may take (default: preflight=60s freeze=60s)"},
	{0, "reconnect", "SECONDS", OPTION_INT, AT(reconnect_s), "how long to try again after a loss (default 0: without end)"},
	{0, "bandwidth", "RATE", OPTION_STRING, AT(bandwidth), "bytes a second for what nobody waits for, also 10m (default: all there is)"},
	{0, "compress", "HOW", OPTION_STRING, AT(compress), "pages that nobody waits for: auto, none, lz4 or zstd (default: auto)"},
	{0, "hold-fd", "FD", OPTION_LIST, AT(holds), "lease or lock on the container, held until CRIU is out of its tasks, whoever dies"},
	{0, "departures", "DIR", OPTION_STRING, AT(departures), "it is noted here that the container leaves, also over a restart of the host"},
	{0, "mode", "MODE", OPTION_STRING, AT(mode), "auto, post-copy, pre-copy, hybrid or cold (default: auto)"},
	{0, "downtime", "TIME", OPTION_STRING, AT(downtime), "pre-copy: the standstill that sending the rest may take (default 100ms)"},
	{0, "dry-run", NULL, OPTION_FLAG, AT(is_dry_run), "only print what is in the way and what to expect, as a JSON object"},
	{0, "strangers-end", NULL, OPTION_FLAG, AT(strangers_end), "with --dry-run: processes from outside (exec sessions) will be ended first"},
	{0, "obstacle", "TEXT", OPTION_LIST, AT(obstacles), "something in the way: object, reason and remedy with tabs between"},
	{0, "lost-pages", "POLICY", OPTION_STRING, AT(lost_pages),
	 "what becomes of the copy should memory be lost: stop (killed, default) or poison (who touches it gets SIGBUS)"},
	{0, "resume", NULL, OPTION_FLAG, AT(is_resumed), "go on where a worker died after the hand-over; needs --state and --migration"},
	{0},
};

#undef AT

static int parse_epoch(const char *text, unsigned long long *ret_epoch, struct error *err)
{
	char *end = NULL;

	errno = 0;
	*ret_epoch = text == NULL ? clock_realtime_ns() : strtoull(text, &end, 10);
	if (text != NULL && (end == text || *end != '\0' || errno != 0))
		return fail_because(err, EINVAL, "--epoch '%s' is no number", text);
	return 0;
}

static int parse_rate(const char *text, uint64_t *ret_rate, struct error *err)
{
	if (text != NULL && number_parse_size(text, ret_rate) < 0)
		return fail_because(err, EINVAL, "--bandwidth '%s' is no rate", text);
	return 0;
}

static int parse_mode(const struct send_options *options, struct send_spec *spec, struct error *err)
{
	uint64_t downtime_ns = 0;

	if (mode_parse(options->mode, &spec->mode) < 0)
		return fail_because(err, EINVAL, "--mode '%s': expected auto, post-copy, pre-copy, hybrid or cold", options->mode);
	if (number_parse_duration(options->downtime, &downtime_ns) < 0)
		return fail_because(err, EINVAL, "--downtime '%s': expected a time, like 100ms or 1s", options->downtime);
	spec->downtime_ms = downtime_ns / NS_PER_MS;
	return 0;
}

static int check_compress(const char *text, struct error *err)
{
	if (strcmp(text, "auto") == 0 || compress_method_of(text) != COMPRESS_METHODS)
		return 0;
	return fail_because(err, EINVAL, "--compress '%s': expected auto, none, lz4 or zstd", text);
}

static int parse_lost_pages(const char *text, Hydra__V1__LostPages *ret_policy, struct error *err)
{
	*ret_policy = strcmp(text, "poison") == 0 ? HYDRA__V1__LOST_PAGES__LOST_PAGES_POISON : HYDRA__V1__LOST_PAGES__LOST_PAGES_STOP;
	if (*ret_policy == HYDRA__V1__LOST_PAGES__LOST_PAGES_STOP && strcmp(text, "stop") != 0)
		return fail_because(err, EINVAL, "--lost-pages '%s': expected stop or poison", text);
	return 0;
}

static int check_send(const struct send_options *options, struct error *err)
{
	int r = command_line_need(options->state != NULL, "state", err);

	if (r == 0 && options->is_resumed)
		return command_line_need(options->migration != NULL, "migration", err);
	if (r < 0)
		return r;
	r = command_line_need(options->pid > 0, "pid", err);

	if (r == 0)
		r = command_line_need(options->id != NULL, "id", err);
	if (r == 0)
		r = command_line_need(options->work != NULL, "work", err);
	if (r == 0)
		r = check_compress(options->compress, err);
	if (r == 0)
		r = command_line_need(options->connect != NULL || options->worker.connection_fd >= 0, "connect", err);
	return r;
}

static int parse_holds(const struct string_list *words, int *ret_fds, struct error *err)
{
	size_t count = 0;

	for (; count < words->count && count < HOLDS_MAX; count++) {
		if (number_parse_int(words->items[count], 3, 1 << 20, &ret_fds[count]) < 0)
			return fail_because(err, EINVAL, "--hold-fd '%s': expected a descriptor", words->items[count]);
	}
	ret_fds[count] = FD_NONE;
	return 0;
}

static enum send_outcome send_with(const struct send_options *options, const struct criu *criu, struct error *err)
{
	auto_free char *generated = text_format("%.100s-%llu", options->id != NULL ? options->id : "", (unsigned long long) clock_realtime_ns());
	int holds[HOLDS_MAX + 1];
	struct send_spec spec = {
		.criu = criu, .connect = options->connect, .connection_fd = options->worker.connection_fd,
		.files = {options->worker.ca, options->worker.certificate, options->worker.key}, .id = options->id,
		.container_namespace = options->container_namespace,
		.migration_id = options->migration != NULL ? options->migration : generated, .pid = options->pid,
		.work = options->work, .state = options->state, .layer = options->layer, .required = &options->required,
		.lower = options->lower, .layers = options->layers, .volumes = &options->volumes,
		.record = options->record, .config = options->config, .limits = options->limits, .veth = options->veth,
		.bridge = options->bridge, .mac = options->mac, .progress_fd = options->worker.progress_fd, .patience_ms = options->worker.patience_s * 1000,
		.reconnect_ms = options->reconnect_s * 1000, .compress = options->compress,
		.departures = options->departures, .holds = holds, .is_dry_run = options->is_dry_run,
		.strangers_end = options->strangers_end, .obstacles = &options->obstacles};

	if (options->is_resumed)
		return send_resume(&spec, err);
	if (parse_holds(&options->holds, holds, err) < 0 || deadlines_parse(&options->deadlines, spec.deadlines_ns, err) < 0)
		return SEND_STAYED;
	if (parse_epoch(options->epoch, &spec.epoch, err) < 0 || parse_rate(options->bandwidth, &spec.bandwidth, err) < 0 ||
	    parse_lost_pages(options->lost_pages, &spec.lost_pages, err) < 0)
		return SEND_STAYED;
	if (parse_mode(options, &spec, err) < 0)
		return SEND_STAYED;
	return spec.is_dry_run ? (send_dry_run(&spec, err) < 0 ? SEND_STAYED : SEND_MOVED) : send_run(&spec, err);
}

static int send_container(void *options, struct error *err)
{
	const struct send_options *self = options;
	enum send_outcome outcome = SEND_STAYED;
	struct criu criu = {0};

	if (check_send(self, err) == 0 && (self->is_resumed || criu_find(&criu, self->worker.criu, err) == 0))
		outcome = send_with(self, &criu, err);
	criu_deinit(&criu);
	return outcome;
}

const struct command command_send = {
	.name = "send",
	.purpose = "move a container to another host (source side); exit status 1: it runs here, 4: in doubt, it is stopped here",
	.entries = send_entries,
	.defaults = &(const struct send_options){.worker = WORKER_DEFAULTS, .container_namespace = "default", .compress = "auto",
							  .mode = "auto", .downtime = "100ms", .lost_pages = "stop"},
	.options_size = sizeof(struct send_options),
	.run = send_container,
};

struct receive_options {
	struct worker_options worker;
	const char *work_root, *layer_root, *run_root, *verdicts;
	int restore_s;
};

#define AT(field) offsetof(struct receive_options, field)

static const struct option_entry receive_entries[] = {
	WORKER_ENTRIES,
	{0, "work-root", "DIR", OPTION_STRING, AT(work_root), "a folder per migration is made here, on a tmpfs"},
	{0, "layer-root", "DIR", OPTION_STRING, AT(layer_root), "writable layers go to NAMESPACE/ID/upper below"},
	{0, "verdicts", "DIR", OPTION_STRING, AT(verdicts),
	 "a file per migration tells here, also after a restart of the host, what became of it (default: .verdicts below --work-root)"},
	{0, "run-root", "DIR", OPTION_STRING, AT(run_root), "containers with NAMESPACE/ID below cannot be received"},
	{0, "restore-timeout", "SECONDS", OPTION_INT, AT(restore_s), "from complete images to a prepared restore (default 60)"},
	{0},
};

#undef AT

static int receive_container(void *options, struct error *err)
{
	const struct receive_options *self = options;
	const struct worker_options *worker = &self->worker;
	auto_free char *fallback = text_format("%s/.verdicts", self->work_root != NULL ? self->work_root : "");
	struct receive_spec spec = {
		.criu_path = worker->criu, .connection_fd = worker->connection_fd,
		.files = {worker->ca, worker->certificate, worker->key}, .work_root = self->work_root,
		.layer_root = self->layer_root, .verdicts = self->verdicts != NULL ? self->verdicts : fallback, .run_root = self->run_root, .progress_fd = worker->progress_fd,
		.patience_ms = worker->patience_s * 1000, .restore_ms = self->restore_s * 1000};

	if (command_line_need(worker->connection_fd >= 0, "connection-fd", err) < 0 ||
	    command_line_need(self->work_root != NULL, "work-root", err) < 0)
		return RECEIVE_REFUSED;
	return receive_run(&spec, err);
}

const struct command command_receive = {
	.name = "receive",
	.purpose = "move a container to this host (target side)",
	.entries = receive_entries,
	.defaults = &(const struct receive_options){.worker = WORKER_DEFAULTS, .restore_s = 60},
	.options_size = sizeof(struct receive_options),
	.run = receive_container,
};

struct take_over_options {
	const char *work;
	int keeper_fd, patience_s;
};

static const struct option_entry take_over_entries[] = {
	{0, "work", "DIR", OPTION_STRING, offsetof(struct take_over_options, work), "the folder of the worker that was killed"},
	{0, "keeper-fd", "FD", OPTION_INT, offsetof(struct take_over_options, keeper_fd), "a socket to who kept the userfaultfds"},
	{0, "patience", "SECONDS", OPTION_INT, offsetof(struct take_over_options, patience_s),
	 "how long the other host may be silent (default 30)"},
	{0},
};

static int take_over(void *options, struct error *err)
{
	const struct take_over_options *self = options;

	if (command_line_need(self->work != NULL, "work", err) < 0 || command_line_need(self->keeper_fd >= 0, "keeper-fd", err) < 0)
		return RECEIVE_REFUSED;
	return receive_take_over(self->work, self->keeper_fd, self->patience_s * 1000, err);
}

const struct command command_take_over = {
	.name = "take-over",
	.purpose = "go on where a receive worker was killed after the hand-over; exit status 4: memory is lost",
	.entries = take_over_entries,
	.defaults = &(const struct take_over_options){.keeper_fd = FD_NONE, .patience_s = 30},
	.options_size = sizeof(struct take_over_options),
	.run = take_over,
};

struct recover_options {
	int pid;
	const char *veth, *bridge, *work, *state, *migration;
};

static const struct option_entry recover_entries[] = {
	{0, "pid", "PID", OPTION_INT, offsetof(struct recover_options, pid), "the container's init"},
	{0, "veth", "NAME", OPTION_STRING, offsetof(struct recover_options, veth), "host end of its network pair"},
	{0, "bridge", "NAME", OPTION_STRING, offsetof(struct recover_options, bridge), "the bridge it belongs into"},
	{0, "work", "DIR", OPTION_STRING, offsetof(struct recover_options, work), "the worker's folder, which is removed"},
	{0, "state", "DIR", OPTION_STRING, offsetof(struct recover_options, state), "the container's run directory"},
	{0, "migration", "ID", OPTION_STRING, offsetof(struct recover_options, migration), "its name"},
	{0},
};

static int recover(void *options, struct error *err)
{
	const struct recover_options *self = options;
	struct error ignored;
	int r = command_line_need(self->pid > 0, "pid", err);

	if (r == 0 && self->work != NULL)
		(void) dir_remove_all(AT_FDCWD, self->work, &ignored);
	return r < 0 ? r : send_recover(self->state, self->migration, self->pid, self->veth, self->bridge, err);
}

const struct command command_recover = {
	.name = "recover",
	.purpose = "undo what a killed send worker left: plug the network, give TCP connections back, continue its tasks",
	.entries = recover_entries,
	.defaults = &(const struct recover_options){.pid = 0},
	.options_size = sizeof(struct recover_options),
	.run = recover,
};

struct resolve_options {
	const char *state, *migration, *to;
	int patience_s;
};

static const struct option_entry resolve_entries[] = {
	{0, "state", "DIR", OPTION_STRING, offsetof(struct resolve_options, state), "the container's run directory"},
	{0, "migration", "ID", OPTION_STRING, offsetof(struct resolve_options, migration), "its name"},
	{0, "to", "SIDE", OPTION_STRING, offsetof(struct resolve_options, to), "source or target: where it lives from now on"},
	{0, "patience", "SECONDS", OPTION_INT, offsetof(struct resolve_options, patience_s),
	 "how long the target may be silent (default 5)"},
	{0},
};

static int resolve(void *options, struct error *err)
{
	const struct resolve_options *self = options;
	struct send_spec spec = {.connection_fd = FD_NONE, .progress_fd = FD_NONE, .state = self->state, .migration_id = self->migration,
				 .patience_ms = self->patience_s * 1000};
	int r = command_line_need(self->state != NULL, "state", err);

	if (r == 0)
		r = command_line_need(self->migration != NULL, "migration", err);
	if (r == 0)
		r = command_line_need(self->to != NULL, "to", err);
	if (r == 0 && strcmp(self->to, "source") != 0 && strcmp(self->to, "target") != 0)
		r = fail_because(err, EINVAL, "--to '%s': expected source or target", self->to);
	return r < 0 ? r : send_resolve(&spec, strcmp(self->to, "source") == 0, err);
}

const struct command command_resolve = {
	.name = "resolve",
	.purpose = "decide where a container in doubt lives (the source's record only)",
	.entries = resolve_entries,
	.defaults = &(const struct resolve_options){.patience_s = 5},
	.options_size = sizeof(struct resolve_options),
	.run = resolve,
};

struct farewell_options {
	const char *record;
	bool is_now;
};

static const struct option_entry farewell_entries[] = {
	{0, "record", "FILE", OPTION_STRING, offsetof(struct farewell_options, record), "of a departure (--departures of send)"},
	{0, "now", NULL, OPTION_FLAG, offsetof(struct farewell_options, is_now), "its memory was given up: tell it once, restarted or not"},
	{0},
};

static int farewell(void *options, struct error *err)
{
	const struct farewell_options *self = options;
	int r = command_line_need(self->record != NULL, "record", err);

	if (r < 0)
		return r;
	return self->is_now ? departure_farewell_now(self->record, err) : departure_farewell(self->record, err);
}

const struct command command_farewell = {
	.name = "farewell",
	.purpose = "tell the target of a departure that this host was restarted meanwhile and has lost the container's memory",
	.entries = farewell_entries,
	.defaults = &(const struct farewell_options){.record = NULL},
	.options_size = sizeof(struct farewell_options),
	.run = farewell,
};

struct lost_options {
	const char *work;
	bool is_dropped;
};

static const struct option_entry lost_entries[] = {
	{0, "work", "DIR", OPTION_STRING, offsetof(struct lost_options, work), "the folder of the receive worker"},
	{0, "drop", NULL, OPTION_FLAG, offsetof(struct lost_options, is_dropped), "the tasks are killed, whatever the source wished"},
	{0},
};

static int tell_lost(void *options, struct error *err)
{
	const struct lost_options *self = options;
	auto_free char *path = text_format("%s/" LOCAL_SOCKET, self->work != NULL ? self->work : "");
	auto_close int fd = FD_NONE;
	int r = command_line_need(self->work != NULL, "work", err);

	if (r == 0)
		r = socket_connect(path, &fd, err);
	return r == 0 ? local_send(fd, LOCAL_LOST, self->is_dropped ? LOSS_OF_COPY : LOSS_DECIDED, NULL, FD_NONE, err) : r;
}

const struct command command_lost = {
	.name = "lost",
	.purpose = "tell a receive worker that no more memory comes: it does what --lost-pages of the source said",
	.entries = lost_entries,
	.defaults = &(const struct lost_options){.work = NULL},
	.options_size = sizeof(struct lost_options),
	.run = tell_lost,
};

static int print_phases(void *options, struct error *err)
{
	(void) options;
	(void) err;
	migration_phases_print();
	return 0;
}

const struct command command_phases = {
	.name = "phases",
	.purpose = "list the phases of a migration and the records that are written on the way",
	.entries = &(const struct option_entry){0},
	.defaults = &(const char){0},
	.options_size = 1,
	.run = print_phases,
};

struct await_options {
	const char *state;
};

static const struct option_entry await_entries[] = {
	{0, "state", "DIR", OPTION_STRING, offsetof(struct await_options, state), "the container's run directory"},
	{0},
};

/* Whoever works on the migration holds the lock as long as he lives, whatever becomes of the shim that he asked. */
static int await(void *options, struct error *err)
{
	const struct await_options *self = options;
	auto_free char *path = text_format("%s/" LOCK_MIGRATION, self->state != NULL ? self->state : "");
	auto_close int fd = FD_NONE;
	int r = command_line_need(self->state != NULL, "state", err);

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : file_lock_fd(fd, true);
	return r < 0 ? fail_errno(err, -r, "lock '%s'", path) : 0;
}

const struct command command_await = {
	.name = "await",
	.purpose = "wait until nobody works on the migration of a container any more",
	.entries = await_entries,
	.defaults = &(const struct await_options){.state = NULL},
	.options_size = sizeof(struct await_options),
	.run = await,
};
