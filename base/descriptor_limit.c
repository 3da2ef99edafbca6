/* SPDX-License-Identifier: Apache-2.0 */
#include "base/descriptor_limit.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

static struct rlimit before;
static bool is_raised;

unsigned descriptor_limit_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	if (limit.rlim_cur < limit.rlim_max) {
		before = limit;
		limit.rlim_cur = limit.rlim_max;
		is_raised = setrlimit(RLIMIT_NOFILE, &limit) == 0;
	}
	return limit.rlim_cur < UINT_MAX ? (unsigned) limit.rlim_cur : UINT_MAX;
}

void descriptor_limit_restore(void)
{
	if (is_raised)
		(void) setrlimit(RLIMIT_NOFILE, &before);
}

void descriptor_limit_return(void)
{
	struct rlimit limit = before;

	limit.rlim_cur = limit.rlim_max;
	if (is_raised)
		(void) setrlimit(RLIMIT_NOFILE, &limit);
}

unsigned descriptor_count(void)
{
	DIR *entries = opendir("/proc/self/fd");
	unsigned count = 0;

	if (entries == NULL)
		return 0;
	for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
		count += entry->d_name[0] != '.';
	(void) closedir(entries);
	return count - 1; /* that of the folder */
}
