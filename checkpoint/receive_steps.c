/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's work while the container still runs at the source (and its last part, while it stands still).
 * Everything that comes from the peer and becomes part of a path is checked here.
 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/facts.h"
#include "checkpoint/metadata.h"
#include "state/left_data.h"

#define NAME_LENGTH_MAX 200U
#define IMAGES_MAX      (64ULL << 30)

static bool is_name(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || length > NAME_LENGTH_MAX || text[0] == '.' || text[0] == '-')
		return false;
	return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-") == length;
}

static int check_names(const struct receiver *self, struct error *err)
{
	if (!is_name(self->offer->container_id) || !is_name(self->offer->container_namespace))
		return fail_because(err, EPROTO, "the container's name is not one");
	return 0;
}

int receive_say_hello(struct receiver *self, struct error *err)
{
	Hydra__V1__HandoffHello hello = HYDRA__V1__HANDOFF_HELLO__INIT;

	hello.version = SESSION_VERSION;
	hello.capabilities = SESSION_CAPABILITIES;
	hello.migration_id = self->hello->migration_id;
	hello.program_version = (char *) (uintptr_t) HYDRA_VERSION;
	return link_queue_message(&self->session.link, FRAME_HELLO, &hello, err);
}

static int greet(struct receiver *self, struct error *err)
{
	struct frame frame;
	int r = session_expect(&self->session, FRAME_HELLO, &frame, err);

	if (r < 0)
		return r;
	self->hello = hydra__v1__handoff_hello__unpack(NULL, frame.size, frame.data);
	if (self->hello == NULL || self->hello->version == 0 || !is_name(self->hello->migration_id))
		return fail_because(err, EPROTO, "the source's greeting is not understood");
	self->work = text_format("%s/%s", self->spec->work_root, self->hello->migration_id);
	self->images = text_format("%s/images", self->work);
	if (self->hello->purpose != HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_MIGRATE)
		return 0; /* greeted by the worker that has been waiting */
	return receive_say_hello(self, err);
}

static int answer(struct receiver *self, int result, Hydra__V1__HandoffFacts *ours, const struct error *err)
{
	Hydra__V1__HandoffAnswer message = HYDRA__V1__HANDOFF_ANSWER__INIT;
	struct error problem;
	int r;

	message.is_accepted = result == 0;
	message.reason = (char *) (uintptr_t) (result < 0 ? err->message : "");
	message.facts = ours;
	message.mode = self->mode;
	message.mode_reason = (char *) (uintptr_t) self->mode_reason;
	message.lower_path = (char *) (uintptr_t) (self->lower != NULL ? self->lower : "");
	message.wants_lower = self->wants_lower;
	message.problems = self->problems.items;
	message.n_problems = self->problems.count;
	r = link_queue_message(&self->session.link, FRAME_ANSWER, &message, &problem);
	return r == 0 ? session_flush(&self->session, 0, &problem) : r;
}

int receive_preflight(struct receiver *self, struct error *err)
{
	Hydra__V1__HandoffFacts *ours;
	struct frame frame;
	int r = greet(self, err);

	if (r < 0 || self->hello->purpose != HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_MIGRATE)
		return r;
	r = session_expect(&self->session, FRAME_OFFER, &frame, err);
	if (r < 0)
		return r;
	self->offer = hydra__v1__handoff_offer__unpack(NULL, frame.size, frame.data);
	if (self->offer == NULL)
		return fail_because(err, EPROTO, "the source's offer is not understood");
	r = criu_find(&self->criu, self->spec->criu_path, err);
	ours = facts_collect(r == 0 ? &self->criu : NULL);
	if (r == 0)
		r = check_names(self, err);
	if (r == 0)
		r = receive_check(self, ours, err);
	(void) answer(self, r, ours, err);
	self->problems.host = NULL;
	hydra__v1__handoff_facts__free_unpacked(ours, NULL);
	return self->offer->is_dry_run ? 0 : r;
}

/* The root of a user namespace is nobody here, and reads images through the folder that CRIU holds. */
mode_t receive_images_mode(const struct receiver *self)
{
	return self->offer->has_user_namespace ? 0711 : 0700;
}

static int keep_passed(const char *folder, const char *name, const ProtobufCBinaryData *data, struct error *err)
{
	auto_free char *path = text_format("%s/%s", folder, name);

	return data->len == 0 ? 0 : file_replace_fast(AT_FDCWD, path, data->data, data->len, 0600, err);
}

int receive_prepare(struct receiver *self, struct error *err)
{
	auto_free char *socket_path = text_format("%s/" LOCAL_SOCKET, self->work);
	auto_free char *quoted = progress_quote(self->work);
	auto_free char *folder = text_format(",\"folder\":%s", quoted);
	int r;

	progress_tell(&self->progress, folder); /* should we be killed, somebody has to remove it */
	r = dir_make_all(self->work, 0700, err); /* nobody else comes further than this */
	if (r == 0)
		r = dir_make_all(self->images, receive_images_mode(self), err);
	self->owns_work = true;
	if (r == 0)
		r = receive_begin_verdict(self, err);
	if (r == 0)
		r = keep_passed(self->work, "record", &self->offer->record, err);
	if (r == 0)
		r = keep_passed(self->work, "config.json", &self->offer->config_json, err);
	if (r == 0)
		r = keep_passed(self->work, "limits", &self->offer->limits, err);
	if (r == 0)
		r = keep_passed(self->work, METADATA_FILE, &self->offer->metadata, err);
	if (r == 0)
		r = socket_listen(socket_path, &self->listen_fd, err);
	if (r == 0)
		r = carried_sinks_make(&self->carried, &self->offer->metadata, err);
	if (r == 0)
		r = receive_begin_trees(self, err);
	if (r < 0 || self->layer == NULL)
		return r;
	r = left_data_set_aside(self->spec->layer_root, self->offer->container_namespace, self->offer->container_id, err);
	if (r == 0)
		r = dir_make_all(self->layer, 0755, err);
	self->owns_layer = r == 0;
	self->layer_fd = r == 0 ? open(self->layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
	if (r == 0 && self->layer_fd < 0)
		r = fail_errno(err, errno, "open '%s'", self->layer);
	layer_sink_init(&self->sink, self->layer_fd);
	return r;
}

static uint64_t sum_of(const struct carried_sinks *sinks)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < sinks->count; i++)
		bytes += sinks->items[i].bytes;
	return bytes;
}

