/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/store.h"

#include "base/fd_pass.h"
#include "base/owned.h"
#include "base/text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* How many words a message has. */
static const struct {
	const char *verb;
	size_t words;
} forms[] = {{"put", 4}, {"drop", 4}, {"take", 3}, {"only", 3}, {"hello", 4}, {"refused", 4}, {"room", 1}, {"ended", 4}, {"status", 4}};

static size_t words_of(const char *verb)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (strcmp(forms[i].verb, verb) == 0)
			return forms[i].words;
	}
	return 0;
}

void store_end_print(const struct store_end *self, char ret_text[static STORE_END_SIZE])
{
	(void) text_fit(ret_text, STORE_END_SIZE, "%d %llu %d %llu %llu %llu", (int) self->pid, (unsigned long long) self->start_time,
			self->wait_status, (unsigned long long) self->user_us, (unsigned long long) self->system_us,
			(unsigned long long) self->max_rss_kib);
}

bool store_end_parse(const char *text, struct store_end *ret_end)
{
	unsigned long long start, user, kernel, rss;
	int pid;

	if (sscanf(text, "%d %llu %d %llu %llu %llu", &pid, &start, &ret_end->wait_status, &user, &kernel, &rss) != 6 || pid <= 0)
		return false;
	ret_end->pid = pid;
	ret_end->start_time = start;
	ret_end->user_us = user;
	ret_end->system_us = kernel;
	ret_end->max_rss_kib = rss;
	return true;
}

bool store_request_parse(struct store_request *self, size_t size)
{
	const char **const words[] = {&self->verb, &self->namespace, &self->id, &self->name};
	const char *at = self->text;

	if (size == 0 || size > STORE_MESSAGE_MAX || self->text[size - 1] != '\0')
		return false;
	self->name = "";
	for (size_t i = 0; i < 4 && at < self->text + size; i++) {
		*words[i] = at;
		at += strlen(at) + 1;
		if (i + 1 == words_of(self->verb))
			return at == self->text + size;
	}
	return false;
}

int store_connect(const char *root, int *ret_fd, struct error *err)
{
	auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (fd < 0)
		return fail_errno(err, errno, "make a socket");
	if (!text_fit(address.sun_path, sizeof(address.sun_path), "%s/store.sock", root))
		return fail_errno(err, ENAMETOOLONG, "connect to the store of '%s'", root);
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
		return fail_errno(err, errno, "connect to '%s'", address.sun_path);
	*ret_fd = take_fd(&fd);
	return 0;
}

static size_t add_word(char *message, size_t at, const char *word)
{
	size_t size = strlen(word) + 1;

	if (at + size > STORE_MESSAGE_MAX)
		return STORE_MESSAGE_MAX + 1;
	memcpy(message + at, word, size);
	return at + size;
}

int store_send(int store_fd, const char *verb, const char *namespace, const char *id, const char *name, int fd)
{
	const char *const words[] = {verb, namespace, id, name};
	char message[STORE_MESSAGE_MAX];
	size_t size = 0;
	ssize_t sent;

	for (size_t i = 0; i < 4 && words[i] != NULL && size <= STORE_MESSAGE_MAX; i++)
		size = add_word(message, size, words[i]);
	if (size > STORE_MESSAGE_MAX)
		return -ENAMETOOLONG;
	sent = fd_pass_send(store_fd, message, size, &fd, fd >= 0 ? 1 : 0);
	return sent < 0 ? (int) sent : 0;
}

int store_take(int store_fd, const char *namespace, const char *id, int timeout_ms, store_visitor *visit, void *context,
	       struct error *err)
{
	int r = store_send(store_fd, "take", namespace, id, NULL, FD_NONE);

	for (;;) {
		struct pollfd ready = {.fd = store_fd, .events = POLLIN};
		char name[STORE_MESSAGE_MAX];
		int fds[FD_PASS_MAX];
		size_t count = 0;
		ssize_t size;

		if (r == 0 && poll(&ready, 1, timeout_ms) <= 0)
			r = -ETIMEDOUT;
		size = r == 0 ? fd_pass_receive(store_fd, name, sizeof(name) - 1, fds, &count) : r;
		if (size <= 0)
			return fail_errno(err, size < 0 ? (int) -size : ECONNRESET, "take what is kept of '%s'", id);
		name[size] = '\0';
		if (count == 0 && name[0] == '\0')
			return 0;
		if (count > 0)
			visit(name, fds[0], context);
	}
}
