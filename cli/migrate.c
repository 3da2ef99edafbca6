/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl migrate, checkpoint, restore.
 *
 * hydrad starts a migration; how it goes is read from its progress file, so that a daemon that dies is not in the way.
 */
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/migrate.h"
#include "cli/migrate_display.h"
#include "proto/message.h"
#include "state/migration_file.h"
#include "state/run_dir.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define LOOK_MS        1000 /* the file is told of when it is written, but not when the lock of its dead writer goes */
#define START_MS       30000 /* until the worker has begun */

static volatile sig_atomic_t was_interrupted;

static void interrupt(int signal_number)
{
	(void) signal_number;
	was_interrupted = 1;
}

/* The terminal has another size: what waits is to end. */
static void look_again(int signal_number)
{
	(void) signal_number;
}

static void cancel(const struct cli *cli, const char *migration)
{
	Hydra__V1__MigrationRequest request = HYDRA__V1__MIGRATION_REQUEST__INIT;
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	auto_message ProtobufCMessage *response = NULL;
	struct error ignored;
	pid_t pid = 0;

	request.id = (char *) (uintptr_t) migration;
	if (cli_call_daemon(cli, "CancelMigration", &request.base, &hydra__v1__empty__descriptor, 2000, &response, &ignored) < 0 &&
	    migration_file_read(cli->root, migration, &status, &pid, &ignored) == 0 && !status->is_done && pid > 0)
		(void) kill(pid, SIGTERM);
	(void) fputs("\ncancelling; what was handed over already arrives all the same\n", stderr);
}

