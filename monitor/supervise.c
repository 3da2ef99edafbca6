/* SPDX-License-Identifier: Apache-2.0 */
#include "base/child.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"

#include <sys/wait.h>
#include <unistd.h>

#define DELAY_FIRST_NS NS_PER_MS
#define DELAY_LAST_NS  (100 * NS_PER_MS) /* hydrad starts in a millisecond: a crash loop of ten a second harms nobody */
#define DAEMON_ARGUMENTS_MAX 16
#define RAN_WELL_NS    (10 * NS_PER_S)

static void start_again(struct event_timer *timer)
{
	daemon_start(timer->context);
}

void daemon_start_later(struct monitor *monitor, uint64_t delay_ns)
{
	monitor->daemon_timer = (struct event_timer){.handle = start_again, .context = monitor};
	event_loop_arm(&monitor->loop, &monitor->daemon_timer, delay_ns);
}

static void start_less_often(struct monitor *monitor)
{
	uint64_t doubled = monitor->daemon_delay_ns * 4;

	monitor->daemon_delay_ns = monitor->daemon_delay_ns == 0 ? DELAY_FIRST_NS : doubled < DELAY_LAST_NS ? doubled : DELAY_LAST_NS;
	daemon_start_later(monitor, monitor->daemon_delay_ns);
}

void daemon_start(struct monitor *monitor)
{
	auto_free char *program = child_program("hydrad");
	const char *argv[DAEMON_ARGUMENTS_MAX + 4] = {"hydrad", "--root", monitor->root};
	struct child_spec spec = {.path = program, .argv = argv, .fds = {{STDERR_FILENO, 2}}, .fd_count = 1, .new_session = true};
	struct error err;

	for (int i = 0; i < monitor->daemon_argument_count && i < DAEMON_ARGUMENTS_MAX; i++)
		argv[3 + i] = monitor->daemon_arguments[i];
	if (child_start(&spec, &monitor->daemon_pid, NULL, &err) < 0) {
		log_error("daemon not started", "error=\"%s\"", err.message);
		start_less_often(monitor);
		return;
	}
	monitor->daemon_started_ns = clock_monotonic_ns();
	ledger_note(monitor, "daemon", true, monitor->daemon_pid, "");
}

bool daemon_ended(struct monitor *monitor, pid_t pid, int status)
{
	char detail[32];

	if (pid != monitor->daemon_pid)
		return false;
	(void) text_fit(detail, sizeof(detail), WIFSIGNALED(status) ? "signal %d" : "status %d",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	ledger_note(monitor, "daemon", false, pid, detail);
	monitor->daemon_pid = 0;
	/* an orderly end is what somebody wanted */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (clock_monotonic_ns() - monitor->daemon_started_ns > RAN_WELL_NS)
		monitor->daemon_delay_ns = 0;
	monitor->daemon_restarts++;
	start_less_often(monitor);
	return true;
}
