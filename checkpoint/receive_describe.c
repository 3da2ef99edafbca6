/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another host asks what sort of host this is. Nothing is received, and nothing is left.
 */
#include "checkpoint/receive.h"

#include "base/text.h"
#include "checkpoint/facts.h"
#include "checkpoint/host_state.h"

int receive_describe(struct receiver *self, struct error *err)
{
	Hydra__V1__HandoffAnswer message = HYDRA__V1__HANDOFF_ANSWER__INIT;
	Hydra__V1__HandoffHostState *state;
	Hydra__V1__HandoffFacts *facts;
	struct error problem = ERROR_NONE;
	int r = receive_say_hello(self, err);

	/* what takes time comes before the look at the clock, which the other host compares with its own */
	if (r == 0)
		r = session_flush(&self->session, 0, err);
	(void) criu_find(&self->criu, self->spec->criu_path, &problem);
	facts = facts_collect(problem.code == 0 ? &self->criu : NULL);
	state = host_state_collect(self->spec->run_root);
	state->criu_problem = text_copy(problem.message);
	message.is_accepted = true;
	message.facts = facts;
	message.state = state;
	if (r == 0)
		r = link_queue_message(&self->session.link, FRAME_ANSWER, &message, err);
	if (r == 0)
		r = session_flush(&self->session, 0, err);
	hydra__v1__handoff_facts__free_unpacked(facts, NULL);
	hydra__v1__handoff_host_state__free_unpacked(state, NULL);
	return r;
}
