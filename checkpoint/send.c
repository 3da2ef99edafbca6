/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order is what makes it safe; see docs/protocol.md. The point of no return is the durable fencing record, written
 * after the target holds a complete, unresumed copy and before it is told to run it. Just before, every task gets a
 * SIGSTOP: should this process and CRIU die later, the tasks stay where they are.
 */
#include "checkpoint/send.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/bridge.h"
#include "checkpoint/departure.h"
#include "checkpoint/facts.h"
#include "checkpoint/packets.h"
#include "checkpoint/rounds.h"
#include "checkpoint/sums.h"
#include "checkpoint/tcp_repair.h"
#include "state/record.h"

#define PASSED_FILE_MAX (4U << 20)

static int load_passed(const char *path, ProtobufCBinaryData *ret_data, struct error *err)
{
	char *data = NULL;
	size_t size = 0;
	int r = path == NULL ? 0 : file_read(AT_FDCWD, path, PASSED_FILE_MAX, &data, &size, err);

	ret_data->data = (unsigned char *) data;
	ret_data->len = size;
	return r;
}

static bool has_user_namespace(pid_t pid)
{
	auto_free char *path = text_format("/proc/%d/ns/user", (int) pid);
	char theirs[64] = "", ours[64] = "";

	return readlink(path, theirs, sizeof(theirs) - 1) > 0 && readlink("/proc/self/ns/user", ours, sizeof(ours) - 1) > 0 &&
	       strcmp(theirs, ours) != 0;
}

static int fill_offer(struct sender_state *self, Hydra__V1__HandoffOffer *offer, struct error *err)
{
	const struct send_spec *spec = self->spec;
	struct proc_tasks tasks;
	int r = proc_tasks_read(&tasks, spec->pid, err);

	if (r < 0)
		return r;
	offer->memory_bytes = proc_memory(&tasks);
	offer->hugetlb_bytes = proc_hugetlb(&tasks);
	self->progress.pages_total = offer->memory_bytes / PAGE_BYTES;
	offer->memory_bytes += carried_bytes(&self->carried);
	offer->facts = facts_collect(spec->criu);
	send_find_problems(self, &tasks, offer->facts);
	proc_tasks_deinit(&tasks);
	offer->container_id = text_copy(spec->id);
	offer->container_namespace = text_copy(spec->container_namespace);
	offer->epoch = spec->epoch;
	offer->layer_bytes = self->layer_before.bytes;
	offer->layer_entries = self->layer_before.count;
	offer->has_layer = spec->layer != NULL;
	offer->lost_pages = spec->lost_pages;
	offer->has_user_namespace = has_user_namespace(spec->pid);
	offer->mode = self->mode;
	offer->required_paths = calloc(spec->required->count + 1, sizeof(char *));
	for (size_t i = 0; offer->required_paths != NULL && i < spec->required->count; i++)
		offer->required_paths[offer->n_required_paths++] = text_copy(spec->required->items[i]);
	if (r == 0)
		r = load_passed(spec->record, &offer->record, err);
	if (r == 0)
		r = load_passed(spec->config, &offer->config_json, err);
	if (r == 0)
		r = load_passed(spec->limits, &offer->limits, err);
	return r;
}

/* When it is known what the target understands of it. */
static int describe(struct sender_state *self, Hydra__V1__HandoffOffer *offer, struct error *err)
{
	size_t size;

	if ((self->target_capabilities & HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_TMPFS) == 0)
		carried_leave(&self->carried, self->metadata);
	if (send_offer_trees(self, offer, err) < 0)
		return err->code;
	size = hydra__v1__checkpoint_metadata__get_packed_size(self->metadata);
	offer->metadata.data = malloc(size + 1);
	if (offer->metadata.data == NULL)
		return fail_errno(err, ENOMEM, "describe the container");
	offer->metadata.len = hydra__v1__checkpoint_metadata__pack(self->metadata, offer->metadata.data);
	return 0;
}

