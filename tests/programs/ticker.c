/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container program that knows every byte of its memory and notices when it stood still.
 *
 *   ticker MEGABYTES [TICK_US [GAP_US [soft|huge|hugetlb]]]
 *
 * soft: memory that can be compressed; huge: of huge pages where there are any; hugetlb: of pages that were reserved
 *
 * Prints START; GAP from_ns to_ns (real time) when two ticks are further apart than GAP_US. Commands on standard
 * input, one a line, each answered by one line: verify, count, fork, mangle, random N, exit N.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE       4096UL
#define PAGE_WORDS (PAGE / sizeof(uint64_t))

static uint64_t *memory;
static size_t page_count;
static uint64_t tick_count;
static size_t repeats = 1; /* of each word */

static uint64_t now_ns(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t) now.tv_sec * 1000000000ULL + (uint64_t) now.tv_nsec;
}

static uint64_t mix(uint64_t value)
{
	value ^= value >> 33;
	value *= 0xff51afd7ed558ccdULL;
	value ^= value >> 33;
	value *= 0xc4ceb9fe1a85ec53ULL;
	return value ^ value >> 33;
}

static void fill_page(uint64_t *page, uint64_t seed)
{
	for (size_t i = 0; i < PAGE_WORDS; i++)
		page[i] = mix(seed * PAGE_WORDS + i / repeats);
}

static bool is_page_right(const uint64_t *page, uint64_t seed)
{
	for (size_t i = 0; i < PAGE_WORDS; i++) {
		if (page[i] != mix(seed * PAGE_WORDS + i / repeats))
			return false;
	}
	return true;
}

static size_t count_bad(void)
{
	size_t bad = 0;

	for (size_t i = 0; i < page_count; i++)
		bad += !is_page_right(memory + i * PAGE_WORDS, i);
	return bad;
}

static void answer_fork(void)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0)
		_exit(count_bad() == 0 ? 0 : 1);
	(void) waitpid(child, &status, 0);
	printf("FORK bad=%d\n", status);
}

/* Everything the pager has to hear about: pages given back, unmapped, moved; then the rest is checked. */
static void answer_mangle(void)
{
	size_t part = page_count / 8, bad = 0;
	char *base = (char *) memory;
	uint64_t *moved;

	(void) madvise(base + part * PAGE, part * PAGE, MADV_DONTNEED);
	(void) munmap(base + 3 * part * PAGE, part * PAGE);
	moved = mremap(base + 5 * part * PAGE, part * PAGE, part * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		       base + 64 * page_count * PAGE);
	for (size_t i = 0; i < page_count; i++) {
		const uint64_t *page = memory + i * PAGE_WORDS;

		if (i / part == 1) {
			for (size_t word = 0; word < PAGE_WORDS; word++)
				bad += page[word] != 0;
		} else if (i / part == 5) {
			bad += moved == MAP_FAILED || !is_page_right(moved + (i - 5 * part) * PAGE_WORDS, i);
		} else if (i / part != 3) {
			bad += !is_page_right(page, i);
		}
	}
	printf("MANGLE bad=%zu\n", bad);
}

static void answer_random(size_t accesses)
{
	size_t bad = 0;

	for (size_t i = 0; i < accesses; i++) {
		size_t page = mix(i + 12345) % page_count;

		bad += !is_page_right(memory + page * PAGE_WORDS, page);
	}
	printf("RANDOM bad=%zu\n", bad);
}

static void answer(const char *line)
{
	if (strncmp(line, "verify", 6) == 0)
		printf("VERIFY bad=%zu pages=%zu\n", count_bad(), page_count);
	else if (strncmp(line, "count", 5) == 0)
		printf("COUNT %llu\n", (unsigned long long) tick_count);
	else if (strncmp(line, "fork", 4) == 0)
		answer_fork();
	else if (strncmp(line, "mangle", 6) == 0)
		answer_mangle();
	else if (strncmp(line, "random ", 7) == 0)
		answer_random(strtoul(line + 7, NULL, 10));
	else if (strncmp(line, "exit ", 5) == 0)
		exit((int) strtol(line + 5, NULL, 10));
	else
		printf("WHAT\n");
}

/* What a tick, or waiting for it, has taken too long. */
static void note_gap(uint64_t *last, uint64_t gap_ns)
{
	uint64_t now = now_ns();

	if (*last != 0 && now - *last > gap_ns)
		printf("GAP %llu %llu\n", (unsigned long long) *last, (unsigned long long) now);
	*last = now;
}

static void tick(long tick_us, uint64_t gap_ns)
{
	static uint64_t last;
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	struct timespec pause = {.tv_nsec = tick_us * 1000};
	char line[128];
	int r;

	tick_count++;
	note_gap(&last, gap_ns);
	r = ppoll(&input, 1, &pause, NULL);
	note_gap(&last, gap_ns);
	if (r <= 0)
		return;
	if (fgets(line, sizeof(line), stdin) == NULL)
		exit(0);
	answer(line);
	last = now_ns();
}

static __attribute__((noinline, noreturn)) void run(long tick_us, uint64_t gap_ns)
{
	for (;;)
		tick(tick_us, gap_ns);
}

/* CRIU takes all memory of a task for stack, and sends it before the commit, when its stack pointer is a multiple of a page. */
static __attribute__((noinline, noreturn)) void run_further_down(long tick_us, uint64_t gap_ns)
{
	char away[PAGE / 2];

	__asm__ volatile("" : : "r"(away) : "memory"); /* it is there */
	run(tick_us, gap_ns);
}

int main(int argc, char **argv)
{
	size_t megabytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
	long tick_us = argc > 2 ? strtol(argv[2], NULL, 10) : 500;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	long gap_us = argc > 3 ? strtol(argv[3], NULL, 10) : 5000;

	repeats = argc > 4 && strcmp(argv[4], "soft") == 0 ? 32 : 1;
	(void) setvbuf(stdout, NULL, _IOLBF, 0);
	(void) setvbuf(stdin, NULL, _IONBF, 0);
	page_count = megabytes * 1024 * 1024 / PAGE;
	if (argc > 4 && strcmp(argv[4], "hugetlb") == 0)
		flags |= MAP_HUGETLB;
	memory = mmap(NULL, page_count * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	if (argc > 4 && strcmp(argv[4], "huge") == 0)
		(void) madvise(memory, page_count * PAGE, MADV_HUGEPAGE);
	for (size_t i = 0; i < page_count; i++)
		fill_page(memory + i * PAGE_WORDS, i);
	printf("START\n");
	/* what we block in is some hundred bytes below this frame */
	if (((uintptr_t) __builtin_frame_address(0) & (PAGE - 1)) < PAGE / 2)
		run_further_down(tick_us, (uint64_t) gap_us * 1000);
	run(tick_us, (uint64_t) gap_us * 1000);
}
