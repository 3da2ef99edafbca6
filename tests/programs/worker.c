/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses a part of its memory all the time, and the rest never: worker MEGABYTES PERCENT [PIECE_KIB]. Without PIECE_KIB the part is that
 * many percent of the pages of one mapping, here and there; with it, of mappings of that size. Each turn reads and writes all of the part,
 * in an order that has none. Answers a line on its input: "turns" with "TURNS N", all else with "VERIFY bad=N pages=N" after having looked
 * at everything.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE  4096UL
#define WORDS (PAGE / sizeof(uint64_t))

static unsigned char *memory;
static size_t page_count, piece_pages, used_count, bad;
static size_t *used; /* pages */
static unsigned long turns;

static uint64_t mix(uint64_t value)
{
	value ^= value >> 31;
	value *= 0x9e3779b97f4a7c15ULL;
	value ^= value >> 29;
	return value * 0xbf58476d1ce4e5b9ULL;
}

/* Mappings that are one beside the other would be one: a page that can't be touched is between them. */
static uint64_t *page_at(size_t page)
{
	return (uint64_t *) (memory + (page + page / piece_pages) * PAGE);
}

/* The first word counts the turns. */
static void compare(size_t page, uint64_t first)
{
	const uint64_t *words = page_at(page);

	bad += words[0] != first;
	for (size_t i = 1; i < WORDS; i++) {
		if (words[i] != mix(page * WORDS + i)) {
			bad++;
			return;
		}
	}
}

static void fill(unsigned long percent)
{
	for (size_t page = 0; page < page_count; page++) {
		size_t unit = piece_pages < page_count ? page / piece_pages : page;

		for (size_t i = 1; i < WORDS; i++)
			page_at(page)[i] = mix(page * WORDS + i);
		if (mix(unit + 1) % 100 < percent)
			used[used_count++] = page;
	}
	for (size_t i = used_count; i > 1; i--) {
		size_t other = mix(i) % i, page = used[i - 1];

		used[i - 1] = used[other];
		used[other] = page;
	}
}

static void turn(void)
{
	for (size_t i = 0; i < used_count; i++) {
		uint64_t *words = page_at(used[i]);

		bad += words[0] != turns || words[1] != mix(used[i] * WORDS + 1);
		words[0] = turns + 1;
	}
	turns++;
}

static void verify(void)
{
	size_t next = 0;
	unsigned char *is_used = calloc(page_count, 1);

	for (size_t i = 0; is_used != NULL && i < used_count; i++)
		is_used[used[i]] = 1;
	for (; is_used != NULL && next < page_count; next++)
		compare(next, is_used[next] ? turns : 0);
	free(is_used);
	printf("VERIFY bad=%zu pages=%zu\n", bad, next);
}

static void answer(void)
{
	char line[64] = "";

	if (read(STDIN_FILENO, line, sizeof(line) - 1) <= 0)
		exit(0);
	if (strncmp(line, "turns", 5) == 0)
		printf("TURNS %lu\n", turns);
	else
		verify();
}

int main(int argc, char **argv)
{
	struct timespec pause = {.tv_nsec = 1000000};
	size_t pieces;

	(void) setvbuf(stdout, NULL, _IOLBF, 0);
	page_count = (argc > 1 ? strtoul(argv[1], NULL, 10) : 1) * ((1UL << 20) / PAGE);
	piece_pages = argc > 3 ? strtoul(argv[3], NULL, 10) * 1024 / PAGE : page_count;
	pieces = (page_count + piece_pages - 1) / piece_pages;
	memory = mmap(NULL, (pieces * (piece_pages + 1)) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	used = calloc(page_count, sizeof(*used));
	if (memory == MAP_FAILED || used == NULL)
		return 1;
	(void) madvise(memory, (pieces * (piece_pages + 1)) * PAGE, MADV_NOHUGEPAGE); /* what is used is known of whole ones only */
	for (size_t i = 1; i <= pieces; i++)
		(void) mprotect(memory + (i * piece_pages + i - 1) * PAGE, PAGE, PROT_NONE);
	fill(argc > 2 ? strtoul(argv[2], NULL, 10) : 10);
	printf("START\n");
	for (;;) {
		struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

		turn();
		if (ppoll(&input, 1, &pause, NULL) > 0)
			answer();
	}
}
