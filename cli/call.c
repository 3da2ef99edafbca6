/* SPDX-License-Identifier: Apache-2.0 */
#include "base/child.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "state/shim_process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define ATTACH_TIMEOUT_MS 10000
#define ATTEMPTS          5 /* against shims that are killed one after the other */

/* Questions, and what has no effect before it is answered: may be asked again when the shim died before its answer. */
static bool is_question(const char *method)
{
	static const char *const questions[] = {"State", "Stats", "Events", "Wait", "Attach", NULL};

	return text_is_one_of(method, questions);
}

/* kept may be NULL. */
static int call_once(const struct cli *cli, const char *id, const char *method, const ProtobufCMessage *request,
		     const ProtobufCMessageDescriptor *response, int timeout_ms, void *ret_response, struct cli_connection *kept,
		     struct error *err)
{
	auto_close int fd = FD_NONE;
	auto_close int passed_fd = FD_NONE;
	int r = shim_process_connect(cli->root, cli->namespace, id, &fd, err);

	if (r == 0)
		r = ttrpc_call_for_fd(fd, "hydra.v1.Shim", method, request, response, timeout_ms, ret_response, &passed_fd, err);
	if (r == 0 && kept != NULL)
		*kept = (struct cli_connection){.fd = take_fd(&fd), .passed_fd = take_fd(&passed_fd)};
	return r;
}

/* A shim that dies keeps its connections, as a rule: its successor answers. One that was just being let in, or had sent a part
 * of its answer, is hung up on; it connects to the socket that the shims of a container have one after the other. */
static int call_shim(const struct cli *cli, const char *id, const char *method, const ProtobufCMessage *request,
		     const ProtobufCMessageDescriptor *response, int timeout_ms, void *ret_response, struct cli_connection *kept,
		     struct error *err)
{
	int r;

	for (int attempt = 0;; attempt++) {
		r = call_once(cli, id, method, request, response, timeout_ms, ret_response, kept, err);
		if ((r != -ECONNRESET && r != -EPIPE) || !is_question(method) || attempt == ATTEMPTS)
			return r;
	}
}

int cli_call_shim(const struct cli *cli, const char *id, const char *method, const ProtobufCMessage *request,
		  const ProtobufCMessageDescriptor *response, int timeout_ms, void *ret_response, struct error *err)
{
	return call_shim(cli, id, method, request, response, timeout_ms, ret_response, NULL, err);
}

int cli_attach_shim(const struct cli *cli, const char *id, const Hydra__V1__AttachRequest *request, struct cli_connection *ret_connection,
		    struct error *err)
{
	auto_message ProtobufCMessage *response = NULL;

	return call_shim(cli, id, "Attach", &request->base, &hydra__v1__empty__descriptor, ATTACH_TIMEOUT_MS, &response, ret_connection,
			 err);
}

static int connect_to(const struct cli *cli, const char *name, int *ret_fd, struct error *err)
{
	auto_free char *path = text_format("%s/%s", cli->root, name);

	return socket_connect(path, ret_fd, err);
}

int cli_call_daemon(const struct cli *cli, const char *method, const ProtobufCMessage *request,
		    const ProtobufCMessageDescriptor *response, int timeout_ms, void *ret_response, struct error *err)
{
	auto_close int fd = FD_NONE;
	int r = connect_to(cli, "hydrad.sock", &fd, err);

	if (r < 0)
		return r;
	return ttrpc_call_blocking(fd, "hydra.v1.Daemon", method, request, response, timeout_ms, ret_response, err);
}

int cli_call_monitor(const struct cli *cli, const char *method, const ProtobufCMessage *request,
		     const ProtobufCMessageDescriptor *response, int timeout_ms, void *ret_response, struct error *err)
{
	auto_close int fd = FD_NONE;
	int r = connect_to(cli, "monitor.sock", &fd, err);

	if (r < 0)
		return r;
	return ttrpc_call_blocking(fd, "hydra.v1.Monitor", method, request, response, timeout_ms, ret_response, err);
}

/* The last line of what hydra-setup said is the reason; what plugins said before it is shown too. */
static int setup_failure(int status, char *output, struct error *err)
{
	size_t size = strlen(output);

	while (size > 0 && output[size - 1] == '\n')
		output[--size] = '\0';
	return fail_because(err, status > 0 && status < 128 ? status : EIO, "%s",
			    size > 0 ? output : "hydra-setup failed and gave no reason");
}

int cli_setup(const struct cli *cli, const char *const *arguments, const void *input, size_t size, struct error *err)
{
	auto_free char *program = child_program("hydra-setup");
	auto_free char *output = NULL;
	const char *argv[12] = {"hydra-setup", "--root", cli->root, "--namespace", cli->namespace};
	struct child_spec spec = {.path = program, .argv = argv};
	int in[2], out[2];
	pid_t pid;
	int status;
	int r;

	for (size_t i = 0; arguments[i] != NULL && i < 6; i++)
		argv[5 + i] = arguments[i];
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	spec.fds[spec.fd_count++] = (struct child_fd){in[0], 0};
	spec.fds[spec.fd_count++] = (struct child_fd){out[1], 2};
	r = child_start(&spec, &pid, NULL, err);
	(void) close(in[0]);
	(void) close(out[1]);
	if (r == 0) {
		(void) fd_write_full(in[1], input, size);
		(void) close(in[1]);
		r = file_read_fd(out[0], "hydra-setup", 65536, &output, NULL, err);
		if (r == 0)
			r = child_wait(pid, &status, err);
		if (r == 0 && status != 0)
			r = setup_failure(status, output, err);
	} else {
		(void) close(in[1]);
	}
	(void) close(out[0]);
	return r;
}

static bool is_nobody_there(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED;
}

static bool daemon_answers(const struct cli *cli)
{
	auto_free char *path = text_format("%s/hydrad.sock", cli->root);
	auto_close int fd = FD_NONE;
	struct error ignored;

	return !is_nobody_there(socket_connect(path, &fd, &ignored));
}

int cli_create(const struct cli *cli, const Hydra__V1__CreateRequest *request, struct error *err)
{
	static const char *const arguments[] = {"create", NULL};
	auto_message ProtobufCMessage *response = NULL;
	auto_free uint8_t *data = NULL;
	size_t size;
	int r;

	if (daemon_answers(cli))
		return cli_call_daemon(cli, "Create", &request->base, &hydra__v1__create_response__descriptor, 0, &response,
				       err);
	r = message_encode(&request->base, &data, &size, err);
	return r < 0 ? r : cli_setup(cli, arguments, data, size, err);
}

int cli_remove(const struct cli *cli, const char *id, bool force, struct error *err)
{
	const char *const arguments[] = {"remove", force ? "--force" : "--", id, NULL};
	Hydra__V1__RemoveRequest request = HYDRA__V1__REMOVE_REQUEST__INIT;
	auto_message ProtobufCMessage *response = NULL;

	if (!daemon_answers(cli))
		return cli_setup(cli, arguments, NULL, 0, err);
	request.namespace_ = (char *) (uintptr_t) cli->namespace;
	request.id = (char *) (uintptr_t) id;
	request.force = force;
	return cli_call_daemon(cli, "Remove", &request.base, &hydra__v1__empty__descriptor, 0, &response, err);
}
