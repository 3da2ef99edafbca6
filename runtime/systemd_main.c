/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra-systemd: the part of hydra that speaks to systemd's bus. Only hydra starts it.
 *
 *   hydra-systemd start  system|user UNIT PROPERTY…   makes the unit, a scope for itself, and stays
 *   hydra-systemd set    system|user UNIT PROPERTY…
 *   hydra-systemd stop   system|user UNIT MARK
 *   hydra-systemd attach system|user UNIT PID
 *
 * Standard output gets one line: "+", after start with the unit's cgroup, or "-ERRNO MESSAGE". After start it moves each process
 * into the unit whose number is a line on standard input, answering in the same way, and ends with its input.
 */
#include "base/number.h"
#include "base/owned.h"
#include "runtime/systemd_bus.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>

struct order {
	struct sd_bus *bus;
	const char *unit;
	const char *const *rest; /* ends with NULL */
};

static void answer(int r, const char *text, const struct error *err)
{
	if (r < 0)
		(void) dprintf(STDOUT_FILENO, "-%d %s\n", -r, err->message);
	else
		(void) dprintf(STDOUT_FILENO, "+%s\n", text);
}

static int attach_one(const struct order *order, const char *text, struct error *err)
{
	int pid;

	if (text == NULL || number_parse_int(text, 1, INT_MAX, &pid) < 0)
		return fail_because(err, EINVAL, "'%s' is no process", text != NULL ? text : "");
	return systemd_bus_attach(order->bus, order->unit, pid, err);
}

static void stay(const struct order *order)
{
	char line[32];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		struct error err = ERROR_NONE;

		line[strcspn(line, "\n")] = '\0';
		answer(attach_one(order, line, &err), "", &err);
	}
}

static int start(const struct order *order, struct error *err)
{
	auto_free char *cgroup = NULL;

	if (systemd_bus_start(order->bus, order->unit, getpid(), order->rest, err) < 0 ||
	    systemd_bus_cgroup(order->bus, order->unit, &cgroup, err) < 0)
		return err->code;
	answer(0, cgroup, err);
	stay(order);
	return 1;
}

static int set(const struct order *order, struct error *err)
{
	return systemd_bus_set(order->bus, order->unit, order->rest, err);
}

static int stop(const struct order *order, struct error *err)
{
	return systemd_bus_stop(order->bus, order->unit, order->rest[0] != NULL ? order->rest[0] : "", err);
}

static int attach(const struct order *order, struct error *err)
{
	return attach_one(order, order->rest[0], err);
}

/* Returns 0, 1: it has answered already, or < 0. */
static const struct verb {
	const char *name;
	int (*run)(const struct order *order, struct error *err);
} verbs[] = {
	{"start", start},
	{"set", set},
	{"stop", stop},
	{"attach", attach},
};

static int obey(const char *verb, bool is_user, struct order *order, struct error *err)
{
	int r;

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, verb) != 0)
			continue;
		r = systemd_bus_open(is_user, &order->bus, err);
		if (r == 0)
			r = verbs[i].run(order, err);
		systemd_bus_close(order->bus);
		return r;
	}
	return fail_because(err, EINVAL, "hydra-systemd: unknown command '%s'", verb);
}

int main(int argc, char **argv)
{
	struct order order = {.bus = NULL};
	struct error err = ERROR_NONE;
	int r;

	if (argc < 4) {
		(void) fputs("hydra-systemd is a part of hydra(8), which starts it\n", stderr);
		return 2;
	}
	order.unit = argv[3];
	order.rest = (const char *const *) argv + 4;
	r = obey(argv[1], strcmp(argv[2], "user") == 0, &order, &err);
	if (r <= 0)
		answer(r, "", &err);
	return r < 0;
}
