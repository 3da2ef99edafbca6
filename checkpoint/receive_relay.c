/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that comes back after a loss, or with one more connection. This worker has its connection; the one that has the tasks'
 * memory waits for it, or has ended because all of it was there.
 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd_pass.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#include <fcntl.h>

#define RELAY_BYTES (256U << 10)

/* Moves what is there from one side to the other. 1: there may be more, 0: nothing now, -1: one side closed. */
static int relay_some(struct transport *from, struct transport *to, unsigned char *buffer)
{
	ssize_t got = transport_read(from, buffer, RELAY_BYTES), sent;

	if (got == -EAGAIN)
		return 0;
	if (got <= 0)
		return -1;
	for (ssize_t done = 0; done < got; done += sent) {
		struct pollfd event = {.fd = to->fd, .events = POLLOUT};

		sent = transport_write(to, buffer + done, (size_t) (got - done));
		if (sent == -EAGAIN) {
			(void) poll(&event, 1, 1000);
			sent = 0;
		} else if (sent <= 0) {
			return -1;
		}
	}
	return 1;
}

/* Until one side closes. TLS reads ahead: what it holds no descriptor tells about, so only a round without any lets us wait. */
static void relay(struct transport *peer, struct transport *local, unsigned char *buffer)
{
	struct pollfd events[] = {{.fd = peer->fd, .events = POLLIN}, {.fd = local->fd, .events = POLLIN}};
	int in = 0, out = 0;

	while (in >= 0 && out >= 0) {
		(void) poll(events, 2, in > 0 || out > 0 ? 0 : 1000);
		in = relay_some(peer, local, buffer);
		out = in >= 0 ? relay_some(local, peer, buffer) : 0;
	}
}

static bool is_for_faults(const struct receiver *self)
{
	return self->hello->purpose == HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_FAULTS;
}

/* Who has the memory may just be taking over from a killed one: the source comes again. */
static int connect_worker(struct receiver *self, int *ret_fd, struct error *err)
{
	auto_free char *path = text_format("%s/" LOCAL_SOCKET, self->work);
	auto_close int worker_fd = FD_NONE, ours = FD_NONE, theirs = FD_NONE;
	int pair[2], r = socket_connect(path, &worker_fd, err);

	if (r < 0)
		return fail_because(err, EAGAIN, "nobody has taken over migration '%s' yet", self->hello->migration_id);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail_errno(err, errno, "make a socketpair");
	ours = pair[0];
	theirs = pair[1];
	r = local_send(worker_fd, is_for_faults(self) ? LOCAL_FAULTS : LOCAL_RESUME, (int) self->hello->capabilities, NULL, theirs, err);
	if (r == 0)
		*ret_fd = take_fd(&ours);
	return r;
}

static int go_between(struct receiver *self, struct error *err)
{
	auto_free unsigned char *buffer = malloc(RELAY_BYTES);
	auto_close int fd = FD_NONE;
	struct transport local;
	int r = buffer == NULL ? fail_errno(err, ENOMEM, "relay") : connect_worker(self, &fd, err);

	if (r == 0)
		r = transport_open(&local, &fd, false, NULL, self->spec->patience_ms, err);
	if (r < 0)
		return r;
	relay(&self->session.link.transport, &local, buffer);
	transport_close(&local);
	return 0;
}

/* The source did not hear that all is here. */
static int say_done(struct receiver *self, unsigned long long epoch, struct error *err)
{
	struct frame frame;
	int r = receive_say_hello(self, err);

	if (r == 0)
		r = session_say(&self->session, FRAME_DONE, epoch, NULL, err);
	if (r == 0)
		r = session_expect(&self->session, FRAME_ACKNOWLEDGED, &frame, err);
	if (r == 0)
		receive_forget(self);
	return r;
}

/* Its work is done with the last word of it. */
static int say_verdict(struct receiver *self, const Hydra__V1__HandoverRecord *record, bool is_lost, const char *message,
		       struct error *err)
{
	Hydra__V1__HandoffVerdict verdict = HYDRA__V1__HANDOFF_VERDICT__INIT;
	int r = receive_say_hello(self, err);