static int watch_progress(const struct cli *cli, int *ret_fd, struct error *err)
{
	auto_free char *folder = migration_folder(cli->root);
	auto_close int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0 || inotify_add_watch(fd, folder, IN_MODIFY | IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
		return fail_errno(err, errno, "watch '%s'", folder);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* How long it waited when nothing was written (or a signal came); else 0. */
static int await_progress(int watch_fd, int timeout_ms)
{
	char events[4096];
	struct pollfd event = {.fd = watch_fd, .events = POLLIN};
	int r = poll(&event, 1, timeout_ms);

	while (read(watch_fd, events, sizeof(events)) > 0)
		continue;
	return r == 0 ? timeout_ms : 0;
}

/* Until it is over. */
static int follow(const struct cli *cli, const char *migration, Hydra__V1__MigrationStatus **ret_status, struct error *err)
{
	auto_close int watch_fd = FD_NONE;
	struct migrate_display display;
	uint64_t shown = 0;
	bool is_cancelled = false;
	int waited_ms = 0;

	migrate_display_init(&display, cli);
	if (watch_progress(cli, &watch_fd, err) < 0)
		return err->code;
	for (;;) {
		auto_message Hydra__V1__MigrationStatus *status = NULL;
		int r = migration_file_read_next(cli->root, migration, shown, &status, err);
		bool is_news = r == 0 && status->sequence > shown;

		if (r < 0 && (r != -ENOENT || waited_ms > START_MS))
			return r;
		if (was_interrupted && !is_cancelled && r == 0) {
			is_cancelled = true;
			cancel(cli, migration);
		}
		if (is_news)
			migrate_display_show(&display, status);
		else if (r == 0)
			migrate_display_again(&display, status);
		if (r == 0 && status->is_done) {
			migrate_display_end(&display);
			*ret_status = take_ptr(&status);
			return 0;
		}
		if (is_news)
			shown = status->sequence;
		else
			waited_ms += await_progress(watch_fd, display.is_screen ? MIGRATE_DISPLAY_TICK_MS : LOOK_MS);
	}
}

static int conclude(const struct cli *cli, const Hydra__V1__MigrationStatus *status, const char *host, struct error *err)
{
	if (status->has_failed)
		return fail_because(err, was_interrupted ? EINTR : EIO, "%s", status->message);
	if (!cli_wants_json(cli))
		(void) printf("moved to %s: stood still for %.1f ms, %llu pages, %llu of them by fault\n", host,
			      (double) status->downtime_us / 1000, (unsigned long long) status->pages_done,
			      (unsigned long long) status->faults);
	return 0;
}

static int settle(const struct cli *cli, const struct migrate_options *options, const struct option_rest *rest, struct error *err)
{
	if (rest->count != 1)
		return fail_because(err, EINVAL, "--resume and --resolve: expected CONTAINER alone");
	return options->is_resumed ? cli_migrate_on(cli, rest->positional[0], err)
				   : cli_resolve(cli, options->resolve, options->force, rest->positional[0], err);
}

static int migrate(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct migrate_options *options = context;
	Hydra__V1__MigrateRequest request = HYDRA__V1__MIGRATE_REQUEST__INIT;
	auto_message Hydra__V1__MigrationStatus *started = NULL;
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	auto_free char *certificates = NULL;
	struct sigaction action = {.sa_handler = interrupt};
	int r;

	if (options->resolve != NULL || options->is_resumed)
		return settle(cli, options, rest, err);
	if (rest->count != 2)
		return fail_because(err, EINVAL, "expected CONTAINER HOST");
	r = migrate_way_parse(&options->way, &request, &certificates, err);
	if (r < 0)
		return r;
	request.namespace_ = (char *) (uintptr_t) cli->namespace;
	request.id = (char *) (uintptr_t) rest->positional[0];
	request.host = (char *) (uintptr_t) rest->positional[1];
	if (options->dry_run)
		return preflight_run(cli, &request, err);
	(void) sigaction(SIGINT, &action, NULL);
	(void) sigaction(SIGTERM, &action, NULL);
	(void) sigaction(SIGWINCH, &(struct sigaction){.sa_handler = look_again}, NULL);
	r = cli_call_daemon(cli, "Migrate", &request.base, &hydra__v1__migration_status__descriptor, 30000, &started, err);
	if (r == -ENOENT || r == -ECONNREFUSED) {
		struct error why = *err;

		return strstr(why.message, "no container") != NULL
			       ? r
			       : fail_because(err, ECONNREFUSED, "migrations need hydrad, which does not run at %s", cli->root);
	}
	if (r == 0)
		r = follow(cli, started->id, &status, err);
	return r < 0 ? r : conclude(cli, status, request.host, err);
}

const struct command command_migrate = {
	"migrate", "[OPTIONS] CONTAINER [HOST]", "move a running container to another host", migrate_entries,
	sizeof(struct migrate_options), 1, 2, false, migrate};

struct disk_options {
	const char *images;
	const char *name;
	const char *key_file;
	bool leave_running, encrypt;
};

static const struct option_entry checkpoint_entries[] = {
	{0, "images", "DIR", OPTION_STRING, offsetof(struct disk_options, images), "where it goes (made when missing)"},
	{0, "leave-running", NULL, OPTION_FLAG, offsetof(struct disk_options, leave_running), "do not stop the container"},
	{0, "encrypt", NULL, OPTION_FLAG, offsetof(struct disk_options, encrypt), "nothing of it reaches the disk as it is; needs --key-file"},
	{0, "key-file", "FILE", OPTION_STRING, offsetof(struct disk_options, key_file), "the key: 32 bytes or 64 hexadecimal digits"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static const struct option_entry restore_entries[] = {
	{0, "images", "DIR", OPTION_STRING, offsetof(struct disk_options, images), "what checkpoint wrote"},
	{0, "name", "NAME", OPTION_STRING, offsetof(struct disk_options, name), "of the container"},
	{0, "key-file", "FILE", OPTION_STRING, offsetof(struct disk_options, key_file), "of an encrypted one: its key"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static char *absolute(const char *path)
{
	auto_free char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);

	return here == NULL ? text_copy(path) : text_format("%s/%s", here, path);
}

static int disk(const struct cli *cli, const struct disk_options *options, const char *operation, const char *id, struct error *err)
{
	auto_free char *images = options->images != NULL ? absolute(options->images) : NULL;
	auto_free char *images_option = images != NULL ? text_format("--images=%s", images) : NULL;
	auto_free char *key_file = options->key_file != NULL ? absolute(options->key_file) : NULL;
	auto_free char *key_option = key_file != NULL ? text_format("--key-file=%s", key_file) : NULL;
	const char *arguments[7] = {operation, images_option};
	size_t count = 2;
	int r;

	if (images == NULL)
		return fail_because(err, EINVAL, "missing option: --images DIR");
	if (options->leave_running)
		arguments[count++] = "--leave-running";
	if (key_option != NULL)
		arguments[count++] = key_option;
	arguments[count++] = "--";
	arguments[count] = id;
	r = cli_setup(cli, arguments, NULL, 0, err);
	if (r == 0)
		(void) puts(id);
	return r;
}

static int checkpoint(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct disk_options *options = context;

	if (options->encrypt != (options->key_file != NULL))
		return fail_because(err, EINVAL, "--encrypt and --key-file FILE belong together");
	return disk(cli, options, "checkpoint", rest->positional[0], err);
}

static int restore(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	const struct disk_options *options = context;

	(void) rest;
	if (options->name == NULL)
		return fail_because(err, EINVAL, "missing option: --name NAME");
	return disk(cli, options, "restore", options->name, err);
}

const struct command command_checkpoint = {
	"checkpoint", "--images DIR [OPTIONS] CONTAINER", "save a running container to disk", checkpoint_entries,
	sizeof(struct disk_options), 1, 1, false, checkpoint};
const struct command command_restore = {
	"restore", "--images DIR --name NAME [--key-file FILE]", "bring a saved container back", restore_entries, sizeof(struct disk_options), 0, 0, false,
	restore};
