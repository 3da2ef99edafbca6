/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRIU's options as we always want them, with the lists they point to.
 */
#pragma once

#include "checkpoint.pb-c.h"
#include "rpc.pb-c.h"

#define CRIU_LISTS_MAX 1024

struct criu_options {
	CriuOpts opts;
	CriuReq request;
	char *external[CRIU_LISTS_MAX];
	InheritFd inherit[8];
	InheritFd *inherit_list[8];
};

/* type: CRIU_REQ_TYPE__DUMP or __RESTORE; images_fd is ours, CRIU opens it through /proc. Options that a
 * configuration file of the host could set are set explicitly. */
void criu_options_init(struct criu_options *self, CriuReqType type, int images_fd, const char *log_name);
void criu_options_deinit(struct criu_options *self);
/* Takes text. Silently ignores what is beyond CRIU_LISTS_MAX: callers check the count of mounts. */
void criu_options_add_external(struct criu_options *self, char *text);
/* At a restore: number (in CRIU) becomes what was called key; key is the caller's and must outlive self. */
void criu_options_inherit(struct criu_options *self, const char *key, int number);
