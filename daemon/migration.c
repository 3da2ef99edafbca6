/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations, seen from hydrad: it starts hydra-setup for each, here or for a connection from another host, and tells
 * what their progress files say. It keeps nothing of its own, so its death changes nothing.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "proto/message.h"
#include "state/migration_file.h"
#include "state/run_dir.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG       64

/* A call that waits for news of a migration. */
struct waiting {
	char *id;
	uint64_t since;
};

static struct daemon *daemon_of(struct ttrpc_call *call)
{
	return call->server->context;
}

static void received(struct daemon *daemon, int exit_status, const char *message, void *context)
{
	(void) context;
	if (exit_status != 0)
		log_warning("container not received", "error=\"%s\"", message);
	entries_rescan(daemon);
}

static void handle_connection(struct event_source *source, uint32_t events)
{
	struct daemon *daemon = source->context;
	auto_close int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);
	const char *arguments[] = {"--root", daemon->root, "--certificates", daemon->certificates, "--connection-fd", "3", "receive",
				   NULL};
	struct error err;

	(void) events;
	if (fd >= 0 && worker_start_with(daemon, "hydra-setup", arguments, fd, received, NULL, &err) < 0)
		log_error("connection of another host not served", "error=\"%s\"", err.message);
}

static int open_address(const char *address, int *ret_fd, struct error *err)
{
	auto_free char *host = text_copy(address);
	char *port = strrchr(host, ':');
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	auto_close int fd = FD_NONE;
	int yes = 1;
	char *name = host;

	if (port == NULL)
		return fail_because(err, EINVAL, "listen '%s': expected ADDRESS:PORT", address);
	*port++ = '\0';
	if (host[0] == '[' && port[-2] == ']') {
		port[-2] = '\0';
		name++;
	}
	if (getaddrinfo(name[0] != '\0' ? name : NULL, port, &hints, &found) != 0)
		return fail_because(err, EINVAL, "listen '%s': expected a numeric ADDRESS:PORT", address);
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		freeaddrinfo(found);
		return fail_errno(err, errno, "listen at '%s'", address);
	}
	freeaddrinfo(found);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int listen_for_hosts(struct daemon *daemon, int listen_fd, struct error *err)
{
	int r = 0;

	if (daemon->migration_address == NULL)
		return 0;
	if (daemon->certificates == NULL)
		return fail_because(err, EINVAL, "option --listen: needs --certificates too");
	daemon->migration_fd = listen_fd;
	if (listen_fd < 0)
		r = open_address(daemon->migration_address, &daemon->migration_fd, err);
	if (r < 0)
		return r;
	daemon->migration_source = (struct event_source){.handle = handle_connection, .context = daemon, .fd = FD_NONE};
	return event_loop_add(&daemon->loop, &daemon->migration_source, daemon->migration_fd, EPOLLIN, err);
}

