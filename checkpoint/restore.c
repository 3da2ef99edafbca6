/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vote: at CRIU's `post-restore` the tasks exist but have not run one instruction. Only there can we still
 * refuse, so there the receive worker is asked, the network plugged, and the answer given.
 */
#include "checkpoint/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/announce.h"
#include "checkpoint/bridge.h"
#include "checkpoint/carried.h"
#include "checkpoint/criu_log.h"
#include "checkpoint/criu_options.h"
#include "checkpoint/criu_rpc.h"
#include "checkpoint/image_owner.h"
#include "checkpoint/local.h"
#include "checkpoint/metadata.h"
#include "checkpoint/stdin_image.h"
#include "checkpoint/terminal_input.h"
#include "state/record.h"

#define STDIO_NUMBER 10
#define TMP_FOLDER   "tmp"

struct restore {
	const struct restore_spec *spec;
	struct criu_worker worker;
	Hydra__V1__CheckpointMetadata *metadata;
	int images_fd;
	int handoff_fd;
	int terminal_fd; /* its master */
	struct carried_places carried;
	bool is_mounted, has_all_memory;
	pid_t parent; /* the shim */
};

/* What the receive worker says next; anything but wanted calls the migration off. */
static int hear(struct restore *self, enum local_kind wanted, struct error *err)
{
	struct local_message message = {0};
	auto_close int fd = FD_NONE;
	int r = local_receive(self->handoff_fd, &message, &fd, err);

	while (r == 0 && message.kind == LOCAL_MOUNT) {
		r = carried_places_add(&self->carried, take_fd(&fd), err);
		if (r == 0)
			r = local_receive(self->handoff_fd, &message, &fd, err);
	}
	self->has_all_memory |= r == 0 && message.kind == LOCAL_START && message.value == 1;
	if (r == 0 && message.kind != wanted)
		r = fail_because(err, ECANCELED, "the migration was called off: %s", message.text);
	return r;
}

/* The migration's; the caller frees. */
static char *handoff_folder(const struct restore *self)
{
	char *folder = text_copy(self->spec->handoff), *slash = strrchr(folder, '/');

	if (slash != NULL)
		*slash = '\0';
	return folder;
}

/* From here on they run, whoever dies; a shim's successor finds them by the pid. */
static int claim(struct restore *self, struct error *err)
{
	auto_free char *folder = handoff_folder(self);
	auto_free char *word = text_format("resumed %d %llu", (int) self->worker.restored,
					   (unsigned long long) process_start_time(self->worker.restored));

	(void) prctl(PR_SET_PDEATHSIG, 0);
	if (getppid() != self->parent || criu_worker_has_ended(&self->worker))
		return fail_because(err, ECANCELED, "the migration was called off when its shim or CRIU died");
	return local_claim(folder, word) ? 0 : fail_because(err, ECANCELED, "the migration was called off when its worker died");
}

static int vote(struct restore *self, struct error *err)
{
	struct error ignored;
	int r = 0;

	fault_point("restore.before-vote");
	carried_places_deinit(&self->carried); /* CRIU has them */
	if (self->terminal_fd >= 0)
		r = terminal_input_feed(self->images_fd, self->terminal_fd, err);
	if (r == 0 && self->handoff_fd >= 0) {
		r = local_send(self->handoff_fd, LOCAL_PREPARED, 0, NULL, FD_NONE, err);
		if (r == 0)
			r = hear(self, LOCAL_GO, err);
	}
	self->worker.cancel_fd = FD_NONE; /* from here on the tasks are ours, whoever dies */
	if (r == 0)
		r = veth_plug(self->spec->veth, self->spec->bridge, err);
	if (r == 0 && self->spec->veth != NULL)
		announce_addresses(self->spec->net_namespace_fd);
	fault_point("restore.voted");
	r = r == 0 && self->handoff_fd >= 0 ? claim(self, err) : r;
	if (r < 0) /* the source is about to plug its own again */
		(void) veth_unplug(self->spec->veth, self->spec->bridge, &ignored);
	fault_point("restore.claimed");
	return r;
}

static int deliver_console(struct restore *self, int fd, struct error *err)
{
	ssize_t sent;

	owned_fd_release(&self->terminal_fd);
	self->terminal_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (self->spec->console_socket_fd < 0)
		return 0;
	sent = fd_pass_send(self->spec->console_socket_fd, "/dev/ptmx", 9, &fd, 1);
	return sent < 0 ? fail_errno(err, (int) -sent, "hand over the terminal") : 0;
}

static int notified(void *context, const char *stage, int *fd, struct error *err)
{
	struct restore *self = context;

	if (strcmp(stage, "orphan-pts-master") == 0)
		return deliver_console(self, *fd, err);
	if (strcmp(stage, "post-restore") == 0)
		return vote(self, err);
	return 0;
}

static const char *override_of(const struct string_list *mounts, const char *mountpoint)
{
	size_t length = strlen(mountpoint);

	for (size_t i = 0; mounts != NULL && i < mounts->count; i++) {
		if (strncmp(mounts->items[i], mountpoint, length) == 0 && mounts->items[i][length] == '=')
			return mounts->items[i] + length + 1;
	}
	return NULL;
}

