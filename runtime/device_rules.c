/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule for all devices decides about the default and forgets the rules before it, as the v1 controller does.
 */
#include "runtime/device_rules.h"

#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const struct device_rule basics[] = {
	{true, 'c', DEVICE_ANY, DEVICE_ANY, DEVICE_MKNOD}, {true, 'b', DEVICE_ANY, DEVICE_ANY, DEVICE_MKNOD},
	{true, 'c', 1, 3, DEVICE_ALL},                     {true, 'c', 1, 5, DEVICE_ALL},
	{true, 'c', 1, 7, DEVICE_ALL},                     {true, 'c', 1, 8, DEVICE_ALL},
	{true, 'c', 1, 9, DEVICE_ALL},                     {true, 'c', 5, 0, DEVICE_ALL},
	{true, 'c', 5, 2, DEVICE_ALL},                     {true, 'c', 136, DEVICE_ANY, DEVICE_ALL},
};

static int parse_access(const char *text, unsigned int *ret_access)
{
	unsigned int access = 0;

	for (; text != NULL && *text != '\0'; text++) {
		if (*text == 'r')
			access |= DEVICE_READ;
		else if (*text == 'w')
			access |= DEVICE_WRITE;
		else if (*text == 'm')
			access |= DEVICE_MKNOD;
		else
			return -EINVAL;
	}
	*ret_access = access;
	return 0;
}

static char parse_type(const char *type)
{
	if (type == NULL || type[0] == '\0')
		return 'a';
	return strlen(type) == 1 && strchr("abcu", type[0]) != NULL ? (type[0] == 'u' ? 'c' : type[0]) : '\0';
}

static int64_t number_or_any(const struct json_int *number)
{
	return number->is_set && number->value >= 0 ? number->value : DEVICE_ANY;
}

static int parse_rule(const struct spec_device_rule *from, size_t index, struct device_rule *ret_rule, struct error *err)
{
	struct device_rule rule = {.is_allowed = from->is_allowed,
				   .type = parse_type(from->type),
				   .major = number_or_any(&from->major),
				   .minor = number_or_any(&from->minor)};

	if (rule.type == '\0')
		return fail_because(err, EINVAL, "linux.resources.devices[%zu].type: '%s' is not a, b or c", index, from->type);
	if (parse_access(from->access, &rule.access) < 0)
		return fail_because(err, EINVAL, "linux.resources.devices[%zu].access: '%s' is not of r, w and m", index,
				    from->access);
	*ret_rule = rule;
	return 0;
}

static bool is_for_all(const struct device_rule *rule)
{
	return rule->type == 'a' && rule->major == DEVICE_ANY && rule->minor == DEVICE_ANY;
}

static int add(struct device_rules *self, const struct device_rule *rule, struct error *err)
{
	if (is_for_all(rule)) {
		self->allows_by_default = rule->is_allowed;
		self->count = 0;
		return 0;
	}
	if (self->count == DEVICE_RULES_MAX)
		return fail_because(err, E2BIG, "linux.resources.devices: more than %d rules", DEVICE_RULES_MAX);
	self->items[self->count++] = *rule;
	return 0;
}

int device_rules_init(struct device_rules *self, const struct spec_resources *resources, struct error *err)
{
	struct device_rule rule;

	self->allows_by_default = false;
	self->count = 0;
	for (size_t i = 0; i < resources->devices.count; i++)
		if (parse_rule(&resources->devices.items[i], i, &rule, err) < 0 || add(self, &rule, err) < 0)
			return err->code;
	for (size_t i = 0; !self->allows_by_default && i < sizeof(basics) / sizeof(basics[0]); i++)
		if (add(self, &basics[i], err) < 0)
			return err->code;
	return 0;
}

bool device_rules_allow_all(const struct device_rules *self)
{
	return self->allows_by_default && self->count == 0;
}

static void format_number(int64_t number, char *text, size_t size)
{
	if (number == DEVICE_ANY)
		(void) text_fit(text, size, "*");
	else
		(void) text_fit(text, size, "%" PRId64, number);
}

void device_rule_format(const struct device_rule *rule, char *ret_text, size_t size)
{
	char major[24], minor[24];

	format_number(rule->major, major, sizeof(major));
	format_number(rule->minor, minor, sizeof(minor));
	(void) text_fit(ret_text, size, "%c %s:%s %s%s%s", rule->type, major, minor,
			(rule->access & DEVICE_READ) != 0 ? "r" : "", (rule->access & DEVICE_WRITE) != 0 ? "w" : "",
			(rule->access & DEVICE_MKNOD) != 0 ? "m" : "");
}
