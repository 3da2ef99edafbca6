/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prometheus text, to whoever connects and asks: the whole answer is written at once and the connection closed.
 */
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/monitor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SCRAPES_MAX 32
#define HEADER "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n"

static void render_daemon(const struct monitor *monitor, struct text *text)
{
	text_add(text, "# HELP hydra_daemon_up Whether hydrad runs.\n# TYPE hydra_daemon_up gauge\n");
	text_addf(text, "hydra_daemon_up %d\n", monitor->daemon_pid > 0);
	text_add(text, "# HELP hydra_daemon_restarts_total Restarts of hydrad after it died.\n# TYPE hydra_daemon_restarts_total counter\n");
	text_addf(text, "hydra_daemon_restarts_total %u\n", monitor->daemon_restarts);
}

static char *render(const struct monitor *monitor)
{
	auto_text text = TEXT_EMPTY;
	unsigned deaths = 0;

	for (size_t i = 0; i < LEDGER_ENTRIES && i < monitor->ledger_count; i++)
		deaths += !monitor->ledger[i].is_up && strncmp(monitor->ledger[i].detail, "signal", 6) == 0;
	text_add(&text, "# HELP hydra_shims Shims that run under this monitor.\n# TYPE hydra_shims gauge\n");
	text_addf(&text, "hydra_shims %u\n", shims_count(monitor));
	if (monitor->runs_daemon)
		render_daemon(monitor, &text);
	text_add(&text, "# HELP hydra_recent_kills Ends by a signal among the last 512 ledger entries.\n# TYPE hydra_recent_kills gauge\n");
	text_addf(&text, "hydra_recent_kills %u\n", deaths);
	return text_take(&text);
}

struct scrape {
	struct monitor *monitor;
	struct event_source source;
};

/* What is asked does not matter: there is one answer. */
static void answer(struct event_source *source, uint32_t events)
{
	struct scrape *self = source->context;
	struct monitor *monitor = self->monitor;
	auto_close int fd = source->fd;
	auto_free char *body = NULL;
	auto_free char *whole = NULL;
	char request[4096];

	(void) events;
	event_loop_remove(&monitor->loop, source);
	free(self);
	monitor->scrapes--;
	if (recv(fd, request, sizeof(request), 0) <= 0)
		return;
	body = render(monitor);
	whole = text_format(HEADER "%s", strlen(body), body);
	(void) !send(fd, whole, strlen(whole), MSG_NOSIGNAL);
}

static void accept_scrape(struct event_source *source, uint32_t events)
{
	struct monitor *monitor = source->context;
	auto_close int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct scrape *self = fd >= 0 && monitor->scrapes < SCRAPES_MAX ? calloc(1, sizeof(*self)) : NULL;
	struct error ignored;

	(void) events;
	if (self == NULL)
		return;
	self->monitor = monitor;
	self->source = (struct event_source){.handle = answer, .context = self, .fd = FD_NONE};
	if (event_loop_add(&monitor->loop, &self->source, fd, EPOLLIN, &ignored) < 0) {
		free(self);
		return;
	}
	(void) take_fd(&fd);
	monitor->scrapes++;
}

static int open_port(int port, int *ret_fd, struct error *err)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t) port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		return fail_errno(err, errno, "serve metrics on port %d", port);
	*ret_fd = take_fd(&fd);
	return 0;
}

int metrics_reopen(struct monitor *monitor, int fd, int tcp_fd, struct error *err)
{
	int r;

	monitor->metrics_source = (struct event_source){.handle = accept_scrape, .context = monitor, .fd = FD_NONE};
	monitor->metrics_tcp_source = monitor->metrics_source;
	r = event_loop_add(&monitor->loop, &monitor->metrics_source, fd, EPOLLIN, err);
	return r < 0 || tcp_fd < 0 ? r : event_loop_add(&monitor->loop, &monitor->metrics_tcp_source, tcp_fd, EPOLLIN, err);
}

int metrics_open(struct monitor *monitor, int port, struct error *err)
{
	auto_free char *path = text_format("%s/metrics.sock", monitor->root);
	int fd, tcp_fd = FD_NONE;
	int r = socket_listen(path, &fd, err);

	if (r == 0 && port > 0)
		r = open_port(port, &tcp_fd, err);
	return r < 0 ? r : metrics_reopen(monitor, fd, tcp_fd, err);
}
