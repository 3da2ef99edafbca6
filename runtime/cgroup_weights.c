/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v1's weights on the scales of cgroup v2, 1 to 10000. Pure.
 */
#include "runtime/cgroup_limits.h"

uint64_t cgroup_weight_from_shares(uint64_t shares)
{
	if (shares == 0)
		return 0;
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return 1 + ((shares - 2) * 9999) / 262142;
}

uint64_t cgroup_io_weight_from_blkio(uint64_t weight)
{
	return weight == 0 ? 0 : 1 + (weight - 10) * 9999 / 990;
}
