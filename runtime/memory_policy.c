/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/memory_policy.h"

#include "runtime/number_set.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const memory_policy_modes[] = {
	"MPOL_DEFAULT",    "MPOL_BIND",           "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE",
	"MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_LOCAL",      NULL,
};

static const struct {
	int number;
	bool needs_nodes;
	bool takes_nodes;
} modes[] = {
	{MPOL_DEFAULT, false, false},  {MPOL_BIND, true, true},
	{MPOL_INTERLEAVE, true, true}, {6 /* newer than some headers */, true, true},
	{MPOL_PREFERRED, false, true}, {5, true, true},
	{MPOL_LOCAL, false, false},
};

const char *const memory_policy_flags[] = {
	"MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES", NULL,
};

static const int flag_values[] = {1 << 13, MPOL_F_RELATIVE_NODES, MPOL_F_STATIC_NODES};

struct parsed {
	int mode; /* with flags */
	bool has_nodes;
	struct number_set nodes;
};

static int find(const char *const *names, const char *name)
{
	for (int i = 0; names[i] != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -EINVAL;
}

static int parse_flags(const struct json_strings *names, int *ret_flags, struct error *err)
{
	int flags = 0;

	for (size_t i = 0; i < names->count; i++) {
		int index = find(memory_policy_flags, names->items[i]);

		if (index < 0)
			return fail_because(err, EINVAL, "linux.memoryPolicy.flags[%zu]: invalid memory policy flag '%s'", i, names->items[i]);
		flags |= flag_values[index];
	}
	if ((flags & MPOL_F_RELATIVE_NODES) != 0 && (flags & MPOL_F_STATIC_NODES) != 0)
		return fail_because(err, EINVAL, "linux.memoryPolicy.flags: nodes cannot be both relative and static");
	*ret_flags = flags;
	return 0;
}

static int parse(const struct spec_memory_policy *policy, struct parsed *ret_parsed, struct error *err)
{
	int index = find(memory_policy_modes, policy->mode != NULL ? policy->mode : "");
	struct parsed parsed = {.has_nodes = policy->nodes != NULL && policy->nodes[0] != '\0'};
	int flags = 0;

	if (index < 0)
		return fail_because(err, EINVAL, "linux.memoryPolicy.mode: invalid memory policy mode '%s'", policy->mode != NULL ? policy->mode : "");
	if (parsed.has_nodes && number_set_parse(policy->nodes, &parsed.nodes) < 0)
		return fail_because(err, EINVAL, "linux.memoryPolicy.nodes: invalid memory policy nodes '%s'", policy->nodes);
	if (modes[index].needs_nodes && !parsed.has_nodes)
		return fail_because(err, EINVAL, "linux.memoryPolicy.nodes: needed by %s", policy->mode);
	if (!modes[index].takes_nodes && parsed.has_nodes)
		return fail_because(err, EINVAL, "linux.memoryPolicy.nodes: %s takes none, set_mempolicy would say: invalid argument", policy->mode);
	if (parse_flags(&policy->flags, &flags, err) < 0)
		return err->code;
	parsed.mode = modes[index].number | flags;
	*ret_parsed = parsed;
	return 0;
}

/* An object without anything in it asks for nothing. */
static bool is_wanted(const struct spec_memory_policy *policy)
{
	return policy != NULL && (policy->mode != NULL || policy->nodes != NULL || policy->flags.count > 0);
}

int memory_policy_check(const struct spec_memory_policy *policy, struct error *err)
{
	struct parsed ignored;

	return is_wanted(policy) ? parse(policy, &ignored, err) : 0;
}

int memory_policy_apply(const struct spec_memory_policy *policy, struct error *err)
{
	struct parsed parsed;
	long r;

	if (!is_wanted(policy))
		return 0;
	if (parse(policy, &parsed, err) < 0)
		return err->code;
	/* the kernel wants one more than there are bits */
	r = syscall(SYS_set_mempolicy, parsed.mode, parsed.has_nodes ? parsed.nodes.words : NULL,
		    parsed.has_nodes ? NUMBER_SET_SIZE + 1UL : 0UL);
	if (r < 0 && errno == ENOSYS)
		return fail_because(err, ENOTSUP, "linux.memoryPolicy: not supported by this kernel");
	return r < 0 ? fail_errno(err, errno, "linux.memoryPolicy: set the policy %s", policy->mode) : 0;
}
