/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/host_state.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/proc.h"
#include "state/record.h"
#include "state/run_dir.h"

#define FILE_MAX 65536U

static char *read_text(const char *path)
{
	struct error ignored;
	char *text = NULL;

	return file_read(AT_FDCWD, path, FILE_MAX, &text, NULL, &ignored) == 0 ? text : text_copy("");
}

static uint64_t memory_line(const char *meminfo, const char *key)
{
	const char *line = strstr(meminfo, key);

	return line != NULL ? strtoull(line + strlen(key), NULL, 10) * 1024 : 0;
}

/* "some avg10=1.23 avg60=..." in 1/100 percent; -1: the kernel does not tell. */
static int pressure(const char *what)
{
	auto_free char *path = text_format("/proc/pressure/%s", what);
	auto_free char *text = read_text(path);
	double percent;

	return sscanf(text, "some avg10=%lf", &percent) == 1 ? (int) (percent * 100) : -1;
}

static void add_pressure(Hydra__V1__HandoffHostState *self)
{
	int cpu = pressure("cpu"), memory = pressure("memory"), io = pressure("io");

	self->has_pressure = cpu >= 0 && memory >= 0 && io >= 0;
	if (!self->has_pressure)
		return;
	self->cpu_pressure = (uint32_t) cpu;
	self->memory_pressure = (uint32_t) memory;
	self->io_pressure = (uint32_t) io;
}

static uint64_t cpu_of(const struct proc_tasks *tasks)
{
	unsigned long long ticks = 0;

	for (size_t i = 0; i < tasks->count; i++) {
		auto_free char *path = text_format("/proc/%d/stat", (int) tasks->items[i].pid);
		auto_free char *text = read_text(path);
		const char *rest = strrchr(text, ')');
		unsigned long long user_ticks, kernel_ticks;

		if (rest != NULL && sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user_ticks, &kernel_ticks) == 2)
			ticks += user_ticks + kernel_ticks;
	}
	return ticks * NS_PER_S / (uint64_t) sysconf(_SC_CLK_TCK);
}

static const char *why_immovable(const record *container)
{
	if (container->containerd != NULL)
		return "it is a task of containerd";
	if (container->rootfs == NULL || container->rootfs->lower[0] == '\0')
		return "it was made from a bundle";
	if (container->network != NULL && strcmp(container->network->mode, "host") == 0)
		return "it uses the network of its host";
	return "";
}

static Hydra__V1__HandoffHostContainer *describe(const record *container)
{
	Hydra__V1__HandoffHostContainer *item = malloc(sizeof(*item));
	uint64_t now = clock_realtime_ns();
	struct proc_tasks tasks;
	struct error ignored;

	if (item == NULL)
		return NULL;
	hydra__v1__handoff_host_container__init(item);
	item->namespace_ = text_copy(container->namespace_);
	item->id = text_copy(container->id);
	item->immovable = text_copy(why_immovable(container));
	item->age_ns = now > container->started_ns ? now - container->started_ns : 0;
	if (container->pid > 0 && proc_tasks_read(&tasks, container->pid, &ignored) == 0) {
		item->memory_bytes = proc_memory(&tasks);
		item->cpu_ns = cpu_of(&tasks);
		proc_tasks_deinit(&tasks);
	}
	return item;
}

struct listing {
	const char *root;
	Hydra__V1__HandoffHostState *state;
};

static bool add_container(const char *namespace, const char *id, void *context)
{
	const struct listing *self = context;
	auto_free char *path = text_format("%s/%s/%s", self->root, namespace, id);
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	Hydra__V1__HandoffHostContainer *item = NULL;
	auto_record *container = NULL;
	struct error ignored;

	if (fd < 0 || record_load(fd, &container, &ignored) < 0)
		return true;
	if (container->state == HYDRA__V1__CONTAINER_STATE__STATE_RUNNING && process_start_time(container->pid) == container->start_time)
		item = describe(container);
	if (item != NULL)
		self->state->containers[self->state->n_containers++] = item;
	return self->state->n_containers < HOST_CONTAINERS_MAX;
}

Hydra__V1__HandoffHostState *host_state_collect(const char *run_root)
{
	Hydra__V1__HandoffHostState *self = malloc(sizeof(*self));
	auto_free char *meminfo = read_text("/proc/meminfo");
	struct listing listing = {run_root, self};
	struct error ignored;
	auto_free char *loadavg = read_text("/proc/loadavg");

	if (self == NULL)
		abort();
	hydra__v1__handoff_host_state__init(self);
	self->memory_bytes = memory_line(meminfo, "MemTotal:");
	self->memory_available_bytes = memory_line(meminfo, "MemAvailable:");
	self->processors = (uint32_t) sysconf(_SC_NPROCESSORS_ONLN);
	if (loadavg != NULL && self->processors > 0)
		self->load_percent = (uint32_t) (strtod(loadavg, NULL) * 100 / self->processors);
	add_pressure(self);
	self->containers = calloc(HOST_CONTAINERS_MAX, sizeof(*self->containers));
	if (self->containers != NULL && run_root != NULL)
		(void) run_dir_visit(run_root, NULL, add_container, &listing, &ignored);
	self->time_ns = clock_realtime_ns();
	return self;
}