int receive_tree(struct receiver *self, struct layer_sink *sink, struct error *err)
{
	int r = 0;

	for (;;) {
		struct frame frame;

		r = session_next(&self->session, &frame, err);
		if (r < 0)
			return r;
		if (frame.type == FRAME_LAYER_DONE)
			return sink == NULL ? 0 : layer_sink_done(sink, err);
		if (sink == NULL || (frame.type != FRAME_LAYER_ENTRY && frame.type != FRAME_LAYER_DATA))
			return fail_because(err, EPROTO, "%s came in place of the writable layer", frame_name(frame.type));
		r = frame.type == FRAME_LAYER_ENTRY ? layer_sink_frame(sink, &frame, err)
						    : layer_sink_data(sink, frame.data, frame.size, err);
		if (r < 0)
			return r;
		self->progress.bytes_done = self->sink.bytes + self->lower_sink.bytes + sum_of(&self->volumes);
		progress_update(&self->progress);
	}
}

/* One pass of the layer, of each tmpfs, and of each volume. */
static int take_layer(struct receiver *self, struct error *err)
{
	int r = receive_tree(self, self->layer != NULL ? &self->sink : NULL, err);

	for (size_t i = 0; r == 0 && i < self->carried.count; i++)
		r = receive_tree(self, &self->carried.items[i], err);
	for (size_t i = 0; r == 0 && i < self->volumes.count; i++)
		r = receive_tree(self, &self->volumes.items[i], err);
	return r;
}

int receive_layer(struct receiver *self, struct error *err)
{
	int r = receive_lower(self, err);

	if (r == 0)
		r = take_layer(self, err);

	fault_point("receive.layer");
	if (r == 0)
		r = session_say(&self->session, FRAME_ACKNOWLEDGED, self->offer->epoch, NULL, err);
	return r == 0 ? session_flush(&self->session, 0, err) : r;
}

static bool is_image_name(const char *name)
{
	size_t length = strlen(name);

	if (strcmp(name, METADATA_FILE) == 0)
		return true;
	return length < NAME_LENGTH_MAX && text_has_suffix(name, ".img") && name[0] != '.' && strchr(name, '/') == NULL;
}

static int take_image(struct receiver *self, int dir_fd, const Hydra__V1__HandoffImage *image, struct error *err)
{
	auto_close int fd = FD_NONE;
	uint64_t left = image->size;

	if (!is_image_name(image->name) || image->size > IMAGES_MAX)
		return fail_because(err, EPROTO, "an image has an impossible name or size");
	fd = openat(dir_fd, image->name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    self->offer->has_user_namespace ? 0644 : 0600);
	if (fd < 0)
		return fail_errno(err, errno, "make image '%s'", image->name);
	while (left > 0) {
		struct frame frame;
		int r = session_expect(&self->session, FRAME_IMAGE_DATA, &frame, err);

		if (r == 0 && (frame.size == 0 || frame.size > left))
			r = fail_because(err, EPROTO, "image '%s' is longer than announced", image->name);
		if (r == 0 && (r = fd_write_full(fd, frame.data, frame.size)) < 0)
			r = fail_errno(err, -r, "write image '%s'", image->name);
		if (r < 0)
			return r;
		left -= frame.size;
	}
	return 0;
}

int receive_images(struct receiver *self, struct error *err)
{
	auto_close int dir_fd = open(self->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir_fd < 0 ? fail_errno(err, errno, "open '%s'", self->images) : take_layer(self, err);

	if (r == 0)
		r = receive_link_rounds(self, dir_fd, err);
	if (r == 0)
		r = receive_image_files(self, dir_fd, err);
	return r == 0 ? receive_plan_local(self, dir_fd, err) : r;
}

int receive_image_files(struct receiver *self, int dir_fd, struct error *err)
{
	int r = 0;

	while (r == 0) {
		Hydra__V1__HandoffImage *image;
		struct frame frame;

		r = session_next(&self->session, &frame, err);
		if (r < 0)
			return r;
		if (frame.type == FRAME_IMAGES_DONE)
			return 0;
		image = frame.type == FRAME_IMAGE ? hydra__v1__handoff_image__unpack(NULL, frame.size, frame.data) : NULL;
		r = image == NULL ? fail_because(err, EPROTO, "%s came in place of an image", frame_name(frame.type))
				  : take_image(self, dir_fd, image, err);
		hydra__v1__handoff_image__free_unpacked(image, NULL);
	}
	return r;
}
