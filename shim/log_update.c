/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another log for a container that runs.
 */
#include "base/log.h"
#include "base/owned.h"
#include "proto/message.h"
#include "shim/container.h"
#include "state/log_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the request names takes the place of what there is. */
static bool merge(Hydra__V1__LogConfig *log, const Hydra__V1__LogConfig *changes)
{
	if (changes->format != HYDRA__V1__LOG_FORMAT__LOG_FORMAT_DEFAULT)
		log->format = changes->format;
	if (changes->policy != HYDRA__V1__LOG_POLICY__LOG_POLICY_DEFAULT)
		log->policy = changes->policy;
	if (changes->max_size_bytes != 0)
		log->max_size_bytes = changes->max_size_bytes;
	if (changes->max_files != 0)
		log->max_files = changes->max_files;
	if (changes->spill_size_bytes != 0)
		log->spill_size_bytes = changes->spill_size_bytes;
	return changes->path[0] == '\0' || message_set_string(&log->path, changes->path);
}

/* So that it is still found: the path before and what is in it. */
static bool remember(record *self, const Hydra__V1__LogConfig *log)
{
	auto_message Hydra__V1__LogConfig *before = NULL;

	if (strcmp(self->log->path, log->path) == 0)
		return true;
	before = malloc(sizeof(*before));
	if (before == NULL)
		return false;
	hydra__v1__log_config__init(before);
	before->format = self->log->format;
	if (!message_set_string(&before->path, self->log->path))
		return false;
	message_free(self->log_before);
	self->log_before = take_ptr(&before);
	return true;
}

int container_update_log(struct container *self, const Hydra__V1__LogConfig *changes, struct error *err)
{
	auto_message Hydra__V1__LogConfig *log = NULL;
	bool is_containerds = self->record->containerd != NULL;
	int r = 0;

	if (is_containerds && (changes->path[0] != '\0' || changes->format != HYDRA__V1__LOG_FORMAT__LOG_FORMAT_DEFAULT ||
			       changes->max_size_bytes != 0 || changes->max_files != 0))
		return fail_because(err, EOPNOTSUPP, "output of container '%s' goes to containerd: only policy and spill-size can be changed",
				    self->dir.id);
	if (self->record->log == NULL || (self->record->log->path[0] == '\0' && !is_containerds))
		return fail_because(err, EOPNOTSUPP, "container '%s' has no log of ours", self->dir.id);
	if (protobuf_c_enum_descriptor_get_value(&hydra__v1__log_format__descriptor, (int) changes->format) == NULL ||
	    protobuf_c_enum_descriptor_get_value(&hydra__v1__log_policy__descriptor, (int) changes->policy) == NULL)
		return fail_because(err, EINVAL, "change the log of '%s': a format or policy that this shim does not know", self->dir.id);
	log = (Hydra__V1__LogConfig *) (void *) message_copy(&self->record->log->base);
	if (log == NULL || !merge(log, changes))
		return fail_errno(err, ENOMEM, "change the log of '%s'", self->dir.id);
	if (self->init != NULL && self->init->log != NULL)
		r = output_update(self->init->log, log, err);
	if (r < 0)
		return r;
	if (!remember(self->record, log))
		log_warning("the log's path before is forgotten", "container=%s", self->dir.id);
	message_free(self->record->log);
	self->record->log = take_ptr(&log);
	if (self->init != NULL)
		process_resume_output(self->init);
	return 0;
}
