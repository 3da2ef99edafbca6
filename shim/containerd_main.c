/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line that containerd uses: `-namespace NS -id ID [...] start|delete`. The shim itself is hydra-shim.
 */
#include "base/child.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/options.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "shim/containerd.h"
#include "shim/shim.h"
#include "state/exit_record.h"
#include "state/log_config.h"
#include "state/record.h"
#include "state/run_dir.h"
#include "state/shim_process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPEC_SIZE_MAX     (16U << 20)
#define POLICY_ANNOTATION "io.containerd.hydra.v1.log-policy"

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
	{0, "socket", "PATH", OPTION_STRING, AT(socket), "accepted, not used"},
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

static int make_record(const struct containerd_options *options, record **ret_record, struct error *err)
{
	record empty = HYDRA__V1__CONTAINER_RECORD__INIT;
	Hydra__V1__Containerd task = HYDRA__V1__CONTAINERD__INIT;
	const char *address = getenv("TTRPC_ADDRESS");
	char bundle[4096];

	if (getcwd(bundle, sizeof(bundle)) == NULL)
		return fail_errno(err, errno, "find the bundle");
	task.ttrpc_address = (char *) (uintptr_t) (address != NULL ? address : "");
	task.debug = options->debug;
	empty.version = RECORD_VERSION;
	empty.id = (char *) (uintptr_t) options->id;
	empty.namespace_ = (char *) (uintptr_t) options->namespace;
	empty.bundle = bundle;
	empty.state = HYDRA__V1__CONTAINER_STATE__STATE_CREATING;
	empty.created_ns = clock_realtime_ns();
	empty.containerd = &task;
	empty.log = &(Hydra__V1__LogConfig) HYDRA__V1__LOG_CONFIG__INIT;
	*ret_record = (record *) (void *) message_copy(&empty.base);
	return *ret_record != NULL ? 0 : fail_errno(err, ENOMEM, "make the record of '%s'", options->id);
}

/* Its policy is the only thing about output that containerd has no words for. */
static int configure_log(record *made, struct error *err)
{
	auto_free char *json = NULL;
	auto_free char *value = NULL;
	struct error ignored;

	if (file_read(AT_FDCWD, "config.json", SPEC_SIZE_MAX, &json, NULL, &ignored) == 0)
		value = annotation(json, POLICY_ANNOTATION);
	if (value == NULL || log_policy_parse(value, &made->log->policy))
		return 0;
	return fail_because(err, EINVAL, "annotation " POLICY_ANNOTATION " '%s': expected spill, block or drop-oldest", value);
}

static void remove_leftovers(const char *namespace, const char *id)
{
	auto_free char *setup = child_program("hydra-setup");
	const char *argv[] = {"hydra-setup", "--root", run_root(), "--namespace", namespace, "remove", "--force", "--containerd", id, NULL};
	struct child_spec spec = {.path = setup, .argv = argv, .cwd = "/"};
	struct error ignored;
	pid_t pid;
	int status;

	if (child_start(&spec, &pid, NULL, &ignored) == 0)
		(void) child_wait(pid, &status, &ignored);
}

/* What a start left that was killed: no shim has ever had it. */
static bool is_abandoned(const char *namespace, const char *id)
{
	auto_record *known = NULL;
	struct run_dir dir;
	struct error ignored;
	bool is_free;

	if (run_dir_open(&dir, run_root(), namespace, id, &ignored) < 0)
		return false;
	is_free = !run_dir_is_locked(&dir, LOCK_SETUP) && !run_dir_is_locked(&dir, LOCK_SHIM);
	(void) record_load(dir.fd, &known, &ignored);
	run_dir_close(&dir);
	return is_free && known != NULL && known->containerd != NULL && known->shim_pid == 0;
}

static int make_run_dir(const struct containerd_options *options, struct run_dir *ret_dir, struct error *err)
{
	auto_record *made = NULL;
	int r = make_record(options, &made, err);

	if (r == 0)
		r = configure_log(made, err);
	if (r < 0)
		return r;
	if (is_abandoned(options->namespace, options->id))
		remove_leftovers(options->namespace, options->id);
	r = run_dir_create(ret_dir, run_root(), options->namespace, options->id, err);
	if (r < 0)
		return r;
	r = record_save(ret_dir->fd, made, err);
	if (r < 0)
		(void) run_dir_remove(ret_dir, &(struct error){0});
	return r;
}

/* Prints the address of the task's shim, which it starts. */
static int start(const struct containerd_options *options, struct error *err)
{
	auto_free char *address = text_format("unix://%s/%s/%s/shim.sock", run_root(), options->namespace, options->id);
	struct run_dir dir;
	int r = make_run_dir(options, &dir, err);

	if (r < 0)
		return r;
	fault_point("shim.task-made");
	r = shim_process_launch(run_root(), options->namespace, options->id, err);
	run_dir_close(&dir);
	if (r == 0)
		r = file_replace_fast(AT_FDCWD, "address", address, strlen(address), 0644, err);
	if (r == 0)
		(void) fputs(address, stdout);
	else
		remove_leftovers(options->namespace, options->id);
	return r;
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

static int run(const struct containerd_options *options, const struct option_rest *rest, struct error *err)
{
	const char *action = rest->count > 0 ? rest->positional[0] : "";

	if (options->namespace == NULL || options->id == NULL)
		return fail_because(err, EINVAL, "missing option: expected -namespace and -id");
	if (strcmp(action, "start") == 0)
		return start(options, err);
	if (strcmp(action, "delete") == 0)
		return delete (options, err);
	return fail_because(err, EINVAL, "unknown action '%s': expected start or delete", action);
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
