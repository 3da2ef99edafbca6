/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what people call a signal to its number.
 */
#include "runtime/signals.h"

#include "base/number.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *name;
	int number;
} names[] = {
	{"ABRT", SIGABRT}, {"ALRM", SIGALRM},     {"BUS", SIGBUS},   {"CHLD", SIGCHLD}, {"CLD", SIGCHLD},   {"CONT", SIGCONT},
	{"FPE", SIGFPE},   {"HUP", SIGHUP},       {"ILL", SIGILL},   {"INT", SIGINT},   {"IO", SIGIO},      {"IOT", SIGIOT},
	{"KILL", SIGKILL}, {"PIPE", SIGPIPE},     {"POLL", SIGPOLL}, {"PROF", SIGPROF}, {"PWR", SIGPWR},    {"QUIT", SIGQUIT},
	{"SEGV", SIGSEGV}, {"STKFLT", SIGSTKFLT}, {"STOP", SIGSTOP}, {"SYS", SIGSYS},   {"TERM", SIGTERM},  {"TRAP", SIGTRAP},
	{"TSTP", SIGTSTP}, {"TTIN", SIGTTIN},     {"TTOU", SIGTTOU}, {"URG", SIGURG},   {"USR1", SIGUSR1},  {"USR2", SIGUSR2},
	{"VTALRM", SIGVTALRM}, {"WINCH", SIGWINCH}, {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},
};

/* The kernel's real-time signals as everybody counts them: 34 is RTMIN. */
#define RTMIN_NUMBER 34
#define RTMAX_NUMBER 64

static int parse_realtime(const char *text, int *ret_number)
{
	bool is_from_end = strncasecmp(text, "RTMAX", 5) == 0;
	int distance = 0;

	if (!is_from_end && strncasecmp(text, "RTMIN", 5) != 0)
		return -EINVAL;
	text += 5;
	if (text[0] != '\0' && (text[0] != (is_from_end ? '-' : '+') ||
				number_parse_int(text + 1, 0, RTMAX_NUMBER - RTMIN_NUMBER, &distance) < 0))
		return -EINVAL;
	*ret_number = is_from_end ? RTMAX_NUMBER - distance : RTMIN_NUMBER + distance;
	return 0;
}

int signal_parse(const char *text, int *ret_number)
{
	if (number_parse_int(text, 0, RTMAX_NUMBER, ret_number) == 0)
		return 0;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcasecmp(text, names[i].name) == 0) {
			*ret_number = names[i].number;
			return 0;
		}
	}
	return parse_realtime(text, ret_number);
}
