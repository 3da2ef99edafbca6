/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CRIU to use, and whether it can work on this kernel.
 */
#pragma once

#include "base/error.h"

#define CRIU_VERSION_TEXT_SIZE 32

struct criu {
	char *path;
	int version; /* 40201 for 4.2.1 */
	char version_text[CRIU_VERSION_TEXT_SIZE];
};

/* Looks at configured (may be NULL), HYDRA_CRIU, PATH and the usual prefixes; then asks it for its version and
 * compares that with the running kernel. -ENOENT: there is none; -EOPNOTSUPP: it is too old. */
int criu_find(struct criu *self, const char *configured, struct error *err);
void criu_deinit(struct criu *self);

/* "4.2.1" -> 40201, "6.18.44-x" -> 61844; -EINVAL when it is no version. */
int version_parse(const char *text, int *ret_version);
/* The oldest CRIU that works on this kernel (both as version_parse gives them). */
int criu_oldest_for_kernel(int kernel_version);
