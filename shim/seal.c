/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shim knows and no file tells, as a message.
 */
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/ttrpc_seal.h"
#include "shim/calls.h"
#include "shim/client.h"
#include "shim/container.h"
#include "shim/fifo.h"
#include "shim/shim.h"
#include "shim/upgrade.h"

#include <stdlib.h>
#include <string.h>

static bool seal_input(const struct process *process, Hydra__V1__SealedProcess *sealed)
{
	sealed->input.data = malloc(process->input_size + 1);
	if (sealed->input.data == NULL)
		return false;
	sealed->input.len = process->input_size;
	if (process->input_size > 0)
		memcpy(sealed->input.data, process->input, process->input_size);
	return true;
}

static bool seal_stdio(const struct process *process, Hydra__V1__SealedProcess *sealed)
{
	if (process->stdio_names[0] == NULL)
		return true;
	sealed->stdio_fds = calloc(FIFO_COUNT, sizeof(*sealed->stdio_fds));
	if (sealed->stdio_fds == NULL)
		return false;
	for (; sealed->n_stdio_fds < FIFO_COUNT; sealed->n_stdio_fds++)
		sealed->stdio_fds[sealed->n_stdio_fds] = fifos_fd(process, (int) sealed->n_stdio_fds);
	return message_set_strings(&sealed->stdio, &sealed->n_stdio, (const char *const *) process->stdio_names, 3);
}

static Hydra__V1__SealedProcess *seal_process(const struct process *process)
{
	auto_message Hydra__V1__SealedProcess *sealed = malloc(sizeof(*sealed));

	if (sealed == NULL)
		return NULL;
	hydra__v1__sealed_process__init(sealed);
	sealed->exec_id = text_copy(process->exec_id);
	sealed->pid = process->pid;
	sealed->is_terminal = process->is_terminal;
	sealed->open_stdin = process->open_stdin;
	sealed->has_started = process->has_started;
	sealed->waits_for_client = process->waits_for_client;
	sealed->input_ends = process->input_ends;
	sealed->started_ns = process->started_ns;
	sealed->stdin_fd = process->ends[STREAM_STDIN_END];
	sealed->stdout_fd = process->ends[STREAM_STDOUT_END];
	sealed->stderr_fd = process->ends[STREAM_STDERR_END];
	if (process->ends[STREAM_BRIDGE_END] > 0 && process->ends[STREAM_BRIDGE_INPUT] > 0) {
		sealed->bridge_fd = process->ends[STREAM_BRIDGE_END];
		sealed->bridge_input_fd = process->ends[STREAM_BRIDGE_INPUT];
	}
	sealed->is_added = process->is_added;
	if (!seal_stdio(process, sealed))
		return NULL;
	if (process->exit != NULL)
		sealed->exit = (exit_record *) (void *) message_copy(&process->exit->base);
	if ((process->exit != NULL && sealed->exit == NULL) || !seal_input(process, sealed) || !clients_seal(process, sealed))
		return NULL;
	return take_ptr(&sealed);
}

static bool seal_processes(const struct container *container, Hydra__V1__SealedShim *sealed)
{
	size_t count = 0;

	for (const struct process *process = container->processes; process != NULL; process = process->next)
		count++;
	sealed->processes = calloc(count + 1, sizeof(*sealed->processes));
	if (sealed->processes == NULL)
		return false;
	for (const struct process *process = container->processes; process != NULL; process = process->next) {
		Hydra__V1__SealedProcess *one = seal_process(process);

		if (one == NULL)
			return false;
		sealed->processes[sealed->n_processes++] = one;
	}
	return true;
}

/* What a binary that ignores fields that it does not know would lose. */
static uint64_t needs(const struct container *container)
{
	uint64_t bits = 0;

	for (const struct process *process = container->processes; process != NULL; process = process->next) {
		if (clients_have_bytes_waiting(process))
			bits |= SEAL_FEEDS;
		if (process_has_bytes_in_bridge(process))
			bits |= SEAL_BRIDGES;
	}
	return bits;
}

Hydra__V1__SealedShim *shim_seal(const struct shim *self)
{
	const struct container *container = self->containers;
	auto_message Hydra__V1__SealedShim *sealed = malloc(sizeof(*sealed));

	if (sealed == NULL)
		return NULL;
	hydra__v1__sealed_shim__init(sealed);
	sealed->version = SEAL_VERSION;
	sealed->needs = needs(container);
	sealed->program_version = text_copy(HYDRA_VERSION);
	sealed->lock_fd = container->dir.lock_fd;
	sealed->kill_in_ns = event_timer_rest(&container->kill_timer);
	sealed->restart_in_ns = event_timer_rest(&container->restart_timer);
	sealed->restart_delay_ns = container->restart_delay_ns;
	sealed->oom_kills = container->oom_kills;
	sealed->is_cleaned = container->is_cleaned;
	sealed->calls_fd = calls_fd(self);
	sealed->server = ttrpc_server_seal(&self->server, self->upgrade.call);
	if (sealed->server == NULL || !seal_processes(container, sealed))
		return NULL;
	return take_ptr(&sealed);
}

void shim_sealed_fds(const Hydra__V1__SealedShim *sealed, void (*visit)(int fd))
{
	ttrpc_sealed_fds(sealed->server, visit);
	visit(sealed->lock_fd);
	if (sealed->calls_fd > 0)
		visit(sealed->calls_fd);
	for (size_t i = 0; i < sealed->n_processes; i++) {
		const Hydra__V1__SealedProcess *process = sealed->processes[i];

		visit(process->stdin_fd);
		visit(process->stdout_fd);
		visit(process->stderr_fd);
		if (process->feed_fd > 0)
			visit(process->feed_fd);
		if (process->bridge_fd > 0) {
			visit(process->bridge_fd);
			visit(process->bridge_input_fd);
		}
		for (size_t j = 0; j < process->n_stdio_fds; j++)
			visit(process->stdio_fds[j]);
		for (size_t j = 0; j < process->n_clients; j++)
			visit(process->clients[j]->fd);
	}
}
