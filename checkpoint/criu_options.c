/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/criu_options.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Errors, warnings and what was being done: costs less than 1 ms for a small container. */
#define CRIU_LOG_LEVEL 4
/* Files that were deleted while open are carried in the images up to this size. */
#define GHOST_LIMIT_BYTES (64U << 20)

void criu_options_init(struct criu_options *self, CriuReqType type, int images_fd, const char *log_name)
{
	memset(self, 0, sizeof(*self));
	criu_opts__init(&self->opts);
	criu_req__init(&self->request);
	self->request.type = type;
	self->request.opts = &self->opts;
	self->opts.images_dir_fd = images_fd;
	self->opts.has_log_level = true;
	self->opts.log_level = CRIU_LOG_LEVEL;
	self->opts.log_file = (char *) (uintptr_t) log_name;
	self->opts.has_manage_cgroups_mode = true;
	self->opts.manage_cgroups_mode = CRIU_CG_MODE__IGNORE;
	self->opts.has_network_lock = true;
	self->opts.network_lock = CRIU_NETWORK_LOCK_METHOD__SKIP;
	self->opts.has_tcp_established = true;
	self->opts.tcp_established = true;
	self->opts.has_file_locks = true;
	self->opts.file_locks = true;
	self->opts.has_orphan_pts_master = true;
	self->opts.orphan_pts_master = true;
	self->opts.has_ghost_limit = true;
	self->opts.ghost_limit = GHOST_LIMIT_BYTES;
	self->opts.has_ext_unix_sk = true;
	self->opts.ext_unix_sk = false;
	self->opts.has_shell_job = true;
	self->opts.shell_job = false;
	self->opts.external = self->external;
	self->opts.inherit_fd = self->inherit_list;
}

void criu_options_deinit(struct criu_options *self)
{
	for (size_t i = 0; i < self->opts.n_external; i++)
		free(self->external[i]);
	self->opts.n_external = 0;
}

void criu_options_add_external(struct criu_options *self, char *text)
{
	if (self->opts.n_external < CRIU_LISTS_MAX)
		self->external[self->opts.n_external++] = text;
	else
		free(text);
}

void criu_options_inherit(struct criu_options *self, const char *key, int number)
{
	size_t index = self->opts.n_inherit_fd;

	assert(index < sizeof(self->inherit) / sizeof(self->inherit[0]));
	inherit_fd__init(&self->inherit[index]);
	self->inherit[index].key = (char *) (uintptr_t) key;
	self->inherit[index].fd = number;
	self->inherit_list[index] = &self->inherit[index];
	self->opts.n_inherit_fd++;
}
