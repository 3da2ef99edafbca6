/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities of the container's processes, by capset(2) and prctl(2).
 */
#include "runtime/capabilities.h"

#include "base/text.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const names[CAPABILITY_COUNT] = {
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
	"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
};

const char *capability_name(unsigned int number)
{
	return number < CAPABILITY_COUNT ? names[number] : NULL;
}

int capability_parse(const char *name, unsigned int *ret_number)
{
	bool has_prefix = strncasecmp(name, "CAP_", 4) == 0;

	for (unsigned int i = 0; i < CAPABILITY_COUNT; i++) {
		if (strcasecmp(has_prefix ? name + 4 : name, names[i] + 4) == 0) {
			*ret_number = i;
			return 0;
		}
	}
	return -EINVAL;
}

static uint64_t parse_set(const struct json_strings *strings)
{
	uint64_t mask = 0;
	unsigned int number;

	for (size_t i = 0; i < strings->count; i++)
		if (capability_parse(strings->items[i], &number) == 0)
			mask |= 1ULL << number;
	return mask;
}

static const char *find_unknown(const struct json_strings *strings)
{
	unsigned int ignored;

	for (size_t i = 0; i < strings->count; i++)
		if (capability_parse(strings->items[i], &ignored) < 0)
			return strings->items[i];
	return NULL;
}

struct capability_sets capability_sets_parse(const struct spec_capabilities *capabilities)
{
	if (capabilities == NULL)
		return (struct capability_sets){0};
	return (struct capability_sets){
		.bounding = parse_set(&capabilities->bounding),
		.effective = parse_set(&capabilities->effective),
		.inheritable = parse_set(&capabilities->inheritable),
		.permitted = parse_set(&capabilities->permitted),
		.ambient = parse_set(&capabilities->ambient),
	};
}

const char *capability_sets_unknown(const struct spec_capabilities *capabilities)
{
	const char *name = NULL;

	if (capabilities == NULL)
		return NULL;
	const struct json_strings *const sets[] = {&capabilities->bounding, &capabilities->effective, &capabilities->inheritable,
						   &capabilities->permitted, &capabilities->ambient};

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]) && name == NULL; i++)
		name = find_unknown(sets[i]);
	return name;
}

int capability_sets_limit(const struct capability_sets *sets, struct error *err)
{
	for (unsigned long number = 0; number < 64; number++) {
		int is_bounded = (sets->bounding >> number & 1) != 0 ? 0 : prctl(PR_CAPBSET_READ, number, 0, 0, 0);

		if (is_bounded < 0 && errno == EINVAL)
			return 0; /* the kernel's last one is behind us */
		if (is_bounded > 0 && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0)
			return fail_errno(err, errno, "drop capability %lu from the bounding set", number);
	}
	return 0;
}

static uint64_t permitted_now(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return (uint64_t) data[1].permitted << 32 | data[0].permitted;
}

static int raise_ambient(uint64_t mask, struct error *err)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return fail_errno(err, errno, "clear the ambient capabilities");
	for (unsigned long number = 0; number < CAPABILITY_COUNT; number++)
		if ((mask >> number & 1) != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) < 0)
			return fail_errno(err, errno, "raise ambient capability %s", names[number]);
	return 0;
}

int capability_sets_apply(const struct capability_sets *sets, struct error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	uint64_t available = permitted_now();
	uint64_t permitted = sets->permitted & available;
	uint64_t effective = sets->effective & permitted;
	uint64_t inheritable = sets->inheritable & available;
	struct __user_cap_data_struct data[2] = {
		{(uint32_t) effective, (uint32_t) permitted, (uint32_t) inheritable},
		{(uint32_t) (effective >> 32), (uint32_t) (permitted >> 32), (uint32_t) (inheritable >> 32)},
	};

	if (syscall(SYS_capset, &header, data) < 0)
		return fail_errno(err, errno, "set the capabilities");
	return raise_ambient(sets->ambient & permitted & inheritable, err);
}
