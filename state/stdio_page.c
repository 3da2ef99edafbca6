/* SPDX-License-Identifier: Apache-2.0 */
#include "state/stdio_page.h"

#include "base/owned.h"

#include <fcntl.h>
#include <stddef.h>

#define ATTEMPTS 3

static bool read_all(int fd, struct queue_page *page)
{
	return pread(fd, page, sizeof(*page), 0) == (ssize_t) sizeof(*page) && page->version == STDIO_PAGE_VERSION && !page->is_partial;
}

/* The state that counts is not written to: only when another one counted meanwhile it may be torn. */
bool stdio_page_count(int dir_fd, struct stdio_counts *ret_counts)
{
	auto_close int fd = openat(dir_fd, STDIO_PAGE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct queue_page page, again;

	for (int attempt = 0; fd >= 0 && attempt < ATTEMPTS; attempt++) {
		const struct queue_state *state;

		if (!read_all(fd, &page) || !read_all(fd, &again))
			return false;
		state = &page.states[page.current & 1];
		if (page.current != again.current || state->written + state->dropped > state->read)
			continue;
		*ret_counts = (struct stdio_counts){.read = state->read, .written = state->written, .dropped = state->dropped};
		return true;
	}
	return false;
}
