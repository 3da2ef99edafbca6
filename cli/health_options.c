/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --health-... of run, create and update.
 */
#include "base/number.h"
#include "cli/cli.h"

#include <errno.h>

#define RETRIES_MOST 1000

static int set_duration(const char *option, const char *text, uint64_t *ret_ns, struct error *err)
{
	if (text == NULL)
		return 0;
	if (number_parse_duration(text, ret_ns) < 0 || *ret_ns == 0)
		return fail_because(err, EINVAL, "option --%s: '%s': expected a time such as 500ms, 30s or 1m30s", option, text);
	return 0;
}

static int set_retries(const char *text, uint32_t *ret_retries, struct error *err)
{
	int retries;

	if (text == NULL)
		return 0;
	if (number_parse_int(text, 1, RETRIES_MOST, &retries) < 0)
		return fail_because(err, EINVAL, "option --health-retries: '%s': expected a number from 1 to %d", text, RETRIES_MOST);
	*ret_retries = (uint32_t) retries;
	return 0;
}

bool health_options_are_given(const struct health_options *self)
{
	return self->command != NULL || self->interval != NULL || self->timeout != NULL || self->retries != NULL ||
	       self->start_period != NULL;
}

int health_options_parse(const struct health_options *self, Hydra__V1__HealthCheck *check, struct error *err)
{
	int r = set_duration("health-interval", self->interval, &check->interval_ns, err);

	if (r == 0)
		r = set_duration("health-timeout", self->timeout, &check->timeout_ns, err);
	if (r == 0)
		r = set_duration("health-start-period", self->start_period, &check->start_period_ns, err);
	if (r == 0)
		r = set_retries(self->retries, &check->retries, err);
	if (r == 0 && self->command == NULL && check->command[0] == '\0' && health_options_are_given(self))
		r = fail_because(err, EINVAL, "health check: --health-cmd COMMAND is missing");
	if (r == 0 && self->command != NULL)
		check->command = (char *) (uintptr_t) self->command;
	return r;
}
