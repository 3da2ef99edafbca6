/* SPDX-License-Identifier: Apache-2.0 */
#include "base/owned.h"
#include "cli/cli.h"
#include "proto/message.h"
#include "state/exit_record.h"
#include "state/run_dir.h"

#include <errno.h>

#define STATE_TIMEOUT_MS 2000

static int view_of_shim(const struct cli *cli, const char *id, struct container_view *view, struct error *err)
{
	Hydra__V1__Empty request = HYDRA__V1__EMPTY__INIT;
	auto_message Hydra__V1__StateResponse *response = NULL;
	int r = cli_call_shim(cli, id, "State", &request.base, &hydra__v1__state_response__descriptor, STATE_TIMEOUT_MS,
			      &response, err);

	if (r < 0)
		return r;
	if (response->record == NULL)
		return fail_because(err, EPROTO, "the shim of '%s' sent no record", id);
	view->record = take_ptr(&response->record);
	view->exit = take_ptr(&response->exit);
	view->is_reachable = true;
	view->state = state_name(view->record->state);
	return 0;
}

static int view_of_disk(const struct cli *cli, const char *id, struct container_view *view, struct error *err)
{
	struct run_dir dir;
	struct error ignored;
	int r = run_dir_open(&dir, cli->root, cli->namespace, id, err);

	if (r < 0)
		return r;
	r = record_load(dir.fd, &view->record, err);
	if (r == 0) {
		(void) exit_record_load(dir.fd, "", &view->exit, &ignored);
		view->is_reachable = false;
		/* only what nobody owns any more is what its record says */
		view->state = view->record->state != HYDRA__V1__CONTAINER_STATE__STATE_STOPPED
				      ? state_name(HYDRA__V1__CONTAINER_STATE__STATE_UNKNOWN)
				      : state_name(view->record->state);
		if (run_dir_is_locked(&dir, LOCK_SETUP))
			view->state = state_name(view->record->state);
	}
	run_dir_close(&dir);
	return r == -ENOENT ? fail_because(err, ENOENT, "no container '%s'", id) : r;
}

int cli_view(const struct cli *cli, const char *id, struct container_view *ret_view, struct error *err)
{
	struct error ignored;
	int r = id_check("container name", id, err);

	*ret_view = (struct container_view){0};
	if (r < 0)
		return r;
	return view_of_shim(cli, id, ret_view, &ignored) == 0 ? 0 : view_of_disk(cli, id, ret_view, err);
}

void container_view_deinit(struct container_view *self)
{
	record_free(self->record);
	message_free(self->exit);
	*self = (struct container_view){0};
}
