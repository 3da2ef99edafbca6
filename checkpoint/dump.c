/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parked dump hangs on a socketpair of which CRIU holds both ends, so that end of file, which CRIU takes for
 * success, cannot happen. Only an explicit close command commits; killing CRIU aborts.
 */
#include "checkpoint/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/criu_log.h"
#include "checkpoint/criu_options.h"
#include "checkpoint/image_sleeps.h"
#include "checkpoint/image_timers.h"
#include "checkpoint/proc.h"
#include "checkpoint/stdin_image.h"
#include "checkpoint/terminal_input.h"
#include "checkpoint/survey.h"
#include "checkpoint/tcp_repair.h"

#define PARK_NUMBER   10
#define PARK_PEER     11
#define PARK_CONFIG   "park.conf"
#define PARK_CLOSE    0x1023
#define PARK_NS       (30 * NS_PER_S)

/* 24 bytes up to CRIU 4.1, 32 from 4.2 on, which wait for all of theirs; the command is first in both and nobody
 * reads what is behind it. */
struct park_command {
	uint32_t command;
	uint32_t unused[7];
};

static int open_images(const char *path, int *ret_fd, struct error *err)
{
	int r = dir_make_all(path, 0700, err);
	int fd;

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(err, errno, "open '%s'", path);
	*ret_fd = fd;
	return 0;
}

static int open_net_namespace(pid_t init, struct error *err)
{
	auto_free char *path = text_format("/proc/%d/ns/net", (int) init);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 ? fd : fail_errno(err, errno, "open the network namespace of process %d", (int) init);
}

static void add_watches(struct criu_options *options, struct watches *watches)
{
	options->opts.irmap_scan_paths = watches->paths;
	options->opts.n_irmap_scan_paths = watches->count;
}

static void add_carried(struct criu_options *options, const Hydra__V1__CarriedMount *mount)
{
	for (size_t i = 0; i < mount->n_mountpoints; i++)
		criu_options_add_external(options, text_format("mnt[%s]:%s", mount->mountpoints[i], mount->mountpoints[i]));
}

static int fill_options(struct criu_options *options, const struct dump_spec *spec,
			const Hydra__V1__CheckpointMetadata *metadata, struct error *err)
{
	if (metadata->n_mounts > CRIU_LISTS_MAX)
		return fail_because(err, E2BIG, "more than %d mounts come from outside", CRIU_LISTS_MAX);
	options->opts.has_pid = true;
	options->opts.pid = spec->init;
	options->opts.has_leave_running = true;
	options->opts.leave_running = spec->leaves_running;
	if (spec->timeout_s > 0) {
		options->opts.has_timeout = true;
		options->opts.timeout = (uint32_t) spec->timeout_s;
	}
	for (size_t i = 0; i < metadata->n_mounts; i++)
		criu_options_add_external(options, text_format("mnt[%s]:%s", metadata->mounts[i]->mountpoint,
							       metadata->mounts[i]->mountpoint));
	for (size_t i = 0; i < metadata->n_carried; i++)
		add_carried(options, metadata->carried[i]);
	options->opts.has_link_remap = options->opts.link_remap = spec->links_deleted;
	options->opts.has_tcp_skip_in_flight = options->opts.tcp_skip_in_flight = spec->skips_half_open;
	if (spec->parent != NULL) {
		options->opts.has_track_mem = true;
		options->opts.track_mem = true;
		options->opts.parent_img = (char *) (uintptr_t) spec->parent;
	}
	return 0;
}

struct saving {
	Hydra__V1__CheckpointMetadata *metadata;
	pid_t init;
	int images_fd;
};

int dump_save_input(Hydra__V1__CheckpointMetadata *metadata, pid_t init, int images_fd, struct error *err)
{
	int r = stdin_image_save(metadata, init, images_fd, err);

	return r < 0 ? r : terminal_input_save(init, images_fd, err);
}

/* All is saved, and the tasks stand still. */
static int notified(void *context, const char *stage, int *fd, struct error *err)
{
	const struct saving *self = context;

	(void) fd;
	return strcmp(stage, "post-dump") == 0 ? dump_save_input(self->metadata, self->init, self->images_fd, err) : 0;
}

static int run_dump(const struct dump_spec *spec, Hydra__V1__CheckpointMetadata *metadata, CriuReqType type, int images_fd,
		    struct error *err)
{
	auto_close int net_fd = open_net_namespace(spec->init, err);
	struct criu_worker_spec worker_spec = {.criu = spec->criu, .net_namespace_fd = net_fd, .holds = spec->holds, .init = spec->init};
	struct criu_worker worker = CRIU_WORKER_NONE;
	struct criu_options *options = malloc(sizeof(*options));
	struct watches watches;
	struct saving saving = {metadata, spec->init, images_fd};
	int r = net_fd < 0 ? net_fd : criu_worker_start(&worker, &worker_spec, err);