	verdict.epoch = record != NULL ? record->epoch : 0;
	verdict.state = record != NULL ? record->state : 0;
	verdict.is_lost = is_lost;
	verdict.message = (char *) (uintptr_t) message;
	if (r == 0)
		r = link_queue_message(&self->session.link, FRAME_VERDICT, &verdict, err);
	if (r == 0)
		session_linger(&self->session);
	return r;
}

/* It took our connection, or hears what the source says over this one. */
static int tell_worker(const struct receiver *self, enum local_kind kind, struct error *err)
{
	auto_free char *path = text_format("%s/" LOCAL_SOCKET, self->work);
	auto_close int fd = FD_NONE;
	int r = socket_connect(path, &fd, err);

	return r == 0 ? local_send(fd, kind, LOSS_OF_SOURCE, NULL, FD_NONE, err) : r;
}

/* Nobody works on it any more and nothing of it has run: then nothing ever will. */
static int abort_for_good(struct receiver *self, Hydra__V1__HandoverRecord *record, bool is_locked, struct error *err)
{
	int r;

	if (is_locked) {
		(void) tell_worker(self, LOCAL_ASKED, err);
		return fail_because(err, EAGAIN, "the target is about to give the container up");
	}
	r = verdict_write(&self->verdict, record, HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED, err);
	return r == 0 ? say_verdict(self, record, false, "it never ran there", err) : r;
}

static bool is_of_this_boot(const Hydra__V1__HandoverRecord *record)
{
	auto_free char *boot_id = verdict_boot_id();

	return strcmp(boot_id, record->boot_id) == 0;
}

static bool is_copy_lost(const struct receiver *self, const Hydra__V1__HandoverRecord *record, const char **ret_why)
{
	auto_free char *lost = text_format("%s/" LOST_FILE, self->work);

	*ret_why = "it runs there";
	if (!is_of_this_boot(record))
		*ret_why = "the target was restarted after it had taken the container over";
	else if (path_exists(AT_FDCWD, lost))
		*ret_why = "its copy was killed, because memory it needed was lost";
	else
		return false;
	return true;
}

/* Its worker died after the commit, before the tasks could run. The folder is gone only when nobody was told to let them. */
static bool never_ran(const struct receiver *self)
{
	return !path_exists(AT_FDCWD, self->work) || local_claim(self->work, "aborted");
}

static int answer_committed(struct receiver *self, Hydra__V1__HandoverRecord *record, bool is_locked, struct error *err)
{
	const char *why;
	bool is_lost;

	if (!is_locked && is_of_this_boot(record) && never_ran(self))
		return abort_for_good(self, record, false, err);
	is_lost = is_copy_lost(self, record, &why);
	if (!is_lost && self->hello->purpose == HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_RESUME)
		return go_between(self, err);
	if (is_lost || self->hello->purpose == HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_QUERY) {
		int r = say_verdict(self, record, is_lost, why, err);

		if (r == 0 && self->hello->purpose == HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_LOST)
			receive_forget(self);
		return r;
	}
	if (tell_worker(self, LOCAL_LOST, err) < 0)
		return err->code;
	return say_verdict(self, record, true, "it goes on without the memory that it misses, or ends", err);
}

static int answer_by(struct receiver *self, Hydra__V1__HandoverRecord *record, bool is_locked, struct error *err)
{
	switch (record->state) {
	case HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE:
		if (self->hello->purpose == HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_RESUME)
			return say_done(self, record->epoch, err);
		return say_verdict(self, record, false, "it runs there and has all of its memory", err);
	case HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED:
		return answer_committed(self, record, is_locked, err);
	case HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED:
		return say_verdict(self, record, false, "it never ran there", err);
	default:
		return abort_for_good(self, record, is_locked, err);
	}
}

int receive_relay(struct receiver *self, struct error *err)
{
	auto_free char *path = receive_verdict_path(self);
	Hydra__V1__HandoverRecord *record = NULL;
	bool is_locked = false;
	int r;

	if (is_for_faults(self)) /* mostly before there is anything to record */
		return go_between(self, err);
	r = verdict_open(&self->verdict, path, &record, &is_locked, err);
	if (r == -ENOENT)
		return say_verdict(self, NULL, false, "nothing is known of it there", err);
	if (r == 0)
		r = answer_by(self, record, is_locked, err);
	hydra__v1__handover_record__free_unpacked(record, NULL);
	return r;
}
