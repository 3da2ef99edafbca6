/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer below the writable one, and volumes that are carried along, at the target.
 *
 * A layer that comes is written down beside the others under a name of this migration, and gets its place when what was written has the digest
 * that was announced. Whatever has that digest already is used as it is.
 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/layer_known.h"
#include "state/volumes_made.h"

#define WORKING_MS 500
#define WORKING_NS NS_PER_S /* how often the source hears that we are at it; its patience is 30 s */

static int say_working(void *context, struct error *err)
{
	struct receiver *self = context;
	uint64_t now = clock_monotonic_ns();
	int r = 0;

	if (session_was_cancelled(&self->session))
		return fail_because(err, ECANCELED, "the migration was cancelled");
	if (now - self->working_ns >= WORKING_NS) {
		self->working_ns = now;
		r = link_queue(&self->session.link, FRAME_WORKING, NULL, 0, err);
	}
	return r < 0 ? r : session_flush(&self->session, 0, err);
}

static bool find_known(struct receiver *self, char **ret_path, struct error *err)
{
	struct layer_turn turn = {say_working, self};
	const Hydra__V1__HandoffTree *lower = self->offer->lower;
	bool has = false;

	if (lower->path[0] == '/' && layer_has_digest(self->store, lower->path, lower->digest, &turn, &has, err) < 0)
		return false;
	if (has)
		*ret_path = text_copy(lower->path);
	else
		(void) layer_known_find(self->store, lower->digest, &turn, ret_path, err);
	return *ret_path != NULL;
}

int receive_check_lower(struct receiver *self, struct error *err)
{
	const Hydra__V1__HandoffTree *lower = self->offer->lower;
	struct error ignored, problem = ERROR_NONE;

	if (lower == NULL)
		return 0;
	if (!layer_digest_is_valid(lower->digest) || lower->entries == 0 || lower->entries > LAYER_ENTRIES_MAX)
		return fail_because(err, EPROTO, "the source's layer has no digest");
	if (self->spec->layer_root == NULL) {
		problems_add(&self->problems, NULL, lower->path, "this host has no place for layers");
		return 0;
	}
	self->store = layer_store_root(self->spec->layer_root);
	self->lower = layer_store_path(self->store, lower->digest);
	if (layer_store_hold(self->lower, &self->lower_fd, &ignored) == 0)
		return 0;
	free(take_ptr(&self->lower));
	if (find_known(self, &self->lower, &problem))
		return 0;
	if (problem.code < 0)
		return *err = problem, err->code;
	self->lower = layer_store_path(self->store, lower->digest);
	self->wants_lower = true;
	return 0;
}

uint64_t receive_lower_disk_bytes(const struct receiver *self)
{
	return self->wants_lower ? self->offer->lower->disk_bytes : 0;
}

uint64_t receive_trees_bytes(const struct receiver *self)
{
	uint64_t bytes = self->wants_lower ? self->offer->lower->bytes : 0;

	for (size_t i = 0; i < self->offer->n_volumes; i++)
		bytes += self->offer->volumes[i]->bytes;
	return bytes;
}

static int begin_lower(struct receiver *self, struct error *err)
{
	const Hydra__V1__HandoffTree *lower = self->offer->lower;
	int r;

	if (!self->wants_lower)
		return 0;
	layer_store_sweep(self->store);
	r = layer_store_begin(self->store, self->hello->migration_id, &self->lower_fd, err);
	if (r < 0)
		return r;
	self->owns_lower = true;
	layer_sink_init(&self->lower_sink, self->lower_fd);
	self->lower_sink.bytes_max = lower->bytes + 1;
	self->lower_sink.entries_max = lower->entries;
	return 0;
}

/* Of what is on the disk now, and not of what came. */
static int check_digest(struct receiver *self, struct error *err)
{
	struct layer_turn turn = {say_working, self};
	char digest[LAYER_DIGEST_SIZE];
	struct layer_list list;
	int r = layer_list_take(&list, self->lower_fd, err);

	if (r < 0)
		return r;
	r = layer_digest(self->lower_fd, &list, false, &turn, digest, err);
	layer_list_deinit(&list);
	if (r == 0 && strcmp(digest, self->offer->lower->digest) != 0)
		r = fail_because(err, EBADMSG, "layer '%s' was changed while it was sent, or damaged: sha256:%s was announced, sha256:%s came",
				 self->offer->lower->path, self->offer->lower->digest, digest);
	return r;
}

