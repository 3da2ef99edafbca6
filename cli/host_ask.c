/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/host_report.h"

#include "base/child.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANSWER_SIZE_MAX (4U << 20)

int host_certificates(const struct cli *cli, const known_host *host, char **ret_folder, struct error *err)
{
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	auto_message Hydra__V1__DaemonInfo *info = NULL;
	int r;

	if (host->certificates[0] != '\0') {
		*ret_folder = text_copy(host->certificates);
		return 0;
	}
	r = cli_call_daemon(cli, "Info", &request.base, &hydra__v1__daemon_info__descriptor, 5000, &info, err);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return fail_because(err, ECONNREFUSED, "hydrad does not run at %s: name the certificates with hydractl host add --certificates",
				    cli->root);
	if (r < 0)
		return r;
	if (info->certificates[0] == '\0')
		return fail_because(err, ENOENT, "hydrad runs without --certificates, and host '%s' has none of its own", host->name);
	*ret_folder = text_copy(info->certificates);
	return 0;
}

static int run(const char *const *argv, int output_fd, int *ret_status, struct error *err)
{
	auto_free char *program = child_program("hydra-pager");
	struct child_spec spec = {.path = program, .argv = argv, .fds = {{output_fd, 1}, {STDERR_FILENO, 2}}, .fd_count = 2};
	pid_t pid;
	int r = child_start(&spec, &pid, NULL, err);

	return r == 0 ? child_wait(pid, ret_status, err) : r;
}

static int ask_host(const struct cli *cli, const known_host *host, const char *format, int output_fd, int *ret_status, struct error *err)
{
	auto_free char *folder = NULL, *ca = NULL, *certificate = NULL, *key = NULL;
	int r = host_certificates(cli, host, &folder, err);

	if (r < 0)
		return r;
	ca = text_format("%s/ca.pem", folder);
	certificate = text_format("%s/cert.pem", folder);
	key = text_format("%s/key.pem", folder);
	return run((const char *[]){"hydra-pager", "ask", "--connect", host->address, "--name", host->name, "--ca", ca, "--cert", certificate,
				    "--key", key, "--format", format, NULL}, output_fd, ret_status, err);
}

int host_ask(const struct cli *cli, const known_host *host, struct error *err)
{
	int status = 0;
	int r = ask_host(cli, host, cli_wants_json(cli) ? "json" : "text", STDOUT_FILENO, &status, err);

	return r < 0 ? r : status;
}

int host_ask_json(const struct cli *cli, const known_host *host, char **ret_json, struct error *err)
{
	auto_close int fd = memfd_create("answer", MFD_CLOEXEC);
	int status = 0, r;

	if (fd < 0)
		return fail_errno(err, errno, "make room for an answer");
	if (host != NULL)
		r = ask_host(cli, host, "json", fd, &status, err);
	else
		r = run((const char *[]){"hydra-pager", "ask", "--run-root", cli->root, "--format", "json", NULL}, fd, &status, err);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = fail_errno(err, errno, "read an answer");
	return r == 0 ? file_read_fd(fd, "the answer", ANSWER_SIZE_MAX, ret_json, NULL, err) : r;
}

int host_report_ask(struct host_report *self, const struct cli *cli, const known_host *host, struct error *err)
{
	auto_free char *json = NULL;
	int r = host_ask_json(cli, host, &json, err);

	return r < 0 ? r : host_report_parse(self, host != NULL ? host->name : "", json, err);
}
