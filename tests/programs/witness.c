/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container program that clients write to and that knows every byte of its memory: lost writes, stale pages, pages of zeros and
 * broken connections cannot be hidden from who talks to it.
 *
 *   witness PORT PAGES
 *
 * A request is {u32 operation, u32 page, u64 value}, an answer {u64 value, u64 bad}: the value that the page had before, and how many of
 * the words looked at were wrong. WRITE fills the whole page from the value, READ checks one page, SUM checks all and gives the sum of
 * their values. Datagrams to the same port are written to standard output.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE_WORDS  512U
#define CLIENTS_MAX 16

enum operation { WRITE = 1, READ = 2, SUM = 3 };

struct request {
	uint32_t operation, page;
	uint64_t value;
};

struct answer {
	uint64_t value, bad;
};

static uint64_t *memory;
static uint32_t page_count;

static uint64_t mix(uint64_t value)
{
	value ^= value >> 33;
	value *= 0xff51afd7ed558ccdULL;
	return value ^ value >> 33;
}

static void fill(uint32_t page, uint64_t value)
{
	uint64_t *words = memory + (size_t) page * PAGE_WORDS;

	words[0] = value;
	for (uint64_t i = 1; i < PAGE_WORDS; i++)
		words[i] = mix(value * PAGE_WORDS + i + page);
}

static uint64_t check(uint32_t page)
{
	const uint64_t *words = memory + (size_t) page * PAGE_WORDS;
	uint64_t bad = 0;

	for (uint64_t i = 1; i < PAGE_WORDS; i++)
		bad += words[i] != mix(words[0] * PAGE_WORDS + i + page);
	return bad;
}

static struct answer answer_to(const struct request *request)
{
	struct answer answer = {0};
	uint32_t page = request->page % page_count;

	if (request->operation == SUM) {
		for (page = 0; page < page_count; page++) {
			answer.value += memory[(size_t) page * PAGE_WORDS];
			answer.bad += check(page);
		}
		return answer;
	}
	answer.value = memory[(size_t) page * PAGE_WORDS];
	answer.bad = check(page);
	if (request->operation == WRITE)
		fill(page, request->value);
	return answer;
}

/* 0: the client is gone. Requests are small and come whole, or the rest is on its way. */
static int serve(int fd)
{
	struct request request;
	struct answer answer;

	if (recv(fd, &request, sizeof(request), MSG_WAITALL) != (ssize_t) sizeof(request))
		return 0;
	answer = answer_to(&request);
	return send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) == (ssize_t) sizeof(answer);
}

static int listen_at(uint16_t port, int type)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, type, 0), yes = 1;

	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || (type == SOCK_STREAM && listen(fd, CLIENTS_MAX) < 0)) {
		perror("listen");
		exit(1);
	}
	return fd;
}

static void take_client(int listen_fd, struct pollfd *clients)
{
	int fd = accept(listen_fd, NULL, NULL), yes = 1;

	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (clients[i].fd < 0) {
			(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
			clients[i].fd = fd;
			return;
		}
	}
	(void) close(fd);
}

static void hear(int fd)
{
	char text[512];
	ssize_t got = recv(fd, text, sizeof(text), 0);

	if (got > 0)
		(void) !write(STDOUT_FILENO, text, (size_t) got);
}

int main(int argc, char **argv)
{
	struct pollfd events[CLIENTS_MAX + 2];
	uint16_t port = (uint16_t) strtoul(argc > 1 ? argv[1] : "7000", NULL, 10);

	page_count = argc > 2 ? (uint32_t) strtoul(argv[2], NULL, 10) : 1024;
	memory = mmap(NULL, (size_t) page_count * PAGE_WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	for (uint32_t page = 0; page < page_count; page++)
		fill(page, 0);
	for (int i = 0; i < CLIENTS_MAX + 2; i++)
		events[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	events[CLIENTS_MAX].fd = listen_at(port, SOCK_STREAM);
	events[CLIENTS_MAX + 1].fd = listen_at(port, SOCK_DGRAM);
	(void) !write(STDOUT_FILENO, "READY\n", 6);
	for (;;) {
		if (poll(events, CLIENTS_MAX + 2, -1) < 0)
			continue;
		for (int i = 0; i < CLIENTS_MAX; i++) {
			if (events[i].revents != 0 && !serve(events[i].fd)) {
				(void) close(events[i].fd);
				events[i].fd = -1;
			}
		}
		if (events[CLIENTS_MAX].revents != 0)
			take_client(events[CLIENTS_MAX].fd, events);
		if (events[CLIENTS_MAX + 1].revents != 0)
			hear(events[CLIENTS_MAX + 1].fd);
	}
}
