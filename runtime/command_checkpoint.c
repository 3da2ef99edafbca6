/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra checkpoint, hydra restore: thin fronts of the program hydra-checkpoint.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/command.h"
#include "runtime/container.h"
#include "runtime/foreground.h"
#include "runtime/launch.h"
#include "runtime/restore.h"

#include <errno.h>
#include <string.h>

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
	{0, "work-path", "DIR", OPTION_STRING, MEMBER(work_path), "where CRIU's log and statistics go (the image path)"},                                        \
	{0, "tcp-established", NULL, OPTION_FLAG, MEMBER(tcp_established), "keep TCP connections: always so"},                        \
	{0, "ext-unix-sk", NULL, OPTION_FLAG, MEMBER(ext_unix_sk), "accepted, without effect"},                   \
	{0, "shell-job", NULL, OPTION_FLAG, MEMBER(shell_job), "accepted, without effect"},                         \
	{0, "file-locks", NULL, OPTION_FLAG, MEMBER(file_locks), "keep file locks: always so"},                                       \
	{0, "lazy-pages", NULL, OPTION_FLAG, MEMBER(lazy_pages), "not supported here: see hydractl migrate"},              \
	{0, "manage-cgroups-mode", "MODE", OPTION_STRING, MEMBER(cgroups_mode), "accepted, without effect"},               \
	{0, "empty-ns", "NS", OPTION_STRING, MEMBER(empty_ns), "network: always so"},                                      \
	{0, "auto-dedup", NULL, OPTION_FLAG, MEMBER(auto_dedup), "accepted, without effect"},                              \
	{0, "network-lock", "METHOD", OPTION_STRING, MEMBER(network_lock), "accepted, without effect"}

static const struct option_entry checkpoint_entries[] = {
	COMMON_ENTRIES,
	{0, "parent-path", "DIR", OPTION_STRING, MEMBER(parent_path), "an earlier --pre-dump, from --image-path on: only memory written since"},
	{0, "leave-running", NULL, OPTION_FLAG, MEMBER(leaves_running), "let the container go on"},
	{0, "tcp-skip-in-flight", NULL, OPTION_FLAG, MEMBER(tcp_skip_in_flight), "leave connections out that nobody has accepted yet"},
	{0, "link-remap", NULL, OPTION_FLAG, MEMBER(link_remap), "deleted files that have other names: give them one until restored"},
	{0, "status-fd", "FD", OPTION_INT, MEMBER(status_fd), "not supported, belongs to --lazy-pages"},
	{0, "page-server", "ADDR:PORT", OPTION_STRING, MEMBER(page_server), "not supported here: see hydractl migrate"},
	{0, "pre-dump", NULL, OPTION_FLAG, MEMBER(is_pre_dump), "only memory, while the container runs on: for --parent-path"},
	{0, NULL},
};

static const struct option_entry restore_entries[] = {
	COMMON_ENTRIES,
	{'b', "bundle", "DIR", OPTION_STRING, MEMBER(bundle), "folder of config.json and the rootfs (.)"},
	{'d', "detach", NULL, OPTION_FLAG, MEMBER(is_detached), "do not wait for the container"},
	{0, "pid-file", "FILE", OPTION_STRING, MEMBER(pid_file), "file that gets the pid of init"},
	{0, "console-socket", "PATH", OPTION_STRING, MEMBER(console_socket), "socket that gets the terminal"},
	{0, "tcp-close", NULL, OPTION_FLAG, MEMBER(tcp_close), "TCP connections come back as closed ones"},
	{0, "no-subreaper", NULL, OPTION_FLAG, MEMBER(no_subreaper), "accepted, without effect"},
	{0, "no-pivot", NULL, OPTION_FLAG, MEMBER(no_pivot), "accepted, without effect"},
	{0, "lsm-profile", "TYPE:NAME", OPTION_STRING, MEMBER(lsm_profile), "another profile than it had: apparmor:NAME, selinux:CONTEXT"},
	{0, "lsm-mount-context", "CONTEXT", OPTION_STRING, MEMBER(lsm_mount_context), "another context= of mounts than they had"},
	{0, NULL},
};
static const struct option_table checkpoint_table = {.entries = checkpoint_entries};
static const struct option_table restore_table = {.entries = restore_entries};

