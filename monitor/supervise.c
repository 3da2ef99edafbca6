/* SPDX-License-Identifier: Apache-2.0 */
#include "base/child.h"
#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"

#include <sys/wait.h>
#include <unistd.h>

#define STATE(name)    HYDRA__V1__LEDGER_STATE__LEDGER_##name
#define DELAY_FIRST_NS NS_PER_MS
#define DELAY_LAST_NS  (100 * NS_PER_MS) /* hydrad starts in a millisecond: a crash loop of ten a second harms nobody */
#define DAEMON_ARGUMENTS_MAX 16
#define RAN_WELL_NS    (10 * NS_PER_S)

static void start_again(struct event_timer *timer)
{
	if (!daemon_find(timer->context))
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
	account_note(monitor, "daemon", STATE(UP), monitor->daemon_pid, "");
}

static void handle_end(struct event_source *source, uint32_t events)
{
	struct monitor *monitor = source->context;
	int pidfd = source->fd;

	(void) events;
	event_loop_remove(&monitor->loop, source);
	owned_fd_release(&pidfd);
	/* how it ended its parent knows */
	account_note(monitor, "daemon", STATE(DOWN), 0, "ended");
	monitor->daemon_restarts++;
	if (monitor->runs_daemon && monitor->daemon_pid == 0)
		start_less_often(monitor);
}

static void watch(struct monitor *monitor, pid_t pid)
{
	auto_close int pidfd = FD_NONE;
	struct error ignored;

	if (pid <= 0 || pid == monitor->daemon_pid || monitor->daemon_source.fd >= 0)
		return;
	pidfd = kernel_pidfd_open(pid, 0);
	monitor->daemon_source = (struct event_source){.handle = handle_end, .context = monitor, .fd = FD_NONE};
	if (pidfd < 0 || event_loop_add(&monitor->loop, &monitor->daemon_source, pidfd, EPOLLIN, &ignored) < 0)
		return;
	(void) take_fd(&pidfd);
	account_note(monitor, "daemon", STATE(UP), pid, "found");
}

bool daemon_find(struct monitor *monitor)
{
	auto_free char *path = text_format("%s/hydrad.sock", monitor->root);
	auto_close int fd = FD_NONE;
	struct error ignored;

	/* systemd may listen in its name */
	if (socket_connect_now(path, &fd, &ignored) == 0 && socket_peer_pid(fd) != 1)
		watch(monitor, socket_peer_pid(fd));
	return monitor->daemon_source.fd >= 0;
}

void daemon_stopped(struct monitor *monitor, pid_t pid, int status)
{
	char why[32];

	(void) text_fit(why, sizeof(why), WIFSTOPPED(status) ? "stopped by signal %d" : "continued", WSTOPSIG(status));
	if (pid == monitor->daemon_pid)
		account_note(monitor, "daemon", WIFSTOPPED(status) ? STATE(UNREACHABLE) : STATE(UP), pid, why);
}

bool daemon_ended(struct monitor *monitor, pid_t pid, int status)
{
	char detail[32];
	bool is_wanted;

	if (pid != monitor->daemon_pid)
		return false;
	(void) text_fit(detail, sizeof(detail), WIFSIGNALED(status) ? "signal %d" : "status %d",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	/* an orderly end is what somebody wanted */
	is_wanted = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	account_note(monitor, "daemon", is_wanted ? STATE(ENDED) : STATE(DOWN), pid, detail);
	monitor->daemon_pid = 0;
	if (is_wanted)
		return true;
	if (clock_monotonic_ns() - monitor->daemon_started_ns > RAN_WELL_NS)
		monitor->daemon_delay_ns = 0;
	monitor->daemon_restarts++;
	start_less_often(monitor);
	return true;
}
