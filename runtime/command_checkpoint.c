/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra checkpoint, hydra restore: thin fronts of the program hydra-checkpoint.
 */
#include "base/child.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/launch.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define ARGUMENTS_MAX 40

struct checkpoint_options {
	const char *image_path, *work_path, *parent_path, *page_server, *cgroups_mode, *empty_ns, *network_lock;
	const char *bundle, *pid_file, *console_socket, *lsm_profile, *lsm_mount_context;
	int status_fd;
	bool leaves_running, tcp_established, tcp_skip_in_flight, tcp_close, link_remap, ext_unix_sk, shell_job, lazy_pages;
	bool file_locks, is_pre_dump, auto_dedup, is_detached, no_subreaper, no_pivot;
};

#define MEMBER(member) offsetof(struct checkpoint_options, member)
#define COMMON_ENTRIES                                                                                               \
	{0, "image-path", "DIR", OPTION_STRING, MEMBER(image_path), "where the image is (./checkpoint)"},                  \
	{0, "work-path", "DIR", OPTION_STRING, MEMBER(work_path), "where logs go"},                                        \
	{0, "tcp-established", NULL, OPTION_FLAG, MEMBER(tcp_established), "keep TCP connections"},                        \
	{0, "ext-unix-sk", NULL, OPTION_FLAG, MEMBER(ext_unix_sk), "allow Unix sockets to the outside"},                   \
	{0, "shell-job", NULL, OPTION_FLAG, MEMBER(shell_job), "allow a terminal of the outside"},                         \
	{0, "file-locks", NULL, OPTION_FLAG, MEMBER(file_locks), "keep file locks"},                                       \
	{0, "lazy-pages", NULL, OPTION_FLAG, MEMBER(lazy_pages), "not supported here: see hydractl migrate"},              \
	{0, "manage-cgroups-mode", "MODE", OPTION_STRING, MEMBER(cgroups_mode), "accepted, without effect"},               \
	{0, "empty-ns", "NS", OPTION_STRING, MEMBER(empty_ns), "network: always so"},                                      \
	{0, "auto-dedup", NULL, OPTION_FLAG, MEMBER(auto_dedup), "accepted, without effect"},                              \
	{0, "network-lock", "METHOD", OPTION_STRING, MEMBER(network_lock), "accepted, without effect"}

static const struct option_entry checkpoint_entries[] = {
	COMMON_ENTRIES,
	{0, "parent-path", "DIR", OPTION_STRING, MEMBER(parent_path), "earlier image, relative to the image path"},
	{0, "leave-running", NULL, OPTION_FLAG, MEMBER(leaves_running), "let the container go on"},
	{0, "tcp-skip-in-flight", NULL, OPTION_FLAG, MEMBER(tcp_skip_in_flight), "not supported"},
	{0, "link-remap", NULL, OPTION_FLAG, MEMBER(link_remap), "not supported"},
	{0, "status-fd", "FD", OPTION_INT, MEMBER(status_fd), "not supported"},
	{0, "page-server", "ADDR:PORT", OPTION_STRING, MEMBER(page_server), "not supported"},
	{0, "pre-dump", NULL, OPTION_FLAG, MEMBER(is_pre_dump), "only the memory, the container goes on"},
	{0, NULL},
};

static const struct option_entry restore_entries[] = {
	COMMON_ENTRIES,
	{'b', "bundle", "DIR", OPTION_STRING, MEMBER(bundle), "folder of config.json and the rootfs (.)"},
	{'d', "detach", NULL, OPTION_FLAG, MEMBER(is_detached), "do not wait for the container"},
	{0, "pid-file", "FILE", OPTION_STRING, MEMBER(pid_file), "file that gets the pid of init"},
	{0, "console-socket", "PATH", OPTION_STRING, MEMBER(console_socket), "not supported"},
	{0, "tcp-close", NULL, OPTION_FLAG, MEMBER(tcp_close), "close TCP connections"},
	{0, "no-subreaper", NULL, OPTION_FLAG, MEMBER(no_subreaper), "accepted, without effect"},
	{0, "no-pivot", NULL, OPTION_FLAG, MEMBER(no_pivot), "accepted, without effect"},
	{0, "lsm-profile", "TYPE:NAME", OPTION_STRING, MEMBER(lsm_profile), "not supported"},
	{0, "lsm-mount-context", "CONTEXT", OPTION_STRING, MEMBER(lsm_mount_context), "not supported"},
	{0, NULL},
};
static const struct option_table checkpoint_table = {.entries = checkpoint_entries};
static const struct option_table restore_table = {.entries = restore_entries};

