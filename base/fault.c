/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"

#if HYDRA_FAULT_POINTS

#include "base/text.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fault_point(const char *name)
{
	const char *folder = getenv("HYDRA_FAULTS");
	char order_path[512];
	char arrived_path[512];
	char order[16] = "";
	int fd;

	if (folder == NULL || !text_fit(order_path, sizeof(order_path), "%s/%s", folder, name) ||
	    !text_fit(arrived_path, sizeof(arrived_path), "%s/%s.arrived", folder, name))
		return;
	fd = open(order_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void) !read(fd, order, sizeof(order) - 1);
	(void) close(fd);
	if (rename(order_path, arrived_path) < 0)
		return;
	(void) raise(text_has_prefix(order, "stop") ? SIGSTOP : SIGKILL);
}

const char *fault_setting(const char *variable)
{
	return getenv(variable);
}

#else

void fault_point(const char *name)
{
	(void) name;
}

const char *fault_setting(const char *variable)
{
	(void) variable;
	return NULL;
}

#endif
