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
	bool force;
};

static const struct option_entry option_entries[] = {
	{0, "root", "DIR", OPTION_STRING, offsetof(struct setup_options, root), "run directories (default /run/hydra)"},
	{0, "namespace", "NS", OPTION_STRING, offsetof(struct setup_options, namespace), "namespace of the container"},
	{'f', "force", NULL, OPTION_FLAG, offsetof(struct setup_options, force), "remove: stop it when it runs"},
	{0, NULL, NULL, OPTION_FLAG, 0, NULL},
};

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

static int run(const struct setup_options *options, const struct option_rest *rest, struct error *err)
{
	const char *command = rest->count > 0 ? rest->positional[0] : "";

	if (strcmp(command, "create") == 0 && rest->count == 1)
		return create(options, err);
	if (strcmp(command, "remove") == 0 && rest->count == 2)
		return container_remove(options->root, options->namespace, rest->positional[1], options->force, err);
	if (strcmp(command, "start") == 0 && rest->count == 2)
		return container_start_again(options->root, options->namespace, rest->positional[1], err);
	return fail_because(err, EINVAL, "expected one of: create, start ID, remove [--force] ID");
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
		(void) puts("hydra-setup [OPTIONS] create < CreateRequest | start ID | remove [--force] ID\n");
		options_print(&table);
	} else if (r == 0) {
		r = run(&options, &rest, &err);
	}
	if (r < 0)
		(void) fprintf(stderr, "%s\n", err.message);
	option_rest_deinit(&rest);
	return -r & 0xff;
}