/* The answer of the child, which nobody can hurry. */
static int hear_sync(struct receiver *self, int fd, struct error *err)
{
	struct pollfd event = {.fd = fd, .events = POLLIN};
	int code = EIO, r;

	while (poll(&event, 1, WORKING_MS) <= 0) {
		r = say_working(self, err);
		if (r < 0)
			return r;
	}
	r = fd_read_full(fd, &code, sizeof(code));
	return r < 0 || code != 0 ? fail_errno(err, r < 0 ? -r : code, "write layer '%s'", self->offer->lower->path) : 0;
}

/* It gets to the disk, with all else that waits for it there: that may take longer than the source is patient. */
static int sync_lower(struct receiver *self, struct error *err)
{
	auto_close int reading = FD_NONE, writing = FD_NONE;
	int ends[2], r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	reading = ends[0];
	writing = ends[1];
	pid = fork();
	if (pid < 0)
		return fail_errno(err, errno, "start a process");
	if (pid == 0) {
		int code = syncfs(self->lower_fd) < 0 ? errno : 0;

		_exit(fd_write_full(writing, &code, sizeof(code)) < 0);
	}
	(void) close(take_fd(&writing));
	r = hear_sync(self, reading, err);
	if (r < 0)
		(void) kill(pid, SIGKILL);
	else
		(void) waitpid(pid, NULL, 0);
	return r;
}

int receive_lower(struct receiver *self, struct error *err)
{
	int r;

	if (!self->wants_lower)
		return 0;
	r = receive_tree(self, &self->lower_sink, err);
	fault_point("receive.lower");
	if (r == 0)
		r = check_digest(self, err);
	if (r == 0)
		r = sync_lower(self, err);
	if (r == 0)
		r = layer_store_keep(self->store, self->hello->migration_id, self->offer->lower->digest, &self->lower_fd, err);
	if (r < 0)
		return r;
	self->owns_lower = false;
	fault_point("receive.lower-kept");
	r = session_say(&self->session, FRAME_ACKNOWLEDGED, self->offer->epoch, NULL, err);
	return r == 0 ? session_flush(&self->session, 0, err) : r;
}

static bool is_empty_folder(const char *path)
{
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct layer_list list;
	struct error ignored;
	bool is;

	if (fd < 0 || layer_list_take(&list, fd, &ignored) < 0)
		return false;
	is = list.count == 1 && list.socket_count == 0;
	layer_list_deinit(&list);
	return is;
}

void receive_check_volumes(struct receiver *self)
{
	for (size_t i = 0; i < self->offer->n_volumes; i++) {
		const char *path = self->offer->volumes[i]->path;
		struct stat status;

		if (i == CARRIED_MAX) {
			problems_add(&self->problems, NULL, path, "more than %d volumes come", CARRIED_MAX);
			return;
		}
		if (path[0] != '/' || path[1] == '\0' || !layer_path_is_safe(path + 1) || strpbrk(path, "\n\t") != NULL)
			problems_add(&self->problems, "name it by its shortest path", path, "it is no path for a volume");
		else if (lstat(path, &status) == 0 && !is_empty_folder(path))
			problems_add(&self->problems,
				     "move or remove what is there (it may be what a container left that was moved from there), or share the volume",
				     path, "'%.300s' is no empty folder here, and a volume of that path comes along", path);
	}
}

static int begin_volumes(struct receiver *self, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < self->offer->n_volumes && r == 0; i++) {
		const char *path = self->offer->volumes[i]->path;
		int fd = FD_NONE;

		r = volumes_made_add(self->work, path, err);
		if (r == 0) {
			fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			r = fd < 0 ? fail_errno(err, errno, "open '%s'", path) : 0;
		}
		if (r == 0)
			layer_sink_init(&self->volumes.items[self->volumes.count++], fd);
	}
	return r;
}

int receive_begin_trees(struct receiver *self, struct error *err)
{
	int r = begin_lower(self, err);

	return r == 0 ? begin_volumes(self, err) : r;
}

void receive_undo_trees(struct receiver *self)
{
	if (self->owns_lower)
		layer_store_drop(self->store, self->hello->migration_id);
	self->owns_lower = false;
	if (self->owns_work)
		volumes_made_undo(self->work);
}

void receive_close_trees(struct receiver *self)
{
	layer_sink_deinit(&self->lower_sink);
	owned_fd_release(&self->lower_fd);
	carried_sinks_deinit(&self->volumes);
	free(self->store);
	free(self->lower);
}
