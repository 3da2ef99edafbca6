/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-setup: creates, starts and removes containers, and is gone afterwards.
 *
 * For hydrad, hydra-shim and hydractl, not for people. Exit status: 0, or the errno value of what went wrong;
 * then the reason is on standard error, and nothing is left of what was begun.
 */
#include "base/file.h"
#include "base/options.h"
#include "base/owned.h"
#include "proto/message.h"
#include "setup/setup.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REQUEST_SIZE_MAX (4U << 20)

struct setup_options {
	const char *root;
	const char *namespace;
	const char *host, *certificates, *migration, *images, *key_file, *bandwidth, *compress, *lost_pages, *to, *mode, *downtime;
	struct string_list deadlines;
	bool is_resumed;
	int connection_fd;
	bool leave_running, dry_run, end_exec_sessions;
	bool force, half_done;
	bool containerd;
};

static const struct option_entry option_entries[] = {
	{0, "root", "DIR", OPTION_STRING, offsetof(struct setup_options, root), "run directories (default /run/hydra)"},
	{0, "namespace", "NS", OPTION_STRING, offsetof(struct setup_options, namespace), "namespace of the container"},
	{'f', "force", NULL, OPTION_FLAG, offsetof(struct setup_options, force), "remove: stop it when it runs"},
	{0, "half-done", NULL, OPTION_FLAG, offsetof(struct setup_options, half_done), "remove: only what nobody finishes any more"},
	{0, "containerd", NULL, OPTION_FLAG, offsetof(struct setup_options, containerd), "remove: containerd's task, for containerd"},
	{0, "host", "HOST:PORT", OPTION_STRING, offsetof(struct setup_options, host), "migrate: where to"},
	{0, "certificates", "DIR", OPTION_STRING, offsetof(struct setup_options, certificates),
	 "migrate, receive: folder with ca.pem, cert.pem, key.pem"},
	{0, "migration", "ID", OPTION_STRING, offsetof(struct setup_options, migration), "migrate: its name, unique"},
	{0, "bandwidth", "RATE", OPTION_STRING, offsetof(struct setup_options, bandwidth), "migrate: bytes a second for what nobody waits for"},
	{0, "compress", "HOW", OPTION_STRING, offsetof(struct setup_options, compress), "migrate: auto, none, lz4 or zstd"},
	{0, "mode", "MODE", OPTION_STRING, offsetof(struct setup_options, mode), "migrate: auto, post-copy, pre-copy, hybrid or cold"},
	{0, "downtime", "TIME", OPTION_STRING, offsetof(struct setup_options, downtime), "migrate: the standstill that pre-copy aims at"},
	{0, "dry-run", NULL, OPTION_FLAG, offsetof(struct setup_options, dry_run), "migrate: only say what is in the way, on standard error"},
	{0, "end-exec-sessions", NULL, OPTION_FLAG, offsetof(struct setup_options, end_exec_sessions),
	 "migrate: end them instead of refusing"},
	{0, "lost-pages", "POLICY", OPTION_STRING, offsetof(struct setup_options, lost_pages), "migrate: stop or poison, should memory be lost"},
	{0, "deadline", "PART=TIME", OPTION_LIST, offsetof(struct setup_options, deadlines), "migrate: how long a part may take until the commit"},
	{0, "resume", NULL, OPTION_FLAG, offsetof(struct setup_options, is_resumed), "migrate: go on with a container in doubt"},
	{0, "to", "SIDE", OPTION_STRING, offsetof(struct setup_options, to), "resolve: source or target"},
	{0, "connection-fd", "FD", OPTION_INT, offsetof(struct setup_options, connection_fd), "receive: the accepted connection"},
	{0, "images", "DIR", OPTION_STRING, offsetof(struct setup_options, images), "checkpoint, restore: the folder"},
	{0, "key-file", "FILE", OPTION_STRING, offsetof(struct setup_options, key_file), "checkpoint, restore: it is encrypted with this key"},
	{0, "leave-running", NULL, OPTION_FLAG, offsetof(struct setup_options, leave_running), "checkpoint: do not stop it"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static const char about[] = "hydra-setup [OPTIONS] COMMAND: creates, starts and removes containers; for programs\n\n"
			    "Commands:\n"
			    "  create       create the container that the CreateRequest on standard input describes\n"
			    "  start        start ID, which is stopped\n"
			    "  remove       remove ID with all it wrote\n"
			    "  migrate      move ID to another host\n"
			    "  resolve      decide where ID lives, which is in doubt\n"
			    "  receive      take a container from another host\n"
			    "  checkpoint   save ID to disk\n"
			    "  restore      make ID of what checkpoint saved\n\n"
			    "Options:";

static int create(const struct setup_options *options, struct error *err)
{
	auto_free char *data = NULL;
	auto_message create_request *request = NULL;
	size_t size;
	int r = file_read_fd(STDIN_FILENO, "the request", REQUEST_SIZE_MAX, &data, &size, err);

	if (r < 0)
		return r;
	request = (create_request *) (void *) message_decode(&hydra__v1__create_request__descriptor, (uint8_t *) data, size);
	if (request == NULL)
		return fail_because(err, EINVAL, "standard input: expected a hydra.v1.CreateRequest");
	if (request->namespace_[0] == '\0' && !message_set_string(&request->namespace_, options->namespace))
		return fail_errno(err, ENOMEM, "create");
	return container_create(options->root, request, err);
}

static int need(const char *value, const char *name, struct error *err)
{
	return value != NULL ? 0 : fail_because(err, EINVAL, "missing option: --%s", name);
}

static int migrate(const struct setup_options *options, const char *id, struct error *err)
{
	struct migrate_request request = {.root = options->root, .namespace = options->namespace, .id = id, .host = options->host,
					  .certificates = options->certificates, .migration = options->migration,
					  .bandwidth = options->bandwidth, .compress = options->compress, .lost_pages = options->lost_pages,
					  .deadlines = &options->deadlines, .mode = options->mode, .downtime = options->downtime,
					  .is_dry_run = options->dry_run, .ends_exec_sessions = options->end_exec_sessions};
	int r = options->is_resumed ? 0 : need(options->host, "host", err);

	if (options->is_resumed)
		return container_migrate_on(&request, err);

	if (r == 0)
		r = need(options->certificates, "certificates", err);
	if (r == 0)
		r = need(options->migration, "migration", err);
	if (r == 0)
		r = options->dry_run ? container_preflight(&request, err) : container_migrate(&request, err);
	return r;
}

static int receive(const struct setup_options *options, struct error *err)
{
	int r = need(options->certificates, "certificates", err);

	if (r == 0 && options->connection_fd <= 2)
		r = need(NULL, "connection-fd", err);
	return r < 0 ? r : container_receive(options->root, options->certificates, options->connection_fd, err);
}

static int to_or_from_disk(const struct setup_options *options, bool is_restore, const char *id, struct error *err)
{
	struct checkpoint_place where = {.images = options->images, .key_file = options->key_file};
	int r = need(options->images, "images", err);

	if (r < 0)
		return r;
	return is_restore ? container_restore(options->root, options->namespace, id, &where, err)
			  : container_checkpoint(options->root, options->namespace, id, &where, options->leave_running, err);
}

static int run(const struct setup_options *options, const struct option_rest *rest, struct error *err)
{
	const char *command = rest->count > 0 ? rest->positional[0] : "";
	const char *id = rest->count == 2 ? rest->positional[1] : NULL;

	if (strcmp(command, "create") == 0 && rest->count == 1)
		return create(options, err);
	if (strcmp(command, "receive") == 0 && rest->count == 1)
		return receive(options, err);
	if (id == NULL || id_check("container name", id, err) < 0)
		return fail_because(err, EINVAL, "expected one of: create, receive, start ID, remove [--force] ID, migrate ID, resolve ID, "
						 "checkpoint ID, restore ID");
	if (strcmp(command, "remove") == 0 && options->half_done)
		return container_remove_half_done(options->root, options->namespace, id, options->containerd, err);
	if (strcmp(command, "remove") == 0)
		return options->containerd ? container_remove_task(options->root, options->namespace, id, err)
					   : container_remove(options->root, options->namespace, id, options->force, err);
	if (strcmp(command, "start") == 0)
		return container_start_again(options->root, options->namespace, id, err);
	if (strcmp(command, "migrate") == 0)
		return migrate(options, id, err);
	if (strcmp(command, "resolve") == 0)
		return need(options->to, "to", err) < 0 ? err->code : container_resolve(options->root, options->namespace, id, options->to, err);
	if (strcmp(command, "checkpoint") == 0 || strcmp(command, "restore") == 0)
		return to_or_from_disk(options, strcmp(command, "restore") == 0, id, err);
	return fail_because(err, EINVAL, "unknown command '%s'", command);
}

int main(int argc, char **argv)
{
	static const struct option_table table = {option_entries, false};
	struct setup_options options = {.root = run_root(), .namespace = NAMESPACE_DEFAULT};
	struct option_rest rest = {0};
	struct error err;
	int r;

	(void) signal(SIGPIPE, SIG_IGN);
	(void) umask(022);
	r = options_parse(&table, argc, argv, &options, &rest, &err);
	if (r == 0 && rest.wants_help) {
		(void) puts(about);
		options_print(&table);
	} else if (r == 0) {
		r = run(&options, &rest, &err);
	}
	if (r < 0)
		(void) fprintf(stderr, "%s\n", err.message);
	option_rest_deinit(&rest);
	return -r & 0xff;
}
