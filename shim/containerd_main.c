/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line that containerd uses: `-namespace NS -id ID [...] start|delete`, or no action to be the daemon.
 */
#include "base/child.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/log.h"
#include "base/options.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/containerd.h"
#include "shim/shim.h"
#include "state/exit_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPEC_SIZE_MAX (16U << 20)
#define LISTEN_FD     3

struct containerd_options {
	const char *namespace, *address, *publish_binary, *id, *bundle, *socket, *debug_socket;
	bool debug, version, info;
};

#define AT(field) offsetof(struct containerd_options, field)

static const struct option_entry option_entries[] = {
	{0, "namespace", "NS", OPTION_STRING, AT(namespace), "namespace of the task"},
	{0, "address", "PATH", OPTION_STRING, AT(address), "containerd's gRPC socket"},
	{0, "publish-binary", "PATH", OPTION_STRING, AT(publish_binary), "containerd itself"},
	{0, "id", "ID", OPTION_STRING, AT(id), "the task"},
	{0, "bundle", "DIR", OPTION_STRING, AT(bundle), "its bundle"},
	{0, "socket", "PATH", OPTION_STRING, AT(socket), "serve here instead of descriptor 3"},
	{0, "debug-socket", "PATH", OPTION_STRING, AT(debug_socket), "accepted, not used"},
	{0, "debug", NULL, OPTION_FLAG, AT(debug), "more detailed log"},
	{'v', "version", NULL, OPTION_FLAG, AT(version), "print the version"},
	{0, "info", NULL, OPTION_FLAG, AT(info), "not supported"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* The value of a string annotation in config.json. The shim has no JSON library: keys and values of these annotations
 * hold no characters that JSON escapes, so looking for the quoted key is enough; an escape in the value ends it. */
static char *annotation(const char *json, const char *key)
{
	auto_free char *quoted = text_format("\"%s\"", key);
	const char *at = strstr(json, quoted);

	if (at == NULL)
		return NULL;
	at += strlen(quoted);
	at += strspn(at, " \t\r\n");
	if (*at++ != ':')
		return NULL;
	at += strspn(at, " \t\r\n");
	return *at == '"' ? strndup(at + 1, strcspn(at + 1, "\"\\")) : NULL;
}

/* Containers of one pod share a shim: the sandbox's. */
static char *group_of(const char *id)
{
	static const char *const keys[] = {"io.containerd.hydra.v1.group", "io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"};
	auto_free char *json = NULL;
	struct error ignored;

	if (file_read(AT_FDCWD, "config.json", SPEC_SIZE_MAX, &json, NULL, &ignored) < 0)
		return text_copy(id);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		auto_free char *value = annotation(json, keys[i]);

		if (value != NULL && id_check("group", value, &ignored) == 0)
			return take_ptr(&value);
	}
	return text_copy(id);
}

static char *socket_path(const struct containerd_options *options, const char *group)
{
	return text_format("%s/containerd/%s/%s.sock", run_root(), options->namespace, group);
}

static int start_daemon(const struct containerd_options *options, int listen_fd, struct error *err)
{
	char self[4096];
	ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *argv[] = {"containerd-shim-hydra-v1", "-namespace", options->namespace, "-id", options->id, "-address",
			      options->address, options->debug ? "-debug" : NULL, NULL};
	struct child_spec spec = {.path = self, .argv = argv, .new_session = true, .fds = {{listen_fd, LISTEN_FD}}, .fd_count = 1};
	pid_t pid;

	self[size > 0 ? size : 0] = '\0';
	return child_start(&spec, &pid, NULL, err);
}

/* Prints the address of the shim, started if there is none for the group. */
static int start(const struct containerd_options *options, struct error *err)
{
	auto_free char *group = group_of(options->id);
	auto_free char *path = options->socket != NULL ? text_copy(options->socket) : socket_path(options, group);
	auto_free char *address = text_format("unix://%s", path);
	auto_free char *folder = text_copy(path);
	auto_close int listen_fd = FD_NONE;
	int r;

	*strrchr(folder, '/') = '\0';
	r = dir_make_all(folder, 0700, err);
	if (r == 0)
		r = socket_listen(path, &listen_fd, err);
	if (r == 0)
		r = start_daemon(options, listen_fd, err);
	else if (r == -EADDRINUSE)
		r = 0; /* the pod's shim answers there */
	if (r == 0)
		r = file_replace_fast(AT_FDCWD, "address", address, strlen(address), 0644, err);
	if (r == 0)
		(void) fputs(address, stdout);
	return r;
}

static void remove_leftovers(const char *namespace, const char *id)
{
	auto_free char *setup = child_program("hydra-setup");
	const char *argv[] = {"hydra-setup", "--root", run_root(), "--namespace", namespace, "remove", "--force", id, NULL};
	struct child_spec spec = {.path = setup, .argv = argv, .cwd = "/"};
	struct error ignored;
	pid_t pid;
	int status;

	if (child_start(&spec, &pid, NULL, &ignored) == 0)
		(void) child_wait(pid, &status, &ignored);
}

/* After every task, and when its shim has died: whatever is left goes, and how it ended is told. */
static int delete(const struct containerd_options *options, struct error *err)
{
	Containerd__Task__DeleteResponse response = CONTAINERD__TASK__DELETE_RESPONSE__INIT;
	Containerd__Task__Timestamp exited_at;
	auto_message exit_record *exit = NULL;
	auto_free uint8_t *data = NULL;
	struct run_dir dir;
	struct error ignored;
	size_t size;
	int r;

	response.exit_status = 128 + 9; /* killed: what containerd expects for a task whose shim is gone */
	if (run_dir_open(&dir, run_root(), options->namespace, options->id, &ignored) == 0) {
		if (exit_record_load(dir.fd, "", &exit, &ignored) == 0 && exit->is_known) {
			response.pid = (uint32_t) exit->pid;
			response.exit_status = exit->exit_code;
		}
		run_dir_close(&dir);
		remove_leftovers(options->namespace, options->id);
	}
	containerd_unmount_rootfs(options->bundle != NULL ? options->bundle : ".");
	containerd_timestamp(exit != NULL ? exit->finished_ns : 1, &exited_at);
	response.exited_at = &exited_at;
	r = message_encode(&response.base, &data, &size, err);
	if (r == 0)
		r = fd_write_full(STDOUT_FILENO, data, size);
	return r;
}

/* containerd reads its end of this FIFO while it runs; while it does not, lines are lost and nobody waits. */
static void open_log(void)
{
	int fd = open("log", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0) {
		(void) dup2(fd, STDERR_FILENO);
		(void) close(fd);
	}
}

static int serve(const struct containerd_options *options, struct error *err)
{
	struct shim shim;
	struct containerd containerd;
	char path[512];
	int r;

	open_log();
	containerd_events_init(&containerd, &shim, options->namespace, getenv("TTRPC_ADDRESS"));
	r = shim_init(&shim, run_root(), options->namespace, LISTEN_FD, err);
	if (r < 0)
		return r;
	shim.containerd = &containerd;
	shim.server.methods = containerd_methods;
	r = event_loop_run(&shim.loop);
	/* the last containers of a pod are gone: so is its socket */
	if (text_fit(path, sizeof(path), "%s/containerd/%s/%s.sock", run_root(), options->namespace, options->id))
		(void) unlink(path);
	return r;
}

static int run(const struct containerd_options *options, const struct option_rest *rest, struct error *err)
{
	const char *action = rest->count > 0 ? rest->positional[0] : "";

	if (options->namespace == NULL || options->id == NULL)
		return fail_because(err, EINVAL, "missing option: expected -namespace and -id");
	if (strcmp(action, "start") == 0)
		return start(options, err);
	if (strcmp(action, "delete") == 0)
		return delete (options, err);
	return action[0] == '\0' ? serve(options, err)
				 : fail_because(err, EINVAL, "unknown action '%s': expected start or delete", action);
}

int containerd_main(int argc, char **argv)
{
	static const struct option_table table = {option_entries, false};
	struct containerd_options options = {.address = ""};
	struct option_rest rest = {0};
	struct error err;
	int r = options_parse(&table, argc, argv, &options, &rest, &err);

	log_open("containerd-shim-hydra-v1", options.debug ? LOG_DEBUG : LOG_INFO);
	if (r == 0 && (options.version || rest.wants_help)) {
		(void) puts("containerd-shim-hydra-v1 " HYDRA_VERSION ": containerd starts it as runtime io.containerd.hydra.v1");
		options_print(&table);
	} else if (r == 0) {
		r = run(&options, &rest, &err);
	}
	option_rest_deinit(&rest);
	if (r < 0)
		(void) fprintf(stderr, "%s\n", err.message);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
