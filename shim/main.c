/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-shim: the supervisor of a container.
 *
 * Started by hydra-setup or hydra-monitor with its listening socket as descriptor 3.
 */
#include "base/child.h"
#include "base/log.h"
#include "base/options.h"
#include "base/owned.h"
#include "proto/ttrpc_connection.h"
#include "shim/calls.h"
#include "shim/container.h"
#include "shim/containerd.h"
#include "shim/deposit.h"
#include "shim/shim.h"
#include "shim/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_FD 3

struct shim_options {
	const char *root;
	const char *namespace;
	const char *id;
	bool adopt;
	bool version;
	struct reexec_options reexec;
};

static const struct option_entry option_entries[] = {
	{0, "root", "DIR", OPTION_STRING, offsetof(struct shim_options, root), "run directories (default /run/hydra)"},
	{0, "namespace", "NS", OPTION_STRING, offsetof(struct shim_options, namespace), "namespace of the container"},
	{0, "id", "ID", OPTION_STRING, offsetof(struct shim_options, id), "the container; its record must exist"},
	{0, "adopt", NULL, OPTION_FLAG, offsetof(struct shim_options, adopt), "take over what its record says is running"},
	REEXEC_ENTRIES(struct shim_options, reexec),
	{'v', "version", NULL, OPTION_FLAG, offsetof(struct shim_options, version), "print the version"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* A container of `run --rm` goes with its last process: hydra-setup takes our place and removes it. */
static void remove_if_asked(struct shim *self, const struct shim_options *options)
{
	struct container *container = shim_container(self);
	auto_free char *setup = NULL;

	if (container == NULL ||
	    (!container->is_vanishing && (!container->record->remove_on_exit || container->init == NULL)))
		return;
	setup = child_program("hydra-setup");
	(void) execl(setup, "hydra-setup", "--root", options->root, "remove", "--force", "--namespace", options->namespace, options->id,
		     (char *) NULL);
	log_error("container not removed", "container=%s error=\"%s: %s\"", options->id, setup, strerrordesc_np(errno));
}

static int take_charge(struct shim *self, const struct shim_options *options, struct error *err)
{
	struct container *container;
	int r = container_open(&container, self, options->id, err);

	if (r == 0 && container->record->containerd != NULL)
		r = containerd_init(self, err);
	if (r == 0 && options->adopt)
		r = container_adopt(container, err);
	return r < 0 ? r : container_save(container, err);
}

static int begin(struct shim *self, const struct shim_options *options, struct error *err)
{
	const char *argv[] = {"hydra-shim", "--root", options->root, "--namespace", options->namespace, "--id", options->id, NULL};
	int r;

	if (options->reexec.sealed_fd > 0) {
		r = shim_unseal(self, options->root, options->namespace, options->id, &options->reexec, err);
		if (r < 0)
			reexec_refuse(&options->reexec, argv, err->message);
		return r;
	}
	r = shim_init(self, options->root, options->namespace, LISTEN_FD, err);
	if (r < 0)
		return r;
	calls_init(self, FD_NONE);
	r = take_charge(self, options, err);
	if (r < 0)
		return r;
	calls_go_on(self);
	deposit_everything(self); /* last: what is not deposited then is forgotten */
	return 0;
}

/* Others keep copies of the socket for a little while: nobody is to wait there. */
static void stop_listening(struct shim *self)
{
	int waiting;

	(void) shutdown(self->listen_fd, SHUT_RDWR);
	for (waiting = accept(self->listen_fd, NULL, NULL); waiting >= 0; waiting = accept(self->listen_fd, NULL, NULL))
		(void) close(waiting);
	owned_fd_release(&self->listen_fd);
}

/* Who has connected meanwhile is not to wait either: the monitor has copies of connections, too, for as long as we, or hydra-setup
 * in our place, live. */
static void hang_up(const struct shim *self)
{
	for (const struct ttrpc_connection *connection = self->server.connections; connection != NULL; connection = connection->next)
		(void) shutdown(connection->source.fd, SHUT_RDWR);
}

static int run(const struct shim_options *options)
{
	struct shim self;
	struct error err;
	int exit_code;

	if (begin(&self, options, &err) < 0) {
		log_error("shim did not start", "container=%s error=\"%s\"", options->id, err.message);
		return EXIT_FAILURE;
	}
	exit_code = event_loop_run(&self.loop);
	/* before the lock: who gets that may listen there at once */
	stop_listening(&self);
	hang_up(&self);
	remove_if_asked(&self, options);
	return exit_code;
}

int main(int argc, char **argv)
{
	static const struct option_table table = {
		.entries = option_entries,
		.about = "hydra-shim " HYDRA_VERSION ": the supervisor of one container; hydra-setup and hydra-monitor start it",
	};
	struct shim_options options = {.root = RUN_ROOT_DEFAULT, .namespace = NAMESPACE_DEFAULT};
	struct option_rest rest = {0};
	struct error err;
	int r;

	/* who listens there waits for a daemon, not for a container */
	(void) unsetenv("NOTIFY_SOCKET");
	if (strstr(argv[0], "containerd-shim-") != NULL)
		return containerd_main(argc, argv);
	log_open("hydra-shim", LOG_INFO);
	r = options_begin(&table, argc, argv, &options, &rest, &err);
	if (r < 0)
		log_error(err.message, NULL);
	if (r <= 0)
		return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	option_rest_deinit(&rest);
	if (options.id == NULL) {
		log_error("missing option: --id (--help explains)", NULL);
		return EXIT_FAILURE;
	}
	return run(&options);
}
