/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-monitor: one per host.
 *
 * When it ends, everything else goes on; when it comes back, it takes up what it finds.
 */
#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/options.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"
#include "proto/message.h"
#include "state/run_dir.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long an orphan's status waits to be seen by a successor before it is reaped. */
#define ORPHAN_NS (2 * NS_PER_S)
/* Children of a dying shim become ours before it can be seen to have ended. */
#define SETTLE_NS (20 * NS_PER_MS)

struct monitor_options {
	const char *root;
	int metrics_port;
	bool no_daemon;
	bool version;
	struct reexec_options reexec;
};

static const struct option_entry option_entries[] = {
	{0, "root", "DIR", OPTION_STRING, offsetof(struct monitor_options, root), "run directories (default $HYDRA_ROOT or /run/hydra)"},
	{0, "no-daemon", NULL, OPTION_FLAG, offsetof(struct monitor_options, no_daemon), "do not start hydrad (systemd does)"},
	{0, "metrics-port", "PORT", OPTION_INT, offsetof(struct monitor_options, metrics_port), "serve Prometheus on this loopback port too"},
	REEXEC_ENTRIES(struct monitor_options, reexec),
	{'v', "version", NULL, OPTION_FLAG, offsetof(struct monitor_options, version), "print the version"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* Children that are neither shims nor the daemon: what shims that died left to us. */
static void reap_orphans(struct event_timer *timer)
{
	struct monitor *self = timer->context;
	siginfo_t info = {0};
	int status;

	if (shims_are_being_replaced(self) && clock_monotonic_ns() - self->orphans_since_ns < ORPHAN_NS) {
		event_loop_arm(&self->loop, timer, SETTLE_NS);
		return;
	}
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
		if (info.si_pid != self->daemon_pid && !shims_has_child(self, info.si_pid))
			ends_reap(&self->ends, info.si_pid);
		else if (waitpid(info.si_pid, &status, WNOHANG) > 0 && !daemon_ended(self, info.si_pid, status))
			(void) shims_ended(self, info.si_pid, status);
		info.si_pid = 0;
	}
}

/* Once nobody has ended for a moment; a storm of ends does not put it off for ever. */
static void reap_orphans_later(struct monitor *self)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (self->orphan_timer.due_ns == 0)
		self->orphans_since_ns = now_ns;
	if (now_ns - self->orphans_since_ns < ORPHAN_NS)
		event_loop_arm(&self->loop, &self->orphan_timer, SETTLE_NS);
}

static bool is_end(int status)
{
	return WIFEXITED(status) || WIFSIGNALED(status);
}

static void reap_shim(struct monitor *self, pid_t pid)
{
	int status;

	while (waitpid(pid, &status, WNOHANG | WUNTRACED | WCONTINUED) > 0) {
		if (is_end(status)) {
			(void) shims_ended(self, pid, status);
			return;
		}
		shims_stopped(self, pid, status);
	}
}

static void reap(struct monitor *self)
{
	struct watched_shim *next;
	int status;

	while (self->daemon_pid > 0 && waitpid(self->daemon_pid, &status, WNOHANG | WUNTRACED | WCONTINUED) > 0) {
		if (is_end(status))
			(void) daemon_ended(self, self->daemon_pid, status);
		else
			daemon_stopped(self, self->daemon_pid, status);
	}
	for (struct watched_shim *shim = self->shims; shim != NULL; shim = next) {
		next = shim->next;
		if (shim->pid > 0)
			reap_shim(self, shim->pid);
	}
	reap_orphans_later(self);
}

static void reload(struct monitor *self)
{
	notify_reloading();
	log_level_load();
	shims_recover(self);
	log_info("reloaded", NULL);
	notify("READY=1");
}

static void handle_signal(struct event_loop *loop, const int signal_number, void *context)
{
	struct monitor *self = context;

	if (signal_number == SIGCHLD) {
		reap(self);
		return;
	}
	if (signal_number == SIGHUP) {
		reload(self);
		return;
	}
	if (self->daemon_pid > 0)
		(void) kill(self->daemon_pid, SIGTERM);
	store_let_inputs_go(self);
	account_end(self);
	event_loop_stop(loop, EXIT_SUCCESS);
}

static int take_lock(struct monitor *self, struct error *err)
{
	auto_free char *path = text_format("%s/monitor.lock", self->root);
	int r = file_lock(path, &self->lock_fd, err);

	return r == -EBUSY ? fail_because(err, EBUSY, "another hydra-monitor serves '%s'", self->root) : r;
}