struct arguments {
	const char *items[ARGUMENTS_MAX];
	size_t count;
};

static void add(struct arguments *self, const char *option, const char *value)
{
	if (self->count + 2 >= ARGUMENTS_MAX)
		return;
	self->items[self->count++] = option;
	if (value != NULL)
		self->items[self->count++] = value;
}

static void add_flag(struct arguments *self, const char *option, bool is_set)
{
	if (is_set)
		add(self, option, NULL);
}

static void add_value(struct arguments *self, const char *option, const char *value)
{
	if (value != NULL)
		add(self, option, value);
}

static int run_checkpoint_program(struct arguments *arguments, struct error *err)
{
	auto_free char *path = child_program("hydra-checkpoint");
	struct child_spec child = {.path = path, .argv = arguments->items};
	int status = 0;
	pid_t pid;

	for (int fd = 0; fd < 3; fd++)
		child.fds[fd] = (struct child_fd){fd, fd};
	child.fd_count = 3;
	if (child_start(&child, &pid, NULL, err) < 0 || child_wait(pid, &status, err) < 0)
		return err->code;
	return status == 0 ? 0 : fail_because(err, EIO, "hydra-checkpoint failed with exit status %d", status);
}

static int refuse_unsupported(const struct checkpoint_options *self, struct error *err)
{
	const struct {
		const char *option;
		bool is_used;
	} unsupported[] = {
		{"lazy-pages", self->lazy_pages},   {"page-server", self->page_server != NULL},
		{"pre-dump", self->is_pre_dump},    {"parent-path", self->parent_path != NULL},
		{"link-remap", self->link_remap},   {"tcp-skip-in-flight", self->tcp_skip_in_flight},
		{"status-fd", self->status_fd != 0}, {"console-socket", self->console_socket != NULL},
		{"lsm-profile", self->lsm_profile != NULL}, {"lsm-mount-context", self->lsm_mount_context != NULL},
		{"tcp-close", self->tcp_close},
	};

	for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++)
		if (unsupported[i].is_used)
			return fail_because(err, ENOTSUP, "option --%s: not supported", unsupported[i].option);
	return 0;
}

static int dump(const struct checkpoint_options *self, struct container *container, struct error *err)
{
	enum container_status status = container_status(container);
	auto_free char *pid = text_format("%lld", (long long) container->state.pid.value);
	struct arguments arguments = {.items = {"hydra-checkpoint", "dump"}, .count = 2};

	if (status != CONTAINER_RUNNING && status != CONTAINER_PAUSED)
		return fail_because(err, EINVAL, "cannot checkpoint a %s container: container not running",
				    container_status_name(status));
	add(&arguments, "--pid", pid);
	add(&arguments, "--images", self->image_path != NULL ? self->image_path : "checkpoint");
	add_value(&arguments, "--work", self->work_path);
	add(&arguments, "--bundle", container->state.bundle);
	add_flag(&arguments, "--leave-running", self->leaves_running);
	add_flag(&arguments, "--tcp-established", self->tcp_established);
	add_flag(&arguments, "--file-locks", self->file_locks);
	add_flag(&arguments, "--shell-job", self->shell_job);
	add_flag(&arguments, "--ext-unix-sk", self->ext_unix_sk);
	if (run_checkpoint_program(&arguments, err) < 0)
		return err->code;
	return self->leaves_running ? 0 : launch_destroy(container, NULL, err);
}

static int checkpoint(const struct global_options *globals, void *options, const struct option_rest *rest,
		      struct error *err)
{
	struct container container;
	int r;

	if (refuse_unsupported(options, err) < 0 ||
	    container_open(&container, globals->root, rest->positional[0], true, err) < 0)
		return err->code;
	r = dump(options, &container, err);
	container_close(&container);
	return r;
}

static int restore(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	(void) globals;
	(void) rest;
	(void) restore_table;
	(void) options;
	return fail_because(err, ENOTSUP, "restore: not yet");
}

const struct command command_checkpoint = {
	.name = "checkpoint",
	.arguments = "[options] ID",
	.summary = "write a running container to disk",
	.options = &checkpoint_table,
	.options_size = sizeof(struct checkpoint_options),
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = checkpoint,
};

const struct command command_restore = {
	.name = "restore",
	.arguments = "[options] ID",
	.summary = "make a container from what checkpoint wrote",
	.options = &restore_table,
	.options_size = sizeof(struct checkpoint_options),
	.positional_min = 1,
	.positional_max = 1,
	.failure_status = 1,
	.run = restore,
};