	if (options == NULL)
		abort();
	watches_find(&watches, spec->init);
	criu_options_init(options, type, images_fd, DUMP_LOG);
	add_watches(options, &watches);
	if (r == 0)
		r = fill_options(options, spec, metadata, err);
	if (type == CRIU_REQ_TYPE__SINGLE_PRE_DUMP)
		options->opts.has_track_mem = options->opts.track_mem = true;
	else
		options->opts.has_notify_scripts = options->opts.notify_scripts = true;
	if (r == 0)
		r = criu_worker_request(&worker, &options->request, err);
	if (r == 0) {
		r = criu_worker_finish(&worker, notified, &saving, NULL, err);
		if (r < 0)
			(void) criu_log_explain(err, images_fd, spec->images, DUMP_LOG);
	}
	criu_worker_stop(&worker);
	watches_deinit(&watches);
	criu_options_deinit(options);
	free(options);
	return r;
}

int dump_correct_images(int images_fd, struct error *err)
{
	int r = image_timers_revive(images_fd, err);

	return r < 0 ? r : image_sleeps_resume(images_fd, err);
}

static int survey(pid_t init, struct error *err)
{
	struct proc_tasks tasks;
	int r = proc_tasks_read(&tasks, init, err);

	if (r < 0)
		return r;
	r = survey_tasks(&tasks, err);
	proc_tasks_deinit(&tasks);
	return r;
}

int dump_to_disk(const struct dump_spec *spec, struct error *err)
{
	Hydra__V1__CheckpointMetadata *metadata = NULL;
	auto_close int images_fd = FD_NONE;
	int r = survey(spec->init, err);

	if (r == 0)
		r = open_images(spec->images, &images_fd, err);
	if (r == 0)
		r = metadata_collect(&metadata, spec->id, spec->init, spec->criu, err);
	if (r == 0)
		r = run_dump(spec, metadata, CRIU_REQ_TYPE__DUMP, images_fd, err);
	if (r < 0)
		(void) tcp_repair_off(spec->init, &(struct error){0});
	if (r == 0)
		r = dump_correct_images(images_fd, err);
	if (r == 0)
		r = metadata_write(metadata, images_fd, err);
	hydra__v1__checkpoint_metadata__free_unpacked(metadata, NULL);
	return r < 0 ? fail_while(err, "checkpoint '%s'", spec->id) : 0;
}

int dump_round(const struct dump_spec *spec, Hydra__V1__CheckpointMetadata *metadata, struct error *err)
{
	auto_close int images_fd = FD_NONE;
	int r = open_images(spec->images, &images_fd, err);

	if (r == 0)
		r = run_dump(spec, metadata, CRIU_REQ_TYPE__SINGLE_PRE_DUMP, images_fd, err);
	return r < 0 ? fail_while(err, "copy the memory of '%s' while it runs", spec->id) : 0;
}

int dump_ahead(const struct dump_spec *spec, struct error *err)
{
	Hydra__V1__CheckpointMetadata *metadata = NULL;
	int r = survey(spec->init, err);

	if (r == 0)
		r = metadata_collect(&metadata, spec->id, spec->init, spec->criu, err);
	if (r == 0)
		r = dump_round(spec, metadata, err);
	hydra__v1__checkpoint_metadata__free_unpacked(metadata, NULL);
	return r;
}

static int write_park_config(int images_fd, struct error *err)
{
	auto_free char *text = text_format("ps-socket %d\n", PARK_NUMBER);

	return file_replace_fast(images_fd, PARK_CONFIG, text, strlen(text), 0600, err);
}

static int request_parked(struct parked_dump *self, const struct dump_spec *spec,
			  const Hydra__V1__CheckpointMetadata *metadata, struct error *err)
{
	auto_free struct criu_options *options = malloc(sizeof(*options));
	auto_free char *config = text_format("/proc/%d/fd/%d/%s", (int) getpid(), self->images_fd, PARK_CONFIG);
	int r;

	if (options == NULL)
		abort();
	criu_options_init(options, CRIU_REQ_TYPE__DUMP, self->images_fd, DUMP_LOG);
	options->opts.has_lazy_pages = true;
	options->opts.lazy_pages = !spec->is_complete;
	options->opts.has_notify_scripts = true;
	options->opts.notify_scripts = true;
	if (!spec->is_complete)
		options->opts.config_file = config;
	add_watches(options, &self->watches);
	r = fill_options(options, spec, metadata, err);
	if (r == 0)
		r = criu_worker_request(&self->worker, &options->request, err);
	criu_options_deinit(options);
	return r;
}