static int open_sockets(struct monitor *self, int metrics_port, struct error *err)
{
	auto_free char *path = text_format("%s/monitor.sock", self->root);
	int r = socket_listen(path, &self->listen_fd, err);

	if (r == 0)
		r = ttrpc_server_init(&self->server, &self->loop, self->listen_fd, monitor_methods, self, err);
	if (r == 0)
		r = store_open(self, FD_NONE, err);
	return r < 0 ? r : metrics_open(self, metrics_port, err);
}

static int reopen_sockets(struct monitor *self, const Hydra__V1__SealedMonitor *sealed, struct error *err)
{
	int r = ttrpc_server_init(&self->server, &self->loop, sealed->server->listen_fd, monitor_methods, self, err);

	self->lock_fd = sealed->lock_fd;
	self->listen_fd = sealed->server->listen_fd;
	if (r == 0)
		r = store_open(self, sealed->store_fd, err);
	return r < 0 ? r : metrics_reopen(self, sealed->metrics_fd, sealed->metrics_tcp_fd, err);
}

/* sealed: NULL at an ordinary start. */
static int monitor_init(struct monitor *self, const struct monitor_options *options, const Hydra__V1__SealedMonitor *sealed,
			struct error *err)
{
	int r;

	self->root = options->root;
	self->runs_daemon = !options->no_daemon;
	self->started_ns = clock_realtime_ns();
	self->orphan_timer = (struct event_timer){.handle = reap_orphans, .context = self};
	r = dir_make_all(self->root, 0700, err);
	if (r == 0 && sealed == NULL)
		r = take_lock(self, err);
	if (r == 0)
		r = account_open(self, err);
	if (r == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		r = fail_errno(err, errno, "become a subreaper");
	if (r == 0)
		r = event_loop_init(&self->loop, err);
	if (r == 0)
		r = event_loop_watch_usual_signals(&self->loop, handle_signal, self, err);
	if (r < 0)
		return r;
	return sealed != NULL ? reopen_sockets(self, sealed, err) : open_sockets(self, options->metrics_port, err);
}

static int begin(struct monitor *self, const struct monitor_options *options, struct error *err)
{
	auto_message Hydra__V1__SealedMonitor *sealed = NULL;
	int r = options->reexec.sealed_fd > 0 ? upgrade_read(&options->reexec, &sealed, err) : 0;

	if (r == 0)
		r = monitor_init(self, options, sealed, err);
	if (r < 0 && options->reexec.sealed_fd > 0)
		reexec_refuse(&options->reexec, self->argv, err->message);
	if (r < 0)
		return r;
	if (sealed != NULL) {
		upgrade_take_over(self, sealed, &options->reexec);
		reap(self);
		return 0;
	}
	keeper_recover(self);
	account_begin(self);
	shims_recover(self);
	/* where systemd listens in hydrad's name, looking for it would start it */
	if (!self->runs_daemon || daemon_find(self))
		return 0;
	account_unseen(self, "daemon", HYDRA__V1__LEDGER_STATE__LEDGER_DOWN, "it was gone when there was a monitor again");
	daemon_start(self);
	return 0;
}

static int serve(const struct monitor_options *options, const struct option_rest *rest, char **argv)
{
	static struct monitor self = {.lock_fd = FD_NONE, .listen_fd = FD_NONE, .daemon_source.fd = FD_NONE};
	struct error err;
	int r;

	self.argv = (const char *const *) argv;
	self.runs_daemon = !options->no_daemon;
	self.daemon_arguments = rest->positional;
	self.daemon_argument_count = rest->count;
	if (begin(&self, options, &err) < 0) {
		log_error("monitor did not start", "error=\"%s\"", err.message);
		return EXIT_FAILURE;
	}
	notify("READY=1\nSTATUS=Containers run whether or not I do.");
	watchdog_begin(&self.watchdog, &self.loop);
	r = event_loop_run(&self.loop);
	notify("STOPPING=1");
	return r;
}

int main(int argc, char **argv)
{
	static const struct option_table table = {
		.entries = option_entries,
		.about = "hydra-monitor " HYDRA_VERSION ": watches over shims and hydrad\n\nhydra-monitor [OPTIONS] [-- OPTIONS OF HYDRAD]",
	};
	struct monitor_options options = {.root = run_root()};
	struct option_rest rest = {0};
	struct error err;
	int r;

	log_open("hydra-monitor", LOG_INFO);
	log_level_load();
	r = options_begin(&table, argc, argv, &options, &rest, &err);
	if (r < 0)
		log_error(err.message, NULL);
	if (r <= 0)
		return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	r = serve(&options, &rest, argv);
	option_rest_deinit(&rest);
	return r;
}
