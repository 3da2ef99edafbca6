/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container in doubt: the target said it would take it and can't be asked what became of it, or its copy there is lost.
 * An administrator decides; the target's word, if it can be had, comes first.
 */
#include "checkpoint/send.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/owned.h"
#include "checkpoint/departure.h"

int send_ask(struct sender_state *self, int purpose, Hydra__V1__HandoffVerdict **ret_verdict, struct error *err)
{
	struct frame frame;
	int r;

	session_close(&self->session);
	r = send_connect(self, purpose, err);
	if (r == 0)
		r = session_expect(&self->session, FRAME_VERDICT, &frame, err);
	if (r == 0) {
		*ret_verdict = hydra__v1__handoff_verdict__unpack(NULL, frame.size, frame.data);
		if (*ret_verdict == NULL)
			r = fail_because(err, EPROTO, "the target's verdict is not understood");
	}
	session_close(&self->session);
	return r;
}

/* Where it may live, by what the target says; NULL: it can't be asked, or knows nothing. */
static int check_verdict(const Hydra__V1__HandoffVerdict *verdict, bool to_source, const char *peer, struct error *err)
{
	if (verdict == NULL || verdict->state == HYDRA__V1__HANDOVER_STATE__HANDOVER_UNKNOWN)
		return 0;
	if (verdict->state == HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED)
		return to_source ? 0 : fail_because(err, EBUSY, "%s says that it never ran there; it can only go on here (--resolve source)", peer);
	if (to_source && !verdict->is_lost)
		return fail_because(err, EBUSY, "%s says that it runs there; nothing has to be decided (--resume goes on with its memory)", peer);
	return 0;
}

static int decide(struct sender_state *self, bool to_source, struct error *err)
{
	int r;

	self->record.is_resolved = true;
	r = handover_write(self->spec->state, &self->record, to_source ? HYDRA__V1__HANDOVER_STATE__HANDOVER_ABORTED
									   : HYDRA__V1__HANDOVER_STATE__HANDOVER_DONE, err);
	if (r == 0)
		departure_forget(&self->record);
	return r;
}

static int ask_and_decide(struct sender_state *self, bool to_source, struct error *err)
{
	Hydra__V1__HandoffVerdict *verdict = NULL;
	struct error unheard;
	int r;

	if (send_ask(self, HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_QUERY, &verdict, &unheard) < 0)
		log_warning("decided without the target's word", "container=%s target=%s reason=\"%s\"", self->spec->id, self->spec->connect,
			    unheard.message);
	r = check_verdict(verdict, to_source, self->spec->connect, err);
	hydra__v1__handoff_verdict__free_unpacked(verdict, NULL);
	verdict = NULL;
	if (r == 0)
		r = decide(self, to_source, err);
	/* whoever may live there must not wait for us, nor run beside us */
	if (r == 0 && send_ask(self, HYDRA__V1__HANDOFF_PURPOSE__HANDOFF_LOST, &verdict, &unheard) == 0)
		hydra__v1__handoff_verdict__free_unpacked(verdict, NULL);
	return r;
}

int send_resolve(const struct send_spec *spec, bool to_source, struct error *err)
{
	Hydra__V1__HandoverRecord *fence = NULL;
	struct send_spec whole;
	struct sender_state self = {.spec = &whole, .dump = PARKED_DUMP_NONE, .layer_fd = FD_NONE, .packets_fd = FD_NONE, .carried = CARRIED_NONE,
				    .volumes = CARRIED_NONE, .lower = LAYER_FOLDER_NONE, .progress = {.fd = FD_NONE}};
	int r = handover_read(spec->state, &fence, err);

	self.session.signal_fd = self.session.link.transport.fd = self.faults.transport.fd = FD_NONE;
	if (r < 0)
		return r;
	if (strcmp(spec->migration_id, fence->migration_id) != 0 || fence->state != HYDRA__V1__HANDOVER_STATE__HANDOVER_COMMITTED) {
		hydra__v1__handover_record__free_unpacked(fence, NULL);
		return fail_because(err, EINVAL, "the container is not in doubt");
	}
	whole = send_spec_of(spec, fence);
	self.record = *fence;
	r = ask_and_decide(&self, to_source, err);
	hydra__v1__handover_record__free_unpacked(fence, NULL);
	return r;
}