static const char *const dump_reports[] = {"dump.log", "stats-dump", NULL};

static int refuse_unsupported(const struct checkpoint_options *self, struct error *err)
{
	const struct {
		const char *option;
		bool is_used;
	} unsupported[] = {
		{"lazy-pages", self->lazy_pages},
		{"page-server", self->page_server != NULL},
		{"status-fd", self->status_fd != 0},
	};

	for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++)
		if (unsupported[i].is_used)
			return fail_because(err, ENOTSUP, "option --%s: not supported; memory that follows is what `hydractl migrate` does",
					    unsupported[i].option);
	return 0;
}

static void add_flag(struct checkpoint_call *call, const char *option, bool is_wanted)
{
	if (is_wanted)
		checkpoint_call_add(call, option, NULL);
}

static int dump(const struct checkpoint_options *self, struct container *container, struct error *err)
{
	enum container_status status = container_status(container);
	const char *images = self->image_path != NULL ? self->image_path : "checkpoint";
	auto_free char *pid = text_format("%lld", (long long) container->state.pid.value);
	struct checkpoint_call call = {.arguments = {"hydra-checkpoint", "dump"}, .count = 2};
	int r;

	if (status != CONTAINER_RUNNING && status != CONTAINER_PAUSED)
		return fail_because(err, EINVAL, "cannot checkpoint a %s container: container not running",
				    container_status_name(status));
	checkpoint_call_add(&call, "--id", container->id);
	checkpoint_call_add(&call, "--pid", pid);
	checkpoint_call_add(&call, "--images", images);
	add_flag(&call, "--leave-running", self->leaves_running);
	add_flag(&call, "--pre-dump", self->is_pre_dump);
	add_flag(&call, "--link-remap", self->link_remap);
	add_flag(&call, "--tcp-skip-in-flight", self->tcp_skip_in_flight);
	if (self->parent_path != NULL)
		checkpoint_call_add(&call, "--parent", self->parent_path);
	r = dir_make_all(images, 0700, err);
	if (r == 0 && self->work_path != NULL)
		r = dir_make_all(self->work_path, 0700, err);
	if (r == 0) {
		r = checkpoint_call_run(&call, err);
		checkpoint_move_reports(images, self->work_path, dump_reports);
	}
	if (r < 0)
		return r;
	return self->leaves_running || self->is_pre_dump ? 0 : launch_destroy(container, NULL, err);
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
	const struct checkpoint_options *self = options;
	struct restore_request request = {
		.root = globals->root,
		.id = rest->positional[0],
		.bundle = self->bundle,
		.images = self->image_path != NULL ? self->image_path : "checkpoint",
		.work = self->work_path,
		.pid_file = self->pid_file,
		.console_socket = self->console_socket,
		.lsm_profile = self->lsm_profile,
		.lsm_mount_context = self->lsm_mount_context,
		.closes_tcp = self->tcp_close,
		.has_cgroups = globals->has_cgroups,
		.uses_systemd = globals->uses_systemd,
	};
	struct restored restored;
	int status = 0;

	if (refuse_unsupported(self, err) < 0)
		return err->code;
	if (!self->is_detached)
		foreground_begin();
	if (restore_container(&request, &restored, err) < 0)
		return err->code;
	if (self->is_detached || foreground_attend(restored.pid, FD_NONE, FD_NONE, &status, err) < 0) {
		restored_deinit(&restored);
		return err->code;
	}
	if (launch_destroy(&restored.container, &restored.spec.hooks.poststop, err) < 0)
		status = err->code;
	restored_deinit(&restored);
	return status;
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
