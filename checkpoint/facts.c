/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about hosts. CPU features are compared as the kernel lists them: a process that was started with one more
 * would meet an illegal instruction at the target.
 */
#include "checkpoint/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/uffd.h"

#define SMALL_FILE_MAX (1U << 20)

static char *line_of(const char *path, const char *key)
{
	struct error ignored;
	auto_free char *text = NULL;
	char *line, *value;

	if (file_read(AT_FDCWD, path, SMALL_FILE_MAX * 16, &text, NULL, &ignored) < 0)
		return text_copy("");
	line = strstr(text, key);
	if (line == NULL)
		return text_copy("");
	value = line + strlen(key);
	value += strspn(value, " \t:=\"");
	value[strcspn(value, "\"\n")] = '\0';
	return text_copy(value);
}

static uint64_t number_in(const char *path)
{
	struct error ignored;
	auto_free char *text = NULL;
	uint64_t value = 0;

	if (file_read(AT_FDCWD, path, 256, &text, NULL, &ignored) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	(void) number_parse_u64(text, &value);
	return value;
}

Hydra__V1__HandoffFacts *facts_collect(const struct criu *criu)
{
	Hydra__V1__HandoffFacts *self = malloc(sizeof(*self));
	struct utsname kernel;

	if (self == NULL || uname(&kernel) < 0)
		abort();
	hydra__v1__handoff_facts__init(self);
	self->host = text_copy(kernel.nodename);
	self->kernel = text_copy(kernel.release);
	self->machine = text_copy(kernel.machine);
	self->criu_version = text_copy(criu != NULL && criu->path != NULL ? criu->version_text : "");
	self->cpu_flags = line_of("/proc/cpuinfo", "\nflags");
	self->os_release = line_of("/etc/os-release", "PRETTY_NAME");
	self->pipe_max_size = number_in("/proc/sys/fs/pipe-max-size");
	self->page_size = (uint64_t) sysconf(_SC_PAGESIZE);
	self->has_lazy_pages = uffd_is_complete();
	self->has_soft_dirty = facts_can_track_memory();
	self->has_unprivileged_userfaultfd = number_in("/proc/sys/vm/unprivileged_userfaultfd") == 1;
	return self;
}

/* Soft-dirty: bit 55 of a page's entry is set after a write when the kernel tracks it. */
bool facts_can_track_memory(void)
{
	auto_close int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	volatile uint64_t touched = 1;
	off_t offset = (off_t) ((uintptr_t) &touched / (uintptr_t) sysconf(_SC_PAGESIZE) * sizeof(entry));

	return fd >= 0 && touched == 1 && pread(fd, &entry, sizeof(entry), offset) == sizeof(entry) &&
	       (entry >> 55 & 1) != 0;
}

int facts_ensure_pipe_size(struct error *err)
{
	auto_free char *wanted = text_format("%llu", PIPE_SIZE_WANTED);

	if (number_in("/proc/sys/fs/pipe-max-size") >= PIPE_SIZE_WANTED)
		return 0;
	if (file_set(AT_FDCWD, "/proc/sys/fs/pipe-max-size", wanted, err) < 0)
		return fail_because(err, EPERM, "fs.pipe-max-size is too small and cannot be raised; set it to %s", wanted);
	return 0;
}

static bool has_word(const char *list, const char *word, size_t length)
{
	for (const char *at = list; *at != '\0'; at += strspn(at, " ")) {
		size_t size = strcspn(at, " ");

		if (size == length && strncmp(at, word, length) == 0)
			return true;
		at += size;
	}
	return false;
}

bool facts_missing_word(const char *wanted, const char *offered, char *ret_word, size_t size)
{
	for (const char *at = wanted; *at != '\0'; at += strspn(at, " ")) {
		size_t length = strcspn(at, " ");

		if (length > 0 && !has_word(offered, at, length)) {
			(void) snprintf(ret_word, size, "%.*s", (int) length, at);
			return true;
		}
		at += length;
	}
	return false;
}

static void compare_machines(const Hydra__V1__HandoffFacts *theirs, const Hydra__V1__HandoffFacts *ours, struct problems *problems)
{
	char word[64];

	if (strcmp(theirs->machine, ours->machine) != 0)
		problems_add(problems, "choose a host of the same kind", "machine", "the source is %s, this host is %s", theirs->machine,
			     ours->machine);
	if (theirs->page_size != ours->page_size)
		problems_add(problems, "choose a host of the same kind", "memory", "pages have %" PRIu64 " bytes at the source, %" PRIu64 " here",
			     theirs->page_size, ours->page_size);
	if (facts_missing_word(theirs->cpu_flags, ours->cpu_flags, word, sizeof(word)))
		problems_add(problems, "choose a host with the same or a newer CPU", "CPU", "this host's CPU lacks '%s', which the source's has",
			     word);
}

static void compare_criu(const Hydra__V1__HandoffFacts *theirs, const Hydra__V1__HandoffFacts *ours, struct problems *problems)
{
	int their_criu = 0, our_criu = 0;

	if (version_parse(theirs->criu_version, &their_criu) < 0)
		problems_add(problems, "install CRIU there", "CRIU", "no CRIU at the source");
	else if (version_parse(ours->criu_version, &our_criu) < 0)
		problems_add(problems, "install CRIU here", "CRIU", "no CRIU at the target");
	else if (their_criu / 100 > our_criu / 100)
		problems_add(problems, "upgrade CRIU here", "CRIU", "CRIU %s here cannot be trusted to read images of %s",
			     ours->criu_version, theirs->criu_version);
}

void facts_compare(const Hydra__V1__HandoffFacts *theirs, const Hydra__V1__HandoffFacts *ours, struct problems *problems)
{
	compare_machines(theirs, ours, problems);
	compare_criu(theirs, ours, problems);
}

void facts_check_mode(const Hydra__V1__HandoffFacts *ours, handoff_mode mode, bool has_user_namespace, struct problems *problems)
{
	static const char another[] = "choose another mode: cold, or pre-copy";

	if (!mode_is_lazy(mode))
		return;
	if (!ours->has_lazy_pages)
		problems_add(problems, another, "kernel", "this kernel's userfaultfd lacks what %s needs", mode_name(mode));
	else if (has_user_namespace && !ours->has_unprivileged_userfaultfd)
		problems_add(problems, "set vm.unprivileged_userfaultfd=1 here, or choose another mode: cold, or pre-copy", "user namespace",
			     "memory of a container with a user namespace can't be served later while vm.unprivileged_userfaultfd is 0 here");
}

/* Strings from the kernel and from a peer: control characters and quotes do not belong into JSON as they are. */
static void print_json_string(const char *key, const char *value)
{
	printf("\"%s\":\"", key);
	for (; *value != '\0'; value++) {
		if ((unsigned char) *value < 0x20)
			printf("\\u%04x", (unsigned char) *value);
		else if (*value == '"' || *value == '\\')
			printf("\\%c", *value);
		else
			putchar(*value);
	}
	printf("\",");
}

void facts_print_json(const Hydra__V1__HandoffFacts *facts, const char *criu_path, const char *problem)
{
	printf("{");
	print_json_string("host", facts->host);
	print_json_string("kernel", facts->kernel);
	print_json_string("machine", facts->machine);
	print_json_string("osRelease", facts->os_release);
	print_json_string("criuVersion", facts->criu_version);
	print_json_string("criuPath", criu_path);
	print_json_string("problem", problem);
	printf("\"pipeMaxSize\":%" PRIu64 ",\"pageSize\":%" PRIu64 ",\"lazyPages\":%s,\"unprivilegedUserfaultfd\":%s,"
	       "\"memDirtyTrack\":%s,\"canMigrate\":%s}\n",
	       facts->pipe_max_size, facts->page_size, facts->has_lazy_pages ? "true" : "false",
	       facts->has_unprivileged_userfaultfd ? "true" : "false", facts_can_track_memory() ? "true" : "false",
	       *problem == '\0' ? "true" : "false");
}

void facts_print_text(const Hydra__V1__HandoffFacts *facts, const char *criu_path, const char *problem)
{
	printf("host                     %s\n", facts->host);
	printf("kernel                   %s (%s)\n", facts->kernel, facts->machine);
	printf("system                   %s\n", facts->os_release);
	printf("CRIU                     %s %s\n", facts->criu_version, criu_path);
	printf("post-copy (userfaultfd)  %s\n", facts->has_lazy_pages ? "yes" : "no");
	printf("... of user namespaces   %s\n", facts->has_unprivileged_userfaultfd ? "yes" : "no: vm.unprivileged_userfaultfd is 0");
	printf("pre-copy (soft-dirty)    %s\n", facts_can_track_memory() ? "yes" : "no: the kernel does not track written pages");
	printf("pipe size                %" PRIu64 "%s\n", facts->pipe_max_size,
	       facts->pipe_max_size < PIPE_SIZE_WANTED ? " (is raised when a migration starts)" : "");
	printf("containers can migrate   %s\n", *problem == '\0' ? "yes" : problem);
}