/* A container's view of a cgroup hierarchy is a bind of the folder it is in; at the target that is another folder. */
static const char *cgroup_folder(const struct restore_spec *spec, const Hydra__V1__ExternalMount *mount)
{
	const char *controllers = strstr(mount->cgroup_options, "rw");
	const char *const *dir = spec->cgroup_dirs;

	for (; dir != NULL && *dir != NULL; dir++) {
		auto_free char *options = text_copy(controllers != NULL ? controllers : "");
		bool is_unified = strcmp(mount->fstype, "cgroup2") == 0;

		if (is_unified && (strstr(*dir, "/unified/") != NULL || spec->cgroup_dirs[1] == NULL))
			return *dir;
		for (char *rest = options, *word; !is_unified && rest != NULL && (word = strsep(&rest, ",")) != NULL;) {
			auto_free char *below = text_format("/%s/", text_has_prefix(word, "name=") ? word + 5 : word);
			auto_free char *joined = text_format(",%s/", word);

			if (*word != '\0' && (strstr(*dir, below) != NULL || strstr(*dir, joined) != NULL))
				return *dir;
		}
	}
	return NULL;
}

static int add_mount(struct criu_options *options, const struct restore_spec *spec,
		     const Hydra__V1__ExternalMount *mount, struct error *err)
{
	const char *source = override_of(spec->mounts, mount->mountpoint);
	struct stat status;

	if (source == NULL && text_has_prefix(mount->fstype, "cgroup"))
		source = cgroup_folder(spec, mount);
	if (source == NULL)
		source = mount->source;
	if (*source == '\0')
		return fail_because(err, ENOENT, "it is not known what to mount at '%s' (give it with --mount)", mount->mountpoint);
	if (stat(source, &status) < 0)
		return fail_errno(err, errno, "mount '%s' at '%s'", source, mount->mountpoint);
	criu_options_add_external(options, text_format("mnt[%s]:%s", mount->mountpoint, source));
	return 0;
}

static int fill_options(struct criu_options *options, struct restore *self, struct error *err)
{
	const struct restore_spec *spec = self->spec;
	int r = 0;

	options->opts.root = (char *) (uintptr_t) spec->root;
	options->opts.has_tcp_close = options->opts.tcp_close = spec->closes_tcp;
	options->opts.lsm_profile = (char *) (uintptr_t) spec->lsm_profile;
	options->opts.lsm_mount_context = (char *) (uintptr_t) spec->lsm_mount_context;
	options->opts.has_rst_sibling = true;
	options->opts.rst_sibling = true;
	options->opts.has_notify_scripts = true;
	options->opts.notify_scripts = true;
	options->opts.has_lazy_pages = true;
	options->opts.lazy_pages = spec->is_lazy && !self->has_all_memory;
	for (int number = 0; number < 3; number++) {
		const char *key = self->metadata->stdio[number];
		bool is_repeated = false;

		for (int earlier = 0; earlier < number; earlier++)
			is_repeated |= strcmp(self->metadata->stdio[earlier], key) == 0;
		/* one that has ended CRIU makes again by itself, with what is in it */
		if (number == 0 && self->metadata->stdin_is_closed)
			continue;
		if (*key != '\0' && !is_repeated && spec->stdio[number] >= 0)
			criu_options_inherit(options, key, STDIO_NUMBER + number);
	}
	for (size_t i = 0; i < self->metadata->n_mounts && r == 0; i++)
		r = add_mount(options, spec, self->metadata->mounts[i], err);
	if (r == 0 && self->metadata->n_carried > 0) {
		auto_free char *folder = handoff_folder(self);

		r = carried_places_attach(&self->carried, folder, self->metadata, options, err);
	}
	return r;
}

/* CRIU is started before the images are there: its start is not part of the time the container stands still. */
static int start_criu(struct restore *self, struct error *err)
{
	struct criu_worker_spec spec = {.criu = self->spec->criu, .is_restorer = true,
					.net_namespace_fd = self->spec->net_namespace_fd,
					.cgroup_dirs = self->spec->cgroup_dirs};

	for (int number = 0; number < 3; number++) {
		if (self->spec->stdio[number] >= 0)
			spec.fds[spec.fd_count++] = (struct child_fd){self->spec->stdio[number], STDIO_NUMBER + number};
	}
	return criu_worker_start(&self->worker, &spec, err);
}

/* Not before the layer is complete: overlay does not look for changes made below it. */
static int mount_overlay(struct restore *self, struct error *err)
{
	if (self->spec->overlay == NULL)
		return 0;
	if (mount("overlay", self->spec->root, "overlay", 0, self->spec->overlay) < 0)
		return fail_errno(err, errno, "mount the root file system at '%s'", self->spec->root);
	self->is_mounted = true;
	return 0;
}