int dump_park_prepare(struct parked_dump *self, const struct dump_spec *spec, struct error *err)
{
	struct criu_worker_spec worker_spec = {.criu = spec->criu};
	auto_close int net_fd = open_net_namespace(spec->init, err);
	auto_close int park_fd = FD_NONE;
	int pair[2], r = net_fd < 0 ? net_fd : 0;

	*self = PARKED_DUMP_NONE;
	self->images = spec->images;
	self->is_complete = spec->is_complete;
	worker_spec.net_namespace_fd = net_fd;
	worker_spec.holds = spec->holds;
	worker_spec.init = spec->init;
	if (r == 0)
		watches_find(&self->watches, spec->init);
	if (r == 0)
		r = open_images(spec->images, &self->images_fd, err);
	if (r == 0)
		r = write_park_config(self->images_fd, err);
	if (r == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		r = fail_errno(err, errno, "make a socketpair");
	if (r == 0) {
		self->park_fd = pair[0];
		park_fd = pair[1];
	}
	worker_spec.fds[0] = (struct child_fd){park_fd, PARK_NUMBER};
	worker_spec.fds[1] = (struct child_fd){self->park_fd, PARK_PEER};
	worker_spec.fd_count = 2;
	if (r == 0)
		r = criu_worker_start(&self->worker, &worker_spec, err);
	if (r < 0)
		dump_abort(self);
	return r;
}

int dump_park_start(struct parked_dump *self, const struct dump_spec *spec,
		    const Hydra__V1__CheckpointMetadata *metadata, struct error *err)
{
	int r = request_parked(self, spec, metadata, err);

	self->is_at_work = r == 0;
	if (r < 0)
		dump_abort(self);
	return r;
}

int dump_park_continue(struct parked_dump *self, struct error *err)
{
	auto_close int fd = FD_NONE;
	CriuResp *answer = NULL;
	bool is_final, is_parked, is_last_word;
	int r = criu_worker_receive(&self->worker, &answer, &fd, err);

	if (r < 0)
		return criu_log_explain(err, self->images_fd, self->images, DUMP_LOG);
	is_final = answer->type != CRIU_REQ_TYPE__NOTIFY;
	is_parked = !is_final && answer->notify != NULL && answer->notify->script != NULL &&
		    strcmp(answer->notify->script, self->is_complete ? "post-dump" : "status-ready") == 0;
	is_last_word = is_parked && self->is_complete; /* agreeing to it kills the tasks */
	criu_resp__free_unpacked(answer, NULL);
	if (is_final) {
		(void) fail_because(err, EIO, "CRIU could not freeze the container");
		return criu_log_explain(err, self->images_fd, self->images, DUMP_LOG);
	}
	r = is_last_word ? 0 : criu_worker_acknowledge(&self->worker, true, err);
	self->is_at_work = self->is_at_work && !is_parked;
	if (is_parked)
		criu_worker_tell(&self->worker, GUARD_IDLE);
	return r < 0 ? r : is_parked ? 0 : DUMP_GOES_ON;
}

static void close_parked(struct parked_dump *self)
{
	owned_fd_release(&self->park_fd);
	owned_fd_release(&self->images_fd);
	watches_deinit(&self->watches);
	*self = PARKED_DUMP_NONE;
}

static int close_page_server(struct parked_dump *self, struct error *err)
{
	struct park_command command = {.command = PARK_CLOSE};
	int32_t answer = -1;
	int r = fd_write_full(self->park_fd, &command, sizeof(command));

	if (r == 0)
		r = fd_read_full(self->park_fd, &answer, sizeof(answer));
	return r < 0 ? fail_errno(err, -r, "tell CRIU that the migration is complete") : 0;
}

int dump_commit(struct parked_dump *self, struct error *err)
{
	int r = self->is_complete ? criu_worker_acknowledge(&self->worker, true, err) : close_page_server(self, err);

	if (r < 0)
		return r;
	r = criu_worker_finish(&self->worker, NULL, NULL, NULL, err);
	if (r < 0)
		return criu_log_explain(err, self->images_fd, self->images, DUMP_LOG);
	criu_worker_wait(&self->worker);
	close_parked(self);
	return 0;
}

/* CRIU runs code of its own in the tasks. Killed just then it leaves that code there, and the tasks die of it (SIGTRAP). So it goes on until
 * the tasks stand still, which is soon; only one that hangs is killed nevertheless. */
void dump_settle(struct parked_dump *self)
{
	uint64_t end = clock_monotonic_ns() + PARK_NS;
	struct error ignored;

	while (self->is_at_work && clock_monotonic_ns() < end) {
		struct pollfd event = {.fd = self->worker.socket_fd, .events = POLLIN};
		int r = poll(&event, 1, (int) ((end - clock_monotonic_ns()) / NS_PER_MS) + 1);

		if (r > 0 && dump_park_continue(self, &ignored) < 0)
			self->is_at_work = false;
	}
}

void dump_abort(struct parked_dump *self)
{
	dump_settle(self);
	criu_worker_stop(&self->worker);
	close_parked(self);
}
