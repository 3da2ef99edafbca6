/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydrad: the API of a host.
 */
#include "base/clock.h"
#include "base/descriptor_limit.h"
#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/options.h"
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "proto/message.h"
#include "state/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct daemon_options {
	const char *root;
	const char *listen;
	const char *certificates;
	bool version;
	struct reexec_options reexec;
};

static const struct option_entry option_entries[] = {
	{0, "root", "DIR", OPTION_STRING, offsetof(struct daemon_options, root), "run directories (default $HYDRA_ROOT or /run/hydra)"},
	{0, "listen", "ADDRESS:PORT", OPTION_STRING, offsetof(struct daemon_options, listen), "take containers from other hosts"},
	{0, "certificates", "DIR", OPTION_STRING, offsetof(struct daemon_options, certificates),
	 "folder with ca.pem, cert.pem, key.pem, for migrations in both directions (default: $CREDENTIALS_DIRECTORY, if it has them)"},
	REEXEC_ENTRIES(struct daemon_options, reexec),
	{'v', "version", NULL, OPTION_FLAG, offsetof(struct daemon_options, version), "print the version"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* One daemon a host: a second one says so and goes. */
static int take_lock(struct daemon *self, struct error *err)
{
	auto_free char *path = text_format("%s/hydrad.lock", self->root);
	int r = file_lock(path, &self->lock_fd, err);

	return r == -EBUSY ? fail_because(err, EBUSY, "another hydrad serves '%s'", self->root) : r;
}

static void take_socket(int fd, const char *name, void *context)
{
	int *listen_fd = context;

	(void) name;
	if (*listen_fd < 0)
		*listen_fd = fd;
	else
		(void) close(fd);
}

static bool has_option(int fd, int option, int expected)
{
	socklen_t size = sizeof(int);
	int value;

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value == expected;
}

/* The socket systemd gives us, or one of our own. */
static int open_socket(struct daemon *self, struct error *err)
{
	auto_free char *path = text_format("%s/hydrad.sock", self->root);

	notify_take_fds(take_socket, &self->listen_fd);
	if (self->listen_fd < 0)
		return socket_listen(path, &self->listen_fd, err);
	if (!has_option(self->listen_fd, SO_DOMAIN, AF_UNIX) || !has_option(self->listen_fd, SO_TYPE, SOCK_STREAM) ||
	    !has_option(self->listen_fd, SO_ACCEPTCONN, 1))
		return fail_because(err, EINVAL, "the descriptor from systemd: expected a listening Unix socket");
	(void) fcntl(self->listen_fd, F_SETFL, fcntl(self->listen_fd, F_GETFL) | O_NONBLOCK);
	return 0;
}

/* Also a look at what came or went without our doing. */
static void reload(struct daemon *self)
{
	notify_reloading();
	log_level_load();
	entries_rescan(self);
	log_info("reloaded", NULL);
	notify("READY=1");
}

static void handle_signal(struct event_loop *loop, const int signal_number, void *context)
{
	struct daemon *self = context;

	if (signal_number == SIGCHLD)
		workers_reap(self);
	else if (signal_number == SIGHUP)
		reload(self);
	else
		event_loop_stop(loop, EXIT_SUCCESS);
}

/* How far the binary before had read each journal: nothing comes twice, nothing is left out. */
static void follow_on(struct daemon *self, const Hydra__V1__SealedDaemon *sealed)
{
	for (size_t i = 0; i < sealed->n_followers; i++) {
		const Hydra__V1__SealedFollower *item = sealed->followers[i];
		struct entry *entry = entry_find(self, item->namespace_, item->id);

		if (entry != NULL)
			entry->last_sequence = item->last_sequence;
	}
	events_unseal(self, sealed);
}

/* systemd's LoadCredential= with the names that --certificates' folder has; NULL: not given, or not all of them. */
static const char *credentials_folder(void)
{
	static const char *const names[] = {"ca.pem", "cert.pem", "key.pem"};
	const char *folder = getenv("CREDENTIALS_DIRECTORY");

	for (size_t i = 0; folder != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
		auto_free char *path = text_format("%s/%s", folder, names[i]);

		if (!path_exists(AT_FDCWD, path))
			folder = NULL;
	}
	return folder;
}

/* sealed: NULL at an ordinary start. */
static int daemon_init(struct daemon *self, const struct daemon_options *options, const Hydra__V1__SealedDaemon *sealed, char **argv,
		       struct error *err)
{
	int r;

	*self = (struct daemon){.root = options->root,
				.lock_fd = FD_NONE,
				.listen_fd = FD_NONE,
				.migration_fd = FD_NONE,
				.argv = (const char *const *) argv,
				.migration_source.fd = FD_NONE,
				.progress_source.fd = FD_NONE,
				.migration_address = options->listen,
				.certificates = options->certificates != NULL ? options->certificates : credentials_folder(),
				.started_ns = clock_realtime_ns(),
				.started_mono_ns = clock_monotonic_ns()};
	(void) descriptor_limit_raise(); /* a connection to each shim */
	r = dir_make_all(self->root, 0700, err);
	if (r == 0)
		r = sealed != NULL ? (self->lock_fd = sealed->lock_fd, 0) : take_lock(self, err);
	if (r == 0)
		r = event_loop_init(&self->loop, err);
	if (r == 0)
		r = event_loop_watch_usual_signals(&self->loop, handle_signal, self, err);
	if (r == 0)
		r = events_init(self, err);
	if (r == 0)
		r = sealed != NULL ? (self->listen_fd = sealed->server->listen_fd, 0) : open_socket(self, err);
	fault_point("hydrad.listening");
	if (r == 0)
		r = entries_recover(self, err);
	if (r == 0 && sealed != NULL)
		follow_on(self, sealed);
	fault_point("hydrad.recovered");
	if (r == 0)
		r = migrations_init(self, sealed != NULL ? sealed->migration_fd : FD_NONE, err);
	if (r == 0)
		r = ttrpc_server_init(&self->server, &self->loop, self->listen_fd, daemon_methods, self, err);
	return r;
}

static void daemon_deinit(struct daemon *self)
{
	ttrpc_server_deinit(&self->server);
	while (self->entries != NULL)
		entry_free(self->entries);
	events_deinit(self);
	event_loop_deinit(&self->loop);
	owned_fd_release(&self->listen_fd);
	owned_fd_release(&self->lock_fd);
}

static int begin(struct daemon *self, const struct daemon_options *options, char **argv, struct error *err)
{
	auto_message Hydra__V1__SealedDaemon *sealed = NULL;
	int r = options->reexec.sealed_fd > 0 ? upgrade_read(&options->reexec, &sealed, err) : 0;

	if (r == 0)
		r = daemon_init(self, options, sealed, argv, err);
	if (r < 0 && options->reexec.sealed_fd > 0)
		reexec_refuse(&options->reexec, (const char *const *) argv, err->message);
	if (r == 0 && sealed != NULL)
		upgrade_take_over(self, sealed, &options->reexec);
	return r;
}

static int serve(const struct daemon_options *options, char **argv)
{
	struct daemon self;
	struct error err;
	int exit_code;

	if (begin(&self, options, argv, &err) < 0) {
		log_error("daemon did not start", "error=\"%s\"", err.message);
		return EXIT_FAILURE;
	}
	report_start(&self);
	log_info("daemon started", "root=%s version=%s", self.root, HYDRA_VERSION);
	notify("READY=1\nSTATUS=Containers run whether or not I do.");
	watchdog_begin(&self.watchdog, &self.loop);
	exit_code = event_loop_run(&self.loop);
	notify("STOPPING=1");
	daemon_deinit(&self);
	return exit_code;
}

int main(int argc, char **argv)
{
	static const struct option_table table = {
		.entries = option_entries,
		.about = "hydrad " HYDRA_VERSION ": the API of a host for hydractl and for other hosts",
	};
	struct daemon_options options = {.root = run_root()};
	struct option_rest rest = {0};
	struct error err;
	int r;

	log_open("hydrad", LOG_INFO);
	log_level_load();
	r = options_begin(&table, argc, argv, &options, &rest, &err);
	if (r < 0)
		log_error(err.message, NULL);
	if (r <= 0)
		return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	option_rest_deinit(&rest);
	return serve(&options, argv);
}