/* Of what comes now, and of everything before the commit. */
static void begin_deadline(struct sender_state *self, enum deadline deadline)
{
	uint64_t now = clock_monotonic_ns(), limit = self->spec->deadlines_ns[deadline], whole = self->spec->deadlines_ns[DEADLINE_COMMIT];

	self->session.deadline_ns = limit > 0 ? now + limit : 0;
	self->session.deadline_name = deadline_name(deadline);
	if (whole > 0 && (limit == 0 || self->began_ns + whole < self->session.deadline_ns)) {
		self->session.deadline_ns = self->began_ns + whole;
		self->session.deadline_name = deadline_name(DEADLINE_COMMIT);
	}
}

/* It reads a layer there, which may be large: that is no reason to give up. */
static void wait_on(void *context)
{
	begin_deadline(context, DEADLINE_PREFLIGHT);
}

static int expect_answer(struct sender_state *self, struct error *err)
{
	Hydra__V1__HandoffAnswer *answer;
	struct frame frame;
	int r = session_await(&self->session, FRAME_ANSWER, &frame, wait_on, self, err);

	if (r < 0)
		return r;
	answer = hydra__v1__handoff_answer__unpack(NULL, frame.size, frame.data);
	if (answer == NULL)
		r = fail_because(err, EPROTO, "the target's answer is not understood");
	else
		r = send_heed_answer(self, answer, err);
	hydra__v1__handoff_answer__free_unpacked(answer, NULL);
	return r;
}

