/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container of the same name that is about to be gone here: somebody removes it, or its migration was called off. The source goes on
 * at once then, and may try again before the last of that is removed; so its name is waited for.
 */
#include "checkpoint/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "state/record.h"

#define LEAVING_MS 10000ULL

static bool was_called_off(const struct receiver *self, const record *container)
{
	const Hydra__V1__Migration *migration = container->migration;
	auto_free char *path = NULL;

	if (migration == NULL || self->spec->verdicts == NULL || container->state != HYDRA__V1__CONTAINER_STATE__STATE_RESTORING)
		return false;
	path = text_format("%s/%s", self->spec->verdicts, migration->id);
	return verdict_is_aborted(path);
}

static bool is_leaving(const struct receiver *self, const char *path)
{
	auto_close int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_record *container = NULL;
	struct error err;

	if (dir_fd < 0)
		return false;
	if (record_load(dir_fd, &container, &err) < 0)
		return err.code == -ENOENT; /* on its way out it may be gone before the folder is */
	return container->state == HYDRA__V1__CONTAINER_STATE__STATE_REMOVING || was_called_off(self, container);
}

static int wait_for_end(struct receiver *self, const char *path, int news_fd, struct error *err)
{
	char news[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	int r = 0;

	while (r == 0 && is_leaving(self, path)) {
		fault_point("receive.waits-for-name");
		r = session_wait_fd(&self->session, news_fd, err);
		while (read(news_fd, news, sizeof(news)) > 0)
			continue;
	}
	return r;
}

int receive_wait_for_name(struct receiver *self, struct error *err)
{
	const Hydra__V1__HandoffOffer *offer = self->offer;
	auto_free char *parent = text_format("%s/%s", self->spec->run_root, offer->container_namespace);
	auto_free char *path = text_format("%s/%s", parent, offer->container_id);
	auto_close int news_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	uint64_t deadline_ns = self->session.deadline_ns;
	const char *deadline_name = self->session.deadline_name;
	int r;

	if (news_fd < 0 || inotify_add_watch(news_fd, parent, IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR) < 0)
		return 0; /* no container of this namespace is here; or it is seen that it is in the way */
	self->session.deadline_ns = clock_monotonic_ns() + LEAVING_MS * NS_PER_MS;
	self->session.deadline_name = "leaving";
	r = wait_for_end(self, path, news_fd, err);
	self->session.deadline_ns = deadline_ns;
	self->session.deadline_name = deadline_name;
	return r == -ETIMEDOUT ? 0 : r;
}
