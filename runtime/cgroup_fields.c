/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cgroup file's refusal in the words of the configuration.
 */
#include "base/text.h"
#include "runtime/cgroup_limits.h"

#include <errno.h>
#include <string.h>

#define FIELD(name) "linux.resources." name

/* By the beginning of the file's name: a longer one comes before a shorter one. */
static const struct {
	const char *file;
	const char *field;
} fields[] = {
	{"blkio.bfq.weight_device", FIELD("blockIO.weightDevice")},
	{"blkio.leaf_weight_device", FIELD("blockIO.weightDevice")},
	{"blkio.leaf_weight", FIELD("blockIO.leafWeight")},
	{"blkio.throttle.read_bps", FIELD("blockIO.throttleReadBpsDevice")},
	{"blkio.throttle.read_iops", FIELD("blockIO.throttleReadIOPSDevice")},
	{"blkio.throttle.write_bps", FIELD("blockIO.throttleWriteBpsDevice")},
	{"blkio.throttle.write_iops", FIELD("blockIO.throttleWriteIOPSDevice")},
	{"blkio.", FIELD("blockIO.weight")},
	{"io.", FIELD("blockIO")},
	{"cpu.cfs_burst_us", FIELD("cpu.burst")},
	{"cpu.cfs_period_us", FIELD("cpu.period")},
	{"cpu.cfs_quota_us", FIELD("cpu.quota")},
	{"cpu.idle", FIELD("cpu.idle")},
	{"cpu.max.burst", FIELD("cpu.burst")},
	{"cpu.max", FIELD("cpu.quota")},
	{"cpu.rt_period_us", FIELD("cpu.realtimePeriod")},
	{"cpu.rt_runtime_us", FIELD("cpu.realtimeRuntime")},
	{"cpu.", FIELD("cpu.shares")},
	{"cpuset.cpus", FIELD("cpu.cpus")},
	{"cpuset.mems", FIELD("cpu.mems")},
	{"hugetlb.", FIELD("hugepageLimits")},
	{"memory.limit", FIELD("memory.limit")},
	{"memory.low", FIELD("memory.reservation")},
	{"memory.max", FIELD("memory.limit")},
	{"memory.memsw", FIELD("memory.swap")},
	{"memory.oom_control", FIELD("memory.disableOOMKiller")},
	{"memory.soft", FIELD("memory.reservation")},
	{"memory.swap.max", FIELD("memory.swap")},
	{"memory.swappiness", FIELD("memory.swappiness")},
	{"net_cls.", FIELD("network.classID")},
	{"net_prio.", FIELD("network.priorities")},
	{"pids.", FIELD("pids.limit")},
	{"rdma.", FIELD("rdma")},
};

int cgroup_fail_field(const char *file, struct error *err)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (!text_has_prefix(file, fields[i].file))
			continue;
		if (err->code == -ENOENT)
			return fail_because(err, ENOTSUP, "%s: not supported by this kernel (it has no %s here)", fields[i].field, file);
		return fail_while(err, "%s", fields[i].field);
	}
	return err->code;
}
