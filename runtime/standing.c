/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/standing.h"

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/id_map.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAP_LIMIT 65536

static bool is_rootless;

bool standing_is_in_user_namespace(void)
{
	static enum { UNKNOWN, OUTSIDE, INSIDE } place;
	auto_free char *map = NULL;
	struct error ignored;

	if (place == UNKNOWN)
		place = file_read(AT_FDCWD, "/proc/self/uid_map", MAP_LIMIT, &map, NULL, &ignored) == 0 && !id_map_is_initial(map) ? INSIDE : OUTSIDE;
	return place == INSIDE;
}

/* Podman enters a user namespace before it calls us, and leaves out most of the environment. */
bool standing_looks_rootless(void)
{
	const char *user = getenv("USER");

	if (geteuid() != 0)
		return true;
	return (user == NULL || strcmp(user, "root") != 0) && standing_is_in_user_namespace();
}

int standing_choose(const char *option, struct error *err)
{
	static const char *const words[] = {"auto", "true", "false", NULL};

	if (option != NULL && !text_is_one_of(option, words))
		return fail_because(err, EINVAL, "option --rootless: '%s' is not true, false or auto", option);
	is_rootless = option == NULL || strcmp(option, "auto") == 0 ? standing_looks_rootless() : strcmp(option, "true") == 0;
	return 0;
}

bool standing_is_rootless(void)
{
	return is_rootless;
}

bool standing_has_capability(unsigned int number)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	return syscall(SYS_capget, &header, data) == 0 && (data[number / 32].effective >> (number % 32) & 1) != 0;
}