static int list_layer(struct sender_state *self, struct error *err)
{
	if (self->spec->layer == NULL)
		return 0;
	self->layer_fd = open(self->spec->layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (self->layer_fd < 0)
		return fail_errno(err, errno, "open '%s'", self->spec->layer);
	return layer_list_take(&self->layer_before, self->layer_fd, err);
}

int send_preflight(struct sender_state *self, struct error *err)
{
	Hydra__V1__HandoffOffer *offer = malloc(sizeof(*offer));
	int r;

	if (offer == NULL)
		return fail_errno(err, ENOMEM, "offer the container");
	self->began_ns = clock_monotonic_ns();
	progress_phase(&self->progress, SOURCE_PREFLIGHT, NULL, NULL);
	send_note_usage(self);
	hydra__v1__handoff_offer__init(offer);
	r = send_open_trees(self, err);
	begin_deadline(self, DEADLINE_PREFLIGHT);
	if (r == 0 && !self->spec->is_dry_run)
		r = facts_ensure_pipe_size(err);
	if (r == 0)
		r = list_layer(self, err);
	if (r == 0)
		r = metadata_collect(&self->metadata, self->spec->id, self->spec->pid, self->spec->criu, err);
	/* what a user namespace may mount would have to belong to it */
	if (r == 0 && !has_user_namespace(self->spec->pid))
		r = carried_find(&self->carried, self->metadata, self->spec->pid, err);
	if (r == 0)
		r = fill_offer(self, offer, err);
	if (r == 0)
		r = send_connect(self, HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_MIGRATE, err);
	if (r == 0)
		r = send_agree(self, offer, err);
	if (r == 0)
		r = describe(self, offer, err);
	if (r == 0)
		r = link_queue_message(&self->session.link, FRAME_OFFER, offer, err);
	if (r == 0)
		r = expect_answer(self, err);
	self->problems.host = NULL; /* it was the offer's */
	hydra__v1__handoff_offer__free_unpacked(offer, NULL);
	return r;
}

static void report_bytes(void *context, uint64_t bytes_done)
{
	struct sender_state *self = context;

	if (bytes_done < self->bytes_of_tree) /* another one has begun */
		self->bytes_before += self->bytes_of_tree;
	self->bytes_of_tree = bytes_done;
	self->progress.bytes_done = self->bytes_before + bytes_done;
	self->progress.bytes_sent = self->session.link.bytes_sent;
	progress_update(&self->progress);
}

static void begin_tree(struct sender_state *self)
{
	self->bytes_before = self->progress.bytes_done;
	self->bytes_of_tree = 0;
}

/* The target acknowledges the first pass, so that nothing of it is under way when the container stops. */
static int sync_layer(struct sender_state *self, struct error *err)
{
	struct layer_list nothing = {0};
	struct layer_progress progress = {report_bytes, self};
	auto_free char *mode = text_format(",\"mode\":\"%s\"", mode_name(self->mode));
	struct frame frame;
	int r;

	self->progress.bytes_total = self->layer_before.bytes + send_trees_bytes(self);
	begin_deadline(self, DEADLINE_SYNC);
	progress_phase(&self->progress, SOURCE_SYNC, NULL, mode);
	transport_pace(&self->session.link.transport, self->spec->bandwidth);
	r = send_lower(self, &progress, err);
	begin_tree(self);
	if (r == 0 && self->spec->layer == NULL)
		r = link_queue(&self->session.link, FRAME_LAYER_DONE, NULL, 0, err);
	else if (r == 0)
		r = layer_send(&self->session, self->layer_fd, &self->layer_before, &nothing, &(struct string_set){0}, &progress, err);
	if (r == 0)
		r = carried_send(&self->carried, &self->session, NULL, err);
	begin_tree(self);
	if (r == 0)
		r = carried_send(&self->volumes, &self->session, &progress, err);
	return r == 0 ? session_expect(&self->session, FRAME_ACKNOWLEDGED, &frame, err) : r;
}

static int sync_rest(struct sender_state *self, struct error *err)
{
	struct layer_list now = {0};
	struct string_set mapped = {0};
	int r;

	if (self->spec->layer == NULL)
		return link_queue(&self->session.link, FRAME_LAYER_DONE, NULL, 0, err);
	r = layer_list_take(&now, self->layer_fd, err);
	if (r == 0)
		r = layer_collect_mapped(&mapped, self->spec->pid, err);
	if (r == 0)
		r = layer_send(&self->session, self->layer_fd, &now, &self->layer_before, &mapped, NULL, err);
	layer_list_deinit(&now);
	string_set_deinit(&mapped);
	return r;
}

static int prepare_images(struct sender_state *self, struct error *err)
{
	int r = dir_remove_all(AT_FDCWD, self->spec->work, err);

	return r == 0 ? dir_make_all(self->spec->work, 0700, err) : r;
}

static int write_metadata(struct sender_state *self, struct error *err)
{
	auto_close int fd = open(self->spec->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? fail_errno(err, errno, "open '%s'", self->spec->work) : metadata_write(self->metadata, fd, err);
}

static int freeze(struct sender_state *self, struct error *err)
{
	auto_free char *parent = text_format(ROUND_FOLDER "%u", self->rounds);
	struct dump_spec dump = {.criu = self->spec->criu, .id = self->spec->id, .init = self->spec->pid, .images = self->spec->work, .holds = self->spec->holds,
				 .timeout_s = (int) ((self->spec->deadlines_ns[DEADLINE_FREEZE] + NS_PER_S - 1) / NS_PER_S),
				 .is_complete = !mode_is_lazy(self->mode), .parent = self->rounds > 0 ? parent : NULL};
	auto_free char *heat = NULL;
	int r = write_metadata(self, err);

	if (r == 0)
		r = dump_park_prepare(&self->dump, &dump, err);
	if (r == 0)
		heat = send_heat(self);
	fault_point("send.before-freeze");
	begin_deadline(self, DEADLINE_FREEZE);
	progress_phase(&self->progress, SOURCE_FREEZE, NULL, heat);
	transport_pace(&self->session.link.transport, 0); /* now the container waits */
	if (r == 0)
		r = send_record_begun(self, err);
	if (r == 0)
		r = packets_listen(self->spec->mac, &self->packets_fd, err);
	if (r == 0)
		r = veth_silence(self->spec->veth, self->spec->bridge, err);
	self->is_unplugged = r == 0;
	self->frozen_ns = clock_realtime_ns();
	if (r == 0)
		r = dump_park_start(&self->dump, &dump, self->metadata, err);
	for (int goes_on = DUMP_GOES_ON; r == 0 && goes_on == DUMP_GOES_ON;) {
		r = session_wait_fd(&self->session, self->dump.worker.socket_fd, err);
		goes_on = r == 0 ? dump_park_continue(&self->dump, err) : r;
		r = goes_on < 0 ? goes_on : 0;
	}
	self->parked_ns = clock_realtime_ns();
	/* before the target says a word: the same address must not be heard from two places */
	if (r == 0)
		r = veth_unplug(self->spec->veth, self->spec->bridge, err);
	fault_point("send.frozen");
	progress_phase(&self->progress, SOURCE_IMAGES, NULL, NULL);
	if (r == 0)
		r = dump_correct_images(self->dump.images_fd, err);
	if (r == 0)
		r = dump_save_input(self->metadata, self->spec->pid, self->dump.images_fd, err);
	if (r == 0)
		r = page_server_init(&self->pages, self->spec->pid, err);
	if (r == 0)
		send_choose_compression(self);
	return r;
}

/* With what the standstill was spent on up to here. */
static void tell_committed(struct sender_state *self)
{
	auto_free char *extra = text_format(",\"frozen_ns\":%" PRIu64 ",\"parked_ns\":%" PRIu64 ",\"sent_ns\":%" PRIu64, self->frozen_ns,
					    self->parked_ns, self->sent_ns);

	progress_phase(&self->progress, SOURCE_COMMITTED, NULL, extra);
}

static void tell_done(struct sender_state *self)
{
	auto_free char *extra = sums_extra(self->sums);

	progress_phase(&self->progress, SOURCE_DONE, NULL, extra);
}

static int commit(struct sender_state *self, struct error *err)
{
	int r;

	if (session_was_cancelled(&self->session))
		return fail_because(err, ECANCELED, "the migration was cancelled");
	fault_point("send.prepared");
	self->session.deadline_ns = 0; /* nothing may be given up any more because of a clock */
	criu_worker_tell(&self->dump.worker, GUARD_COMMITTED);
	send_stop(self);
	r = handover_write(self->spec->state, &self->record, HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED, err);
	if (r < 0)
		return fail_while(err, "record the hand-over"); /* give_back() continues them */
	self->is_committed = true;
	fault_point("send.committed");
	tell_committed(self);
	return session_say(&self->session, FRAME_GO, self->spec->epoch, NULL, err);
}

static int run_until_commit(struct sender_state *self, struct error *err)
{
	int r = send_preflight(self, err);

	if (r == 0)
		r = sync_layer(self, err);
	if (r == 0)
		r = prepare_images(self, err);
	if (r == 0 && mode_has_rounds(self->mode))
		r = send_rounds(self, err);
	if (r == 0 && mode_is_lazy(self->mode))
		send_connect_faults(self);
	if (r == 0)
		r = freeze(self, err);
	if (r == 0)
		r = sync_rest(self, err);
	if (r == 0)
		r = carried_send_rest(&self->carried, &self->session, self->spec->pid, err);
	if (r == 0)
		r = carried_send_rest(&self->volumes, &self->session, self->spec->pid, err);
	if (r == 0)
		r = send_images(self, self->spec->work, err);
	if (r == 0)
		r = session_flush(&self->session, 0, err);
	self->sent_ns = clock_realtime_ns();
	progress_phase(&self->progress, SOURCE_VOTE, NULL, NULL);
	fault_point("send.after-images");
	if (r == 0)
		r = send_serve(self, FRAME_PREPARED, err);
	return r == 0 ? commit(self, err) : r;
}

/* The tasks run on as if nothing had been: their network first, then their sockets, then they. */
static void give_back(struct sender_state *self)
{
	struct error err;

	dump_settle(&self->dump);
	if (self->is_unplugged && veth_plug_again(self->spec->veth, self->spec->bridge, &err) < 0)
		log_error("network could not be plugged again", "container=%s reason=\"%s\"", self->spec->id, err.message);
	if (self->dump.worker.pid > 0 && tcp_repair_off(self->spec->pid, &err) < 0)
		log_error("TCP connections could not be given back", "container=%s reason=\"%s\"", self->spec->id, err.message);
	dump_abort(&self->dump);
	if (self->pages.tasks.count > 0 && send_continue(self, &err) < 0)
		log_error("tasks could not be continued", "container=%s reason=\"%s\"", self->spec->id, err.message);
	send_give_packets_back(self);
}

void send_clean_up(struct sender_state *self)
{
	session_close(&self->session);
	link_deinit(&self->faults);
	page_server_deinit(&self->pages);
	hydra__v1__handoff_sums__free_unpacked(self->sums, NULL);
	layer_list_deinit(&self->layer_before);
	carried_deinit(&self->carried);
	send_close_trees(self);
	problems_deinit(&self->problems);
	free(self->record.stopped_pids);
	free(self->boot_id);
	free(self->departure);
	owned_fd_release(&self->layer_fd);
	owned_fd_release(&self->packets_fd);
	hydra__v1__checkpoint_metadata__free_unpacked(self->metadata, NULL);
}

static char *known(const char *text)
{
	return (char *) (uintptr_t) (text != NULL ? text : "");
}

enum send_outcome send_run(const struct send_spec *spec, struct error *err)
{
	struct sender_state self = {.spec = spec, .mode = spec->mode, .dump = PARKED_DUMP_NONE, .layer_fd = FD_NONE, .packets_fd = FD_NONE, .carried = CARRIED_NONE,
				    .volumes = CARRIED_NONE, .lower = LAYER_FOLDER_NONE,
				    .progress = {.fd = spec->progress_fd}, .record = HYDRA__V1__HANDOVER_RECORD__INIT};
	enum send_outcome outcome = SEND_MOVED;

	self.session.signal_fd = self.session.link.transport.fd = self.faults.transport.fd = FD_NONE;
	self.record.migration_id = (char *) (uintptr_t) spec->migration_id;
	self.record.epoch = spec->epoch;
	self.record.container_id = (char *) (uintptr_t) spec->id;
	self.record.container_namespace = (char *) (uintptr_t) spec->container_namespace;
	self.record.peer = known(spec->connect);
	self.record.pid = (uint32_t) spec->pid;
	self.record.pid_start_time = process_start_time(spec->pid);
	self.record.ca = known(spec->files.ca);
	self.record.certificate = known(spec->files.certificate);
	self.record.key = known(spec->files.key);
	self.record.work = known(spec->work);
	self.record.bandwidth = spec->bandwidth;
	self.record.compress = known(spec->compress);
	self.record.veth = known(spec->veth);
	self.record.bridge = known(spec->bridge);
	self.record.lost_pages = spec->lost_pages;
	if (run_until_commit(&self, err) < 0 && !self.is_committed) {
		give_back(&self);
		progress_phase(&self.progress, SOURCE_FAILED, err->message, NULL);
		session_abort(&self.session, err->message);
		outcome = SEND_STAYED;
	} else if (send_until_done(&self, err) < 0) {
		outcome = send_end_without_done(&self, err);
	} else {
		send_bury(&self);
		tell_done(&self);
	}
	if (outcome != SEND_IN_DOUBT)
		departure_forget(&self.record);
	if (outcome != SEND_IN_DOUBT)
		(void) dir_remove_all(AT_FDCWD, spec->work, &(struct error){0});
	send_clean_up(&self);
	return outcome;
}
