/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/replacement.h"

#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"

#include <errno.h>
#include <stdlib.h>

static void give_up(struct replacement *self, const struct error *err)
{
	event_loop_disarm(self->loop, &self->timer);
	free(self->path);
	self->path = NULL;
	self->call = NULL;
	self->program->gave_up(self->context, err);
}

static void abandoned(struct ttrpc_call *call)
{
	give_up(call->user, NULL);
	ttrpc_reply_empty(call);
}

static void replace_now(struct event_timer *timer)
{
	struct replacement *self = timer->context;
	struct ttrpc_call *call = self->call;
	struct error err;

	if (call == NULL || !self->program->is_quiet(self->context))
		return;
	(void) self->program->execute(self->context, self->path, &err);
	call->on_abandoned = NULL;
	ttrpc_refuse_error(call, &err);
	give_up(self, &err);
}

void replacement_consider(struct replacement *self)
{
	if (self->call != NULL && self->program->is_quiet(self->context))
		event_loop_arm(self->loop, &self->timer, 0);
}

void replacement_ask(struct replacement *self, struct ttrpc_call *call, const char *path, const struct replacement_program *program,
		     struct event_loop *loop, void *context)
{
	struct error err;
	int r = self->call != NULL ? fail_because(&err, EBUSY, "upgrade: another one is under way") : reexec_check(path, &err);

	if (r < 0) {
		ttrpc_refuse_error(call, &err);
		return;
	}
	*self = (struct replacement){.call = call, .path = text_copy(path), .loop = loop, .program = program, .context = context};
	self->timer = (struct event_timer){.handle = replace_now, .context = self};
	call->user = self;
	call->on_abandoned = abandoned;
	replacement_consider(self);
}

int replacement_execute(const char *path, const char *const *argv, const ProtobufCMessage *sealed, sealed_fds_visit *visit_fds,
			struct error *err)
{
	auto_free uint8_t *state = NULL;
	size_t size = 0;
	int r = sealed != NULL ? message_encode(sealed, &state, &size, err) : fail_errno(err, ENOMEM, "seal the state");

	if (r < 0)
		return r;
	visit_fds(sealed, reexec_keep);
	r = reexec(path, argv, state, size, err);
	visit_fds(sealed, reexec_keep_not);
	return r;
}

int replacement_read(const struct reexec_options *options, const ProtobufCMessageDescriptor *descriptor, const char *whose,
		     ProtobufCMessage **ret_sealed, struct error *err)
{
	auto_free uint8_t *data = NULL;
	ProtobufCMessage *sealed;
	size_t size = 0;
	int r = reexec_read(options, &data, &size, err);

	if (r < 0)
		return r;
	sealed = message_decode(descriptor, data, size);
	if (sealed == NULL)
		return fail_because(err, EPROTO, "the state is not one of %s", whose);
	*ret_sealed = sealed;
	return 0;
}
