/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sub-commands that have nothing to do with another host: check, dump, restore.
 */
#include "checkpoint/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/dump.h"
#include "checkpoint/facts.h"
#include "checkpoint/restore.h"

struct check_options {
	const char *criu;
	const char *format;
};

static const struct option_entry check_entries[] = {
	{0, "criu", "PATH", OPTION_STRING, offsetof(struct check_options, criu), "the CRIU to use"},
	{0, "format", "FORMAT", OPTION_STRING, offsetof(struct check_options, format), "text (default) or json"},
	{0},
};

/* The problem is part of what it prints. */
static int check(void *options, struct error *err)
{
	const struct check_options *self = options;
	struct error problem = ERROR_NONE;
	struct criu criu = {0};
	Hydra__V1__HandoffFacts *facts;
	int r = criu_find(&criu, self->criu, &problem);

	(void) err;
	facts = facts_collect(r == 0 ? &criu : NULL);
	if (r == 0 && !facts->has_lazy_pages)
		r = fail_because(&problem, EOPNOTSUPP, "the kernel's userfaultfd lacks what post-copy needs");
	if (self->format != NULL && strcmp(self->format, "json") == 0)
		facts_print_json(facts, criu.path != NULL ? criu.path : "", problem.message);
	else
		facts_print_text(facts, criu.path != NULL ? criu.path : "", problem.message);
	hydra__v1__handoff_facts__free_unpacked(facts, NULL);
	criu_deinit(&criu);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

const struct command command_check = {
	.name = "check",
	.purpose = "what this host can do",
	.entries = check_entries,
	.defaults = &(const struct check_options){.criu = NULL},
	.options_size = sizeof(struct check_options),
	.run = check,
};

struct dump_options {
	const char *criu, *id, *images, *parent;
	int pid, timeout_s;
	bool leaves_running, is_ahead, links_deleted, skips_half_open;
};

static const struct option_entry dump_entries[] = {
	{0, "criu", "PATH", OPTION_STRING, offsetof(struct dump_options, criu), "the CRIU to use"},
	{0, "id", "ID", OPTION_STRING, offsetof(struct dump_options, id), "the container's name, for messages"},
	{0, "pid", "PID", OPTION_INT, offsetof(struct dump_options, pid), "the container's init"},
	{0, "images", "DIR", OPTION_STRING, offsetof(struct dump_options, images), "where the checkpoint goes"},
	{0, "leave-running", NULL, OPTION_FLAG, offsetof(struct dump_options, leaves_running), "do not stop the container"},
	{0, "timeout", "SECONDS", OPTION_INT, offsetof(struct dump_options, timeout_s), "give up after that time"},
	{0, "pre-dump", NULL, OPTION_FLAG, offsetof(struct dump_options, is_ahead), "only memory, and the container runs on"},
	{0, "parent", "DIR", OPTION_STRING, offsetof(struct dump_options, parent),
	 "an earlier --pre-dump, as a path from images: only what was written since"},
	{0, "link-remap", NULL, OPTION_FLAG, offsetof(struct dump_options, links_deleted),
	 "a deleted file that has other names gets one more, until it is restored"},
	{0, "tcp-skip-in-flight", NULL, OPTION_FLAG, offsetof(struct dump_options, skips_half_open),
	 "leave connections out that nobody has accepted yet"},
	{0},
};

static int check_tracking(const struct dump_options *self, struct error *err)
{
	if ((!self->is_ahead && self->parent == NULL) || facts_can_track_memory())
		return 0;
	return fail_because(err, ENOTSUP, "option --%s: this kernel does not tell which memory was written (CONFIG_MEM_SOFT_DIRTY); use a checkpoint "
			    "without it, which is complete", self->is_ahead ? "pre-dump" : "parent-path");
}

static int check_parent(const struct dump_options *self, struct error *err)
{
	auto_free char *path = self->parent != NULL ? text_format("%s/%s", self->images, self->parent) : NULL;

	if (path == NULL)
		return 0;
	if (self->parent[0] == '/')
		return fail_because(err, EINVAL, "option --parent-path: '%s': expected a path from the images of this checkpoint (%s)", self->parent, self->images);
	return path_exists(AT_FDCWD, path) ? 0 : fail_because(err, ENOENT, "option --parent-path: there is no '%s'", path);
}

static int dump(void *options, struct error *err)
{
	const struct dump_options *self = options;
	struct criu criu = {0};
	const struct dump_spec spec = {.criu = &criu, .id = self->id, .init = self->pid, .images = self->images, .parent = self->parent,
				       .leaves_running = self->leaves_running, .timeout_s = self->timeout_s, .links_deleted = self->links_deleted,
				       .skips_half_open = self->skips_half_open};
	int r = command_line_need(self->pid > 0, "pid", err);

	if (r == 0)
		r = command_line_need(self->images != NULL, "images", err);
	if (r == 0)
		r = check_parent(self, err);
	if (r == 0)
		r = check_tracking(self, err);
	if (r == 0)
		r = criu_find(&criu, self->criu, err);
	if (r == 0)
		r = self->is_ahead ? dump_ahead(&spec, err) : dump_to_disk(&spec, err);
	criu_deinit(&criu);
	return r;
}

const struct command command_dump = {
	.name = "dump",
	.purpose = "save a container to disk",
	.entries = dump_entries,
	.defaults = &(const struct dump_options){.id = "?"},
	.options_size = sizeof(struct dump_options),
	.run = dump,
};

struct restore_options {
	const char *criu, *images, *root, *overlay, *handoff, *veth, *bridge, *net_namespace, *pid_file;
	const char *lsm_profile, *lsm_mount_context;
	int net_fd, stdio[3], console_fd, keeper_fd;
	struct string_list cgroups, mounts;
	bool is_lazy, closes_tcp;
};

#define AT(field) offsetof(struct restore_options, field)

static const struct option_entry restore_entries[] = {
	{0, "criu", "PATH", OPTION_STRING, AT(criu), "the CRIU to use"},
	{0, "images", "DIR", OPTION_STRING, AT(images), "where the checkpoint is"},
	{0, "root", "DIR", OPTION_STRING, AT(root), "the container's root file system"},
	{0, "overlay", "OPTIONS", OPTION_STRING, AT(overlay), "mount an overlay there first (lowerdir=...,upperdir=...,workdir=...)"},
	{0, "netns", "PATH", OPTION_STRING, AT(net_namespace), "its network namespace"},
	{0, "netns-fd", "FD", OPTION_INT, AT(net_fd), "the same, as an inherited descriptor"},
	{0, "stdin-fd", "FD", OPTION_INT, AT(stdio[0]), "what becomes its standard input when that was a pipe"},
	{0, "stdout-fd", "FD", OPTION_INT, AT(stdio[1]), "... standard output"},
	{0, "stderr-fd", "FD", OPTION_INT, AT(stdio[2]), "... standard error"},
	{0, "console-socket-fd", "FD", OPTION_INT, AT(console_fd), "a socket that gets the new terminal's master"},
	{0, "cgroup", "DIR", OPTION_LIST, AT(cgroups), "a folder of cgroupfs the tasks live in (one per hierarchy)"},
	{0, "mount", "MOUNTPOINT=PATH", OPTION_LIST, AT(mounts), "what to mount there instead of what the source had"},
	{0, "pid-file", "FILE", OPTION_STRING, AT(pid_file), "receives the pid of the restored init"},
	{0, "tcp-close", NULL, OPTION_FLAG, AT(closes_tcp), "its TCP connections are closed ones"},
	{0, "lsm-profile", "TYPE:NAME", OPTION_STRING, AT(lsm_profile), "another profile of AppArmor or context of SELinux than it had"},
	{0, "lsm-mount-context", "CONTEXT", OPTION_STRING, AT(lsm_mount_context), "another context= of its mounts than they had"},
	{0, "lazy", NULL, OPTION_FLAG, AT(is_lazy), "pages are served by a pager in DIR (images)"},
	{0, "handoff", "PATH", OPTION_STRING, AT(handoff), "socket of the receive worker, which votes"},
	{0, "keeper-fd", "FD", OPTION_INT, AT(keeper_fd), "a socket that gets a duplicate of every userfaultfd"},
	{0, "veth", "NAME", OPTION_STRING, AT(veth), "host end of the network pair, plugged right before the tasks run"},
	{0, "bridge", "NAME", OPTION_STRING, AT(bridge), "the bridge it is plugged into; none: it is set up"},
	{0},
};

#undef AT

static int open_namespace(struct restore_options *options, struct error *err)
{
	if (options->net_namespace == NULL)
		return 0;
	options->net_fd = open(options->net_namespace, O_RDONLY | O_CLOEXEC);
	return options->net_fd < 0 ? fail_errno(err, errno, "open '%s'", options->net_namespace) : 0;
}

static int restore_with(struct restore_options *options, const struct criu *criu, pid_t *ret_init, struct error *err)
{
	auto_free const char **cgroups = calloc(options->cgroups.count + 1, sizeof(char *));
	struct restore_spec spec = {.criu = criu, .images = options->images, .root = options->root, .overlay = options->overlay,
				    .net_namespace_fd = options->net_fd, .stdio = {options->stdio[0], options->stdio[1],
				    options->stdio[2]}, .console_socket_fd = options->console_fd,
				    .mounts = &options->mounts, .is_lazy = options->is_lazy, .handoff = options->handoff,
				    .keeper_fd = options->keeper_fd, .veth = options->veth, .bridge = options->bridge,
				    .closes_tcp = options->closes_tcp, .lsm_profile = options->lsm_profile,
				    .lsm_mount_context = options->lsm_mount_context};

	if (cgroups == NULL)
		abort();
	for (size_t i = 0; i < options->cgroups.count; i++)
		cgroups[i] = options->cgroups.items[i];
	spec.cgroup_dirs = options->cgroups.count > 0 ? cgroups : NULL;
	return restore_run(&spec, ret_init, err);
}

static int write_pid(const char *path, pid_t init, struct error *err)
{
	auto_free char *text = text_format("%d", (int) init);

	return path == NULL ? 0 : file_replace_fast(AT_FDCWD, path, text, strlen(text), 0600, err);
}

static int restore(void *options, struct error *err)
{
	struct restore_options *self = options;
	struct criu criu = {0};
	pid_t init = 0;
	int r = command_line_need(self->images != NULL, "images", err);

	(void) signal(SIGPIPE, SIG_IGN);
	if (r == 0)
		r = command_line_need(self->root != NULL, "root", err);
	if (r == 0)
		r = open_namespace(self, err);
	if (r == 0)
		r = criu_find(&criu, self->criu, err);
	if (r == 0)
		r = restore_with(self, &criu, &init, err);
	if (r == 0)
		r = write_pid(self->pid_file, init, err);
	if (r == 0)
		printf("%d\n", (int) init);
	criu_deinit(&criu);
	return r;
}

const struct command command_restore = {
	.name = "restore",
	.purpose = "bring a container back",
	.entries = restore_entries,
	.defaults = &(const struct restore_options){.stdio = {FD_NONE, FD_NONE, FD_NONE}, .console_fd = FD_NONE, .keeper_fd = FD_NONE},
	.options_size = sizeof(struct restore_options),
	.run = restore,
};
