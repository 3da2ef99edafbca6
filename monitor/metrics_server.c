/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics for whoever connects and asks, on a Unix socket and on a loopback port.
 */
#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"
#include "monitor/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SCRAPES_MAX 32
#define SCRAPE_NS   (10 * NS_PER_S)
#define HEADER "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n"

struct scrape {
	struct monitor *monitor;
	struct event_source source;
	struct event_timer timer; /* then it is hung up on: who does not ask or does not read costs nothing for ever */
	char *answer;             /* NULL: it has not asked yet */
	size_t size, sent;
};

static void scrape_free(struct scrape *self)
{
	int fd = self->source.fd;

	event_loop_remove(&self->monitor->loop, &self->source);
	event_loop_disarm(&self->monitor->loop, &self->timer);
	owned_fd_release(&fd);
	self->monitor->scrapes--;
	free(self->answer);
	free(self);
}

/* What is asked does not matter: there is one answer. */
static bool prepare(struct scrape *self)
{
	auto_free char *body = NULL;
	char request[4096];

	if (recv(self->source.fd, request, sizeof(request), 0) <= 0)
		return false;
	body = metrics_render(self->monitor);
	if (body == NULL)
		return false;
	self->answer = text_format(HEADER "%s", strlen(body), body);
	self->size = strlen(self->answer);
	return true;
}

static void handle_scrape(struct event_source *source, uint32_t events)
{
	struct scrape *self = source->context;
	ssize_t sent;

	(void) events;
	if (self->answer == NULL && !prepare(self)) {
		scrape_free(self);
		return;
	}
	sent = socket_send_now(source->fd, self->answer + self->sent, self->size - self->sent);
	if (sent >= 0)
		self->sent += (size_t) sent;
	if (sent < 0 || self->sent == self->size)
		scrape_free(self);
	else
		event_loop_modify(&self->monitor->loop, source, EPOLLOUT);
}

static void give_up(struct event_timer *timer)
{
	scrape_free(timer->context);
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
	self->source = (struct event_source){.handle = handle_scrape, .context = self, .fd = FD_NONE};
	self->timer = (struct event_timer){.handle = give_up, .context = self};
	if (event_loop_add(&monitor->loop, &self->source, fd, EPOLLIN, &ignored) < 0) {
		free(self);
		return;
	}
	(void) take_fd(&fd);
	monitor->scrapes++;
	event_loop_arm(&monitor->loop, &self->timer, SCRAPE_NS);
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
