/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the message that another binary left to a shim that goes on. Nothing here may close or consume what that binary
 * would need again, before it is certain that all of it is understood.
 */
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/ttrpc_seal.h"
#include "shim.pb-c.h"
#include "shim/calls.h"
#include "shim/client.h"
#include "shim/container.h"
#include "shim/containerd.h"
#include "shim/deposit.h"
#include "shim/fifo.h"
#include "shim/health.h"
#include "shim/shim.h"
#include "shim/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void fill_process(struct process *process, const Hydra__V1__SealedProcess *sealed)
{
	process->is_terminal = sealed->is_terminal;
	process->open_stdin = sealed->open_stdin;
	process->has_started = sealed->has_started;
	process->waits_for_client = sealed->waits_for_client;
	process->input_ends = sealed->input_ends;
	process->started_ns = sealed->started_ns;
	process->ends[STREAM_STDIN_END] = sealed->stdin_fd;
	process->ends[STREAM_STDOUT_END] = sealed->stdout_fd;
	process->ends[STREAM_STDERR_END] = sealed->stderr_fd;
	if (sealed->bridge_fd > 0) {
		process->ends[STREAM_BRIDGE_END] = sealed->bridge_fd;
		process->ends[STREAM_BRIDGE_INPUT] = sealed->bridge_input_fd;
	}
	process->is_added = sealed->is_added;
	for (size_t i = 0; i < sealed->n_stdio && i < 3; i++)
		process->stdio_names[i] = text_copy(sealed->stdio[i]);
	for (size_t i = 0; i < sealed->n_stdio_fds && i < FIFO_COUNT; i++) {
		if (sealed->stdio_fds[i] >= 0)
			fifos_keep(process, (int) i, sealed->stdio_fds[i]);
	}
	process->pid = sealed->pid;
	process->start_time = process_start_time_at_all(sealed->pid);
	process->has_ended = sealed->exit != NULL;
}

static int unseal_process(struct container *container, const Hydra__V1__SealedProcess *sealed, struct error *err)
{
	struct process *process = process_new(container, sealed->exec_id);

	if (process == NULL)
		return fail_errno(err, ENOMEM, "take over process %d", sealed->pid);
	fill_process(process, sealed);
	if (sealed->exec_id[0] == '\0')
		container->init = process;
	if (sealed->exit != NULL) {
		process->exit = (exit_record *) (void *) message_copy(&sealed->exit->base);
		if (process->exit == NULL)
			return fail_errno(err, ENOMEM, "take over process %d", sealed->pid);
	}
	return 0;
}

/* From here on processes are read from and written to: nothing fails any more that would matter. */
static void resume_process(struct process *process, const Hydra__V1__SealedProcess *sealed)
{
	struct error err;

	if (process == process->container->init && process_open_log(process, &err) < 0)
		log_error("log not opened", "container=%s error=\"%s\"", process->container->dir.id, err.message);
	if (sealed->input.len > 0)
		(void) process_write_input(process, sealed->input.data, sealed->input.len);
	clients_unseal(process, sealed);
	if (!process->has_ended && sealed->pid > 0 && process_follow(process, sealed->pid, &err) < 0)
		log_error("process not followed", "container=%s pid=%d error=\"%s\"", process->container->dir.id, sealed->pid,
			  err.message);
	process_open_bridge(process); /* a binary before may have known none */
	process_resume_output(process);
}

static void resume_timers(struct container *container, const Hydra__V1__SealedShim *sealed)
{
	struct event_loop *loop = &container->shim->loop;

	if (sealed->kill_in_ns > 0)
		event_loop_arm(loop, &container->kill_timer, sealed->kill_in_ns);
	if (sealed->restart_in_ns > 0)
		event_loop_arm(loop, &container->restart_timer, sealed->restart_in_ns);
	container->restart_delay_ns = sealed->restart_delay_ns;
	container->is_cleaned = sealed->is_cleaned;
	if (container->init != NULL && container->init->pid > 0 && !container->init->has_ended)
		cgroup_find(container->init->pid, &container->cgroup);
	container->oom_kills = sealed->oom_kills;
}

static int read_state(const struct reexec_options *options, Hydra__V1__SealedShim **ret_sealed, struct error *err)
{
	int r = replacement_read(options, &hydra__v1__sealed_shim__descriptor, "a shim", (ProtobufCMessage **) (void *) ret_sealed, err);

	return r < 0 ? r : seal_check((*ret_sealed)->program_version, (*ret_sealed)->version, (*ret_sealed)->needs, (*ret_sealed)->server, err);
}

/* What waits for the log is handed over in a file. */
static int check_output(const char *root, const char *namespace, const char *id, struct error *err)
{
	struct run_dir dir;
	int r = run_dir_open(&dir, root, namespace, id, err);

	if (r == 0 && !queue_is_understood(dir.fd))
		r = fail_because(err, EPROTO, "the output on its way has a format that version " HYDRA_VERSION " does not know");
	run_dir_close(&dir);
	return r;
}

int shim_unseal(struct shim *self, const char *root, const char *namespace, const char *id, const struct reexec_options *options,
		struct error *err)
{
	auto_message Hydra__V1__SealedShim *sealed = NULL;
	struct container *container = NULL;
	struct ttrpc_call *call;
	int r = read_state(options, &sealed, err);

	if (r == 0 && options->refused == NULL)
		r = check_output(root, namespace, id, err);
	if (r == 0)
		r = shim_init(self, root, namespace, sealed->server->listen_fd, err);
	if (r == 0) {
		calls_init(self, sealed->calls_fd > 0 ? sealed->calls_fd : FD_NONE);
		self->lock_fd = fcntl(sealed->lock_fd, F_DUPFD_CLOEXEC, 0); /* the binary before keeps its own */
		r = container_open(&container, self, id, err);
	}
	if (r == 0 && container->record->containerd != NULL)
		r = containerd_init(self, err);
	for (size_t i = 0; i < (r == 0 ? sealed->n_processes : 0) && r == 0; i++)
		r = unseal_process(container, sealed->processes[i], err);
	if (r < 0)
		return r;
	shim_sealed_fds(sealed, reexec_keep_not);
	reexec_finish(options);
	(void) close(sealed->lock_fd);
	resume_timers(container, sealed);
	if (container->record->health != NULL)
		health_begin(container);
	for (size_t i = 0; i < sealed->n_processes; i++)
		resume_process(container_find(container, sealed->processes[i]->exec_id), sealed->processes[i]);
	container_note(container, options->refused != NULL ? "upgrade-refused" : "upgraded", container->init, sealed->program_version);
	ttrpc_server_unseal(&self->server, sealed->server, &call);
	deposit_everything(self); /* last: what is not deposited then is forgotten */
	seal_answer(call, sealed->program_version, options->refused);
	return 0;
}
