/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes its memory all the time, and knows what each page must have in it: writer MEGABYTES [PAGES_PER_TURN]. Each turn some pages are
 * compared with what was last written there, then written anew. Answers a line on its input with "VERIFY bad=N pages=N turns=N",
 * after having compared all of them.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE  4096
#define WORDS (PAGE / sizeof(uint64_t))

static uint64_t *memory;
static uint32_t *versions; /* of each page */
static size_t page_count, bad;

static uint64_t mix(uint64_t value)
{
	value ^= value >> 31;
	value *= 0x9e3779b97f4a7c15ULL;
	value ^= value >> 29;
	return value * 0xbf58476d1ce4e5b9ULL;
}

static void fill(size_t page)
{
	uint64_t seed = mix(page << 32 | ++versions[page]);

	for (size_t i = 0; i < WORDS; i++)
		memory[page * WORDS + i] = seed + i * 0x9e3779b97f4a7c15ULL;
}

static void compare(size_t page)
{
	uint64_t seed = mix(page << 32 | versions[page]);

	for (size_t i = 0; i < WORDS; i++) {
		if (memory[page * WORDS + i] != seed + i * 0x9e3779b97f4a7c15ULL) {
			bad++;
			return;
		}
	}
}

static void turn(size_t pages)
{
	static uint64_t random = 1;

	for (size_t i = 0; i < pages; i++) {
		size_t page = (random = mix(random + i)) % page_count;

		compare(page);
		fill(page);
	}
}

static void answer(unsigned long turns)
{
	char line[64];

	if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
		exit(0);
	for (size_t page = 0; page < page_count; page++)
		compare(page);
	printf("VERIFY bad=%zu pages=%zu turns=%lu\n", bad, page_count, turns);
}

int main(int argc, char **argv)
{
	size_t pages_per_turn = argc > 2 ? strtoul(argv[2], NULL, 10) : 64;
	struct timespec pause = {.tv_nsec = 1000000};

	(void) setvbuf(stdout, NULL, _IOLBF, 0);
	page_count = (argc > 1 ? strtoul(argv[1], NULL, 10) : 1) * 256;
	memory = mmap(NULL, page_count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	versions = calloc(page_count, sizeof(*versions));
	if (memory == MAP_FAILED || versions == NULL)
		return 1;
	for (size_t page = 0; page < page_count; page++)
		fill(page);
	printf("START\n");
	for (unsigned long turns = 0;; turns++) {
		struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

		turn(pages_per_turn);
		if (ppoll(&input, 1, &pause, NULL) > 0)
			answer(turns);
	}
}