/* True when answered. */
static bool answer_status(struct daemon *daemon, struct ttrpc_call *call, const char *id, uint64_t since)
{
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	struct error err;

	if (migration_file_read_next(daemon->root, id, since, &status, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return true;
	}
	if (!status->is_done && status->sequence <= since)
		return false;
	ttrpc_reply(call, &status->base);
	return true;
}

static void waiting_free(struct ttrpc_call *call)
{
	struct waiting *waiting = call->user;

	free(waiting->id);
	free(waiting);
}

static void handle_news(struct event_source *source, uint32_t events)
{
	struct daemon *daemon = source->context;
	struct ttrpc_call **link = &daemon->waiting_migrations;
	char news[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	(void) events;
	while (read(source->fd, news, sizeof(news)) > 0)
		;
	while (*link != NULL) {
		struct ttrpc_call *call = *link;
		struct waiting *waiting = call->user;

		*link = call->waiting_next;
		if (answer_status(daemon, call, waiting->id, waiting->since)) {
			free(waiting->id);
			free(waiting);
		} else {
			*link = call;
			link = &call->waiting_next;
		}
	}
}

static int watch_progress(struct daemon *daemon, struct error *err)
{
	auto_free char *folder = migration_folder(daemon->root);
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0 || inotify_add_watch(fd, folder, IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
		return fail_errno(err, errno, "watch '%s'", folder);
	daemon->progress_source = (struct event_source){.handle = handle_news, .context = daemon, .fd = FD_NONE};
	return event_loop_add(&daemon->loop, &daemon->progress_source, fd, EPOLLIN, err);
}

int migrations_init(struct daemon *daemon, int listen_fd, struct error *err)
{
	int r = watch_progress(daemon, err);

	farewells_begin(daemon);
	return r == 0 ? listen_for_hosts(daemon, listen_fd, err) : r;
}

struct departure {
	char *namespace;
	char *id;
};

static void departed(struct daemon *daemon, int exit_status, const char *message, void *context)
{
	struct departure *departure = context;

	if (exit_status != 0)
		log_warning("container not migrated", "container=%s error=\"%s\"", departure->id, message);
	entry_refresh(daemon, departure->namespace, departure->id);
	free(departure->namespace);
	free(departure->id);
	free(departure);
}

int migrate_check(struct daemon *daemon, const Hydra__V1__MigrateRequest *request, Hydra__V1__KnownHost **ret_host, struct error *err)
{
	int r = id_check("namespace", request->namespace_, err);

	if (r == 0)
		r = id_check("container name", request->id, err);
	if (r == 0 && entry_find(daemon, request->namespace_, request->id) == NULL)
		entry_refresh(daemon, request->namespace_, request->id);
	if (r == 0 && entry_find(daemon, request->namespace_, request->id) == NULL)
		r = fail_because(err, ENOENT, "no container '%s'", request->id);
	if (r == 0)
		r = hosts_resolve(daemon, request, ret_host, err);
	if (r == 0 && (*ret_host)->certificates[0] == '\0' && daemon->certificates == NULL)
		r = fail_because(err, EINVAL, "migrate container '%s': hydrad runs without --certificates, and none were given",
				 request->id);
	return r;
}

static void add_word(const char **words, size_t *count, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	words[(*count)++] = name;
	words[(*count)++] = value;
}

size_t migrate_words(const struct daemon *daemon, const Hydra__V1__MigrateRequest *request, const struct migrate_place *place,
		     const char **ret_words)
{
	const Hydra__V1__KnownHost *host = place->host;
	size_t count = 0;

	add_word(ret_words, &count, "--root", daemon->root);
	add_word(ret_words, &count, "--namespace", request->namespace_);
	add_word(ret_words, &count, "--host", host->address);
	add_word(ret_words, &count, "--certificates", host->certificates[0] != '\0' ? host->certificates : daemon->certificates);
	add_word(ret_words, &count, "--migration", place->migration);
	add_word(ret_words, &count, "--bandwidth", place->bandwidth);
	add_word(ret_words, &count, "--compress", request->compress);
	add_word(ret_words, &count, "--lost-pages", request->lost_pages);
	add_word(ret_words, &count, "--mode", request->mode);
	add_word(ret_words, &count, "--downtime", request->downtime);
	for (size_t i = 0; i < request->n_deadlines && count + 6 < MIGRATE_WORDS_MAX; i++)
		add_word(ret_words, &count, "--deadline", request->deadlines[i]);
	if (request->end_exec_sessions)
		ret_words[count++] = "--end-exec-sessions";
	ret_words[count++] = "migrate";
	ret_words[count++] = request->id;
	ret_words[count] = NULL;
	return count;
}

static int start_departure(struct daemon *daemon, const Hydra__V1__MigrateRequest *request, const Hydra__V1__KnownHost *host,
			   const char *migration, struct error *err)
{
	auto_free char *bandwidth = text_format("%llu", (unsigned long long) request->bandwidth);
	const struct migrate_place place = {host, migration, bandwidth};
	const char *arguments[MIGRATE_WORDS_MAX];
	struct departure *departure = calloc(1, sizeof(*departure));
	int r;

	if (departure == NULL)
		return fail_errno(err, ENOMEM, "migrate container '%s'", request->id);
	(void) migrate_words(daemon, request, &place, arguments);
	departure->namespace = text_copy(request->namespace_);
	departure->id = text_copy(request->id);
	r = worker_start_with(daemon, "hydra-setup", arguments, FD_NONE, departed, departure, err);
	if (r < 0) {
		free(departure->namespace);
		free(departure->id);
		free(departure);
	}
	return r;
}

void service_migrate(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__MigrateRequest *request = (const void *) message;
	Hydra__V1__MigrationStatus response = HYDRA__V1__MIGRATION_STATUS__INIT;
	struct daemon *daemon = daemon_of(call);
	auto_message Hydra__V1__KnownHost *host = NULL;
	auto_free char *migration = text_format("%.40s-%llx", request->id, (unsigned long long) clock_realtime_ns());
	struct error err;
	int r;

	if (upgrade_holds(call, message))
		return;
	r = migrate_check(daemon, request, &host, &err);
	if (r == 0)
		r = start_departure(daemon, request, host, migration, &err);
	if (r < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	response.id = migration;
	response.container_id = request->id;
	response.phase = (char *) (uintptr_t) "starting";
	ttrpc_reply(call, &response.base);
}

static void forget_waiting(struct ttrpc_call *call)
{
	struct daemon *daemon = daemon_of(call);

	for (struct ttrpc_call **link = &daemon->waiting_migrations; *link != NULL; link = &(*link)->waiting_next) {
		if (*link == call) {
			*link = call->waiting_next;
			break;
		}
	}
	waiting_free(call);
	ttrpc_reply_empty(call);
}

void service_migration(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__MigrationRequest *request = (const void *) message;
	struct daemon *daemon = daemon_of(call);
	struct waiting *waiting;

	if (answer_status(daemon, call, request->id, request->since))
		return;
	waiting = calloc(1, sizeof(*waiting));
	if (waiting == NULL) {
		ttrpc_refuse(call, TTRPC_RESOURCE_EXHAUSTED, "no memory");
		return;
	}
	*waiting = (struct waiting){.id = text_copy(request->id), .since = request->since};
	call->user = waiting;
	call->on_abandoned = forget_waiting;
	call->waiting_next = daemon->waiting_migrations;
	daemon->waiting_migrations = call;
}

void service_cancel_migration(struct ttrpc_call *call, const ProtobufCMessage *message)
{
	const Hydra__V1__MigrationRequest *request = (const void *) message;
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	struct error err;
	pid_t pid = 0;

	/* not done: its writers hold the lock, so the pid is still theirs */
	if (migration_file_read(daemon_of(call)->root, request->id, &status, &pid, &err) < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	if (!status->is_done && pid > 0)
		(void) kill(pid, SIGTERM);
	ttrpc_reply_empty(call);
}
