/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl exec, attach: sessions with processes of a running container.
 */
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "proto/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <yyjson.h>

struct exec_options {
	bool detach, input, terminal;
	const char *cwd, *user;
	struct string_list env;
};

#define AT(field) offsetof(struct exec_options, field)

static const struct option_entry exec_entries[] = {
	{'d', "detach", NULL, OPTION_FLAG, AT(detach), "leave it in the background"},
	{'i', "interactive", NULL, OPTION_FLAG, AT(input), "send standard input"},
	{'t', "tty", NULL, OPTION_FLAG, AT(terminal), "with a terminal"},
	{'e', "env", "NAME=VALUE", OPTION_LIST, AT(env), "a further variable"},
	{'w', "workdir", "DIR", OPTION_STRING, AT(cwd), "working folder (default: the container's)"},
	{'u', "user", "UID[:GID]", OPTION_STRING, AT(user), "user (default: the container's)"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

/* The container's own process object, to be changed into the new one's. */
static int load_process(const struct cli *cli, const char *id, yyjson_mut_doc *doc, yyjson_mut_val **ret_process,
			struct error *err)
{
	struct container_view view;
	auto_free char *path = NULL;
	auto_free char *data = NULL;
	yyjson_doc *config;
	size_t size;
	int r = cli_view(cli, id, &view, err);

	if (r < 0)
		return r;
	path = text_format("%s/config.json", view.record->bundle);
	container_view_deinit(&view);
	r = file_read(AT_FDCWD, path, 4U << 20, &data, &size, err);
	if (r < 0)
		return r;
	config = yyjson_read(data, size, 0);
	*ret_process = yyjson_val_mut_copy(doc, yyjson_obj_get(yyjson_doc_get_root(config), "process"));
	yyjson_doc_free(config);
	return *ret_process != NULL ? 0 : fail_because(err, EPROTO, "'%s' has no process", path);
}

static int set_user(yyjson_mut_doc *doc, yyjson_mut_val *process, const char *text, struct error *err)
{
	auto_free char *uid_text = text_copy(text);
	char *gid_text = strchr(uid_text, ':');
	yyjson_mut_val *user;
	int uid, gid = 0;

	if (gid_text != NULL)
		*gid_text++ = '\0';
	if (number_parse_int(uid_text, 0, 1 << 30, &uid) < 0 ||
	    (gid_text != NULL && number_parse_int(gid_text, 0, 1 << 30, &gid) < 0))
		return fail_because(err, EINVAL, "option --user: '%s': expected UID or UID:GID in numbers", text);
	(void) yyjson_mut_obj_remove_key(process, "user");
	user = yyjson_mut_obj_add_obj(doc, process, "user");
	(void) yyjson_mut_obj_add_int(doc, user, "uid", uid);
	(void) yyjson_mut_obj_add_int(doc, user, "gid", gid);
	return 0;
}

static int change_process(yyjson_mut_doc *doc, yyjson_mut_val *process, const struct exec_options *options,
			  const struct option_rest *rest, struct error *err)
{
	yyjson_mut_val *env = yyjson_mut_obj_get(process, "env");
	yyjson_mut_val *args;

	(void) yyjson_mut_obj_remove_key(process, "args");
	(void) yyjson_mut_obj_remove_key(process, "terminal");
	args = yyjson_mut_obj_add_arr(doc, process, "args");
	for (int i = 1; i < rest->count; i++)
		(void) yyjson_mut_arr_add_str(doc, args, rest->positional[i]);
	(void) yyjson_mut_obj_add_bool(doc, process, "terminal", options->terminal);
	if (env == NULL)
		env = yyjson_mut_obj_add_arr(doc, process, "env");
	if (options->terminal)
		(void) yyjson_mut_arr_add_str(doc, env, "TERM=xterm");
	for (size_t i = 0; i < options->env.count; i++)
		(void) yyjson_mut_arr_add_str(doc, env, options->env.items[i]);
	if (options->cwd != NULL) {
		(void) yyjson_mut_obj_remove_key(process, "cwd");
		(void) yyjson_mut_obj_add_str(doc, process, "cwd", options->cwd);
	}
	return options->user != NULL ? set_user(doc, process, options->user, err) : 0;
}

static int make_process_json(const struct cli *cli, const struct exec_options *options, const struct option_rest *rest,
			     char **ret_json, struct error *err)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *process = NULL;
	int r = load_process(cli, rest->positional[0], doc, &process, err);

	if (r == 0)
		r = change_process(doc, process, options, rest, err);
	if (r == 0) {
		yyjson_mut_doc_set_root(doc, process);
		*ret_json = yyjson_mut_write(doc, 0, NULL);
	}
	yyjson_mut_doc_free(doc);
	return r;
}

int cli_shell_process(const struct cli *cli, const char *id, const char *command, char **ret_json, struct error *err)
{
	const char *words[] = {id, "/bin/sh", "-c", command};
	const struct option_rest rest = {.positional = words, .count = 4};

	return make_process_json(cli, &(const struct exec_options){.detach = true}, &rest, ret_json, err);
}

/* As shells and Docker tell it: 127 no such program, 126 not executable. */
static int exit_status_of_failure(int r, const struct error *err)
{
	if (strstr(err->message, "executable file not found") != NULL || strstr(err->message, "no such file") != NULL)
		r = 127;
	else if (strcasestr(err->message, "permission denied") != NULL)
		r = 126;
	if (r > 0)
		(void) fprintf(stderr, "hydractl: %s\n", err->message);
	return r;
}

static int exec(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	struct exec_options *options = context;
	Hydra__V1__ExecRequest request = HYDRA__V1__EXEC_REQUEST__INIT;
	auto_message ProtobufCMessage *response = NULL;
	auto_free char *json = NULL;
	char exec_id[16];
	uint32_t number = 0;
	int r = make_process_json(cli, options, rest, &json, err);

	if (r < 0)
		return r;
	(void) !getrandom(&number, sizeof(number), 0);
	(void) text_fit(exec_id, sizeof(exec_id), "e%08x", number);
	request.exec_id = exec_id;
	request.process_json = (ProtobufCBinaryData){.data = (uint8_t *) json, .len = strlen(json)};
	request.terminal = options->terminal;
	request.open_stdin = options->input;
	request.wait_for_attach = !options->detach;
	r = cli_call_shim(cli, rest->positional[0], "Exec", &request.base, &hydra__v1__exec_response__descriptor, 0, &response,
			  err);
	if (r < 0)
		return exit_status_of_failure(r, err);
	if (options->detach) {
		(void) puts(exec_id);
		return 0;
	}
	return session_run(cli,
			   &(struct session_options){.id = rest->positional[0],
						     .exec_id = exec_id,
						     .input = options->input,
						     .terminal = options->terminal,
						     .forwards_signals = !options->terminal},
			   err);
}

const struct command command_exec = {
	"exec", "[OPTIONS] CONTAINER COMMAND [ARGUMENT...]", "run a further process in a container", exec_entries,
	sizeof(struct exec_options), 2, -1, true, exec,
};

struct attach_options {
	bool no_input;
};

static const struct option_entry attach_entries[] = {
	{0, "no-stdin", NULL, OPTION_FLAG, offsetof(struct attach_options, no_input), "only watch its output"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

static int attach(const struct cli *cli, void *context, const struct option_rest *rest, struct error *err)
{
	struct attach_options *options = context;
	struct container_view view;
	struct session_options session = {.id = rest->positional[0], .exec_id = "", .input = !options->no_input};
	int r = cli_view(cli, session.id, &view, err);

	if (r < 0)
		return r;
	session.terminal = view.record->terminal;
	if (!view.is_reachable && strcmp(view.state, "stopped") == 0)
		r = fail_because(err, EBUSY, "container '%s' is stopped: start it first", session.id);
	container_view_deinit(&view);
	return r < 0 ? r : session_run(cli, &session, err);
}

const struct command command_attach = {
	"attach", "[OPTIONS] CONTAINER", "join a container's standard input and output (Ctrl-P Ctrl-Q leaves)", attach_entries,
	sizeof(struct attach_options), 1, 1, false, attach,
};
