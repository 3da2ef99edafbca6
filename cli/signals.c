/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/signals.h"

#include "base/number.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

int signal_parse(const char *text, int *ret_number, struct error *err)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;

	if (number_parse_int(text, 1, SIGRTMAX, ret_number) == 0)
		return 0;
	for (int number = 1; number < 32; number++) {
		const char *known = sigabbrev_np(number);

		if (known != NULL && strcasecmp(known, name) == 0) {
			*ret_number = number;
			return 0;
		}
	}
	return fail_because(err, EINVAL, "signal '%s': expected a name such as TERM or a number from 1 to %d", text, SIGRTMAX);
}