static int await_images(struct restore *self, struct error *err)
{
	int r = self->handoff_fd < 0 ? 0 : hear(self, LOCAL_START, err);

	if (r < 0)
		return r;
	self->images_fd = open(self->spec->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (self->images_fd < 0)
		return fail_errno(err, errno, "open '%s'", self->spec->images);
	r = metadata_read(&self->metadata, self->images_fd, err);
	if (r == 0 && self->spec->stdio[0] >= 0 && !self->metadata->stdin_is_closed)
		r = stdin_image_feed(self->images_fd, self->spec->stdio[0], err);
	return r == 0 ? mount_overlay(self, err) : r;
}

/* Until the vote the receive worker may call it off at any time: the tasks may be waiting for pages of a source that
 * is gone, and CRIU for the tasks. */
static int converse(struct restore *self, pid_t *ret_init, struct error *err)
{
	int r;

	self->worker.cancel_fd = self->handoff_fd;
	r = criu_worker_finish(&self->worker, notified, self, ret_init, err);
	if (r == -ECANCELED && self->worker.cancel_fd >= 0) {
		criu_worker_abandon(&self->worker);
		(void) hear(self, LOCAL_GO, err); /* why */
		return err->code;
	}
	if (r < 0 && r != -ECANCELED && r != -EPIPE)
		(void) criu_log_explain(err, self->images_fd, self->spec->images, RESTORE_LOG);
	criu_worker_wait(&self->worker);
	return r;
}

/* CRIU moves the host's root aside to /tmp in the container's, or to a folder that it makes there, which it cannot in a root that is read-only.
 * True: there was none, and now there is. */
static bool make_tmp(int root_fd)
{
	return root_fd >= 0 && mkdirat(root_fd, TMP_FOLDER, 01777) == 0;
}

/* To the container's root, or back. */
static int give_images(struct restore *self, bool to_container, struct error *err)
{
	const Hydra__V1__CheckpointMetadata *metadata = self->metadata;

	if (metadata == NULL || metadata->root_uid == 0 || self->spec->handoff != NULL)
		return 0;
	return to_container ? image_owner_share(self->images_fd, metadata->root_uid, err) : image_owner_restore(self->images_fd, err);
}

static int run_criu(struct restore *self, pid_t *ret_init, struct error *err)
{
	auto_free struct criu_options *options = malloc(sizeof(*options));
	auto_close int root_fd = FD_NONE;
	struct error ignored;
	bool has_made_tmp = false;
	int r = start_criu(self, err);

	if (options == NULL)
		abort();
	if (r == 0)
		r = await_images(self, err);
	criu_options_init(options, CRIU_REQ_TYPE__RESTORE, self->images_fd, RESTORE_LOG);
	if (r == 0)
		r = fill_options(options, self, err);
	if (r == 0)
		r = give_images(self, true, err);
	if (r == 0) {
		root_fd = open(self->spec->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
		has_made_tmp = make_tmp(root_fd);
		r = criu_worker_request(&self->worker, &options->request, err);
	}
	if (r == 0)
		r = converse(self, ret_init, err);
	criu_worker_stop(&self->worker);
	(void) give_images(self, false, &ignored);
	if (has_made_tmp)
		(void) unlinkat(root_fd, TMP_FOLDER, AT_REMOVEDIR); /* the container may have it in use by now */
	criu_options_deinit(options);
	return r;
}

static int greet(struct restore *self, struct error *err)
{
	int r;

	if (self->spec->handoff == NULL)
		return 0;
	r = socket_connect(self->spec->handoff, &self->handoff_fd, err);
	if (r == 0)
		r = local_send(self->handoff_fd, LOCAL_HELLO, 0, NULL, self->spec->keeper_fd, err);
	return r;
}

static void report(struct restore *self, int result, pid_t init, const struct error *err)
{
	struct error ignored;

	if (self->handoff_fd < 0)
		return;
	if (result == 0)
		(void) local_send(self->handoff_fd, LOCAL_RUNNING, init, self->spec->veth, FD_NONE, &ignored);
	else
		(void) local_send(self->handoff_fd, LOCAL_FAILED, -result, err->message, FD_NONE, &ignored);
}

int restore_run(const struct restore_spec *spec, pid_t *ret_init, struct error *err)
{
	struct restore self = {.spec = spec, .worker = CRIU_WORKER_NONE, .images_fd = FD_NONE, .handoff_fd = FD_NONE, .terminal_fd = FD_NONE,
			       .parent = getppid()};
	pid_t init = 0;
	int r = greet(&self, err);

	if (r == 0)
		r = run_criu(&self, &init, err);
	if (r < 0)
		(void) fail_while(err, "restore");
	carried_places_deinit(&self.carried);
	if (r < 0 && self.is_mounted)
		(void) umount2(spec->root, MNT_DETACH);
	report(&self, r, init, err);
	hydra__v1__checkpoint_metadata__free_unpacked(self.metadata, NULL);
	owned_fd_release(&self.images_fd);
	owned_fd_release(&self.handoff_fd);
	owned_fd_release(&self.terminal_fd);
	if (r == 0)
		*ret_init = init;
	return r;
}
