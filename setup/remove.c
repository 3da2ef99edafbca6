/* SPDX-License-Identifier: Apache-2.0 */
#include "base/child.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/kernel.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "proto/ttrpc_call.h"
#include "setup/setup.h"
#include "shim.pb-c.h"
#include "state/shim_process.h"
#include "state/volumes_made.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define STOP_TIMEOUT_MS  10000
#define STATE_TIMEOUT_MS 2000

/* Forgets what the runtime knows; kills what still runs. For containers whose shim can't do it any more. */
static int runtime_delete(struct run_dir *dir, struct error *err)
{
	auto_free char *program = child_program("hydra");
	auto_free char *oci_root = run_dir_path(dir, "oci");
	const char *argv[] = {"hydra", "--root", oci_root, "delete", "--force", dir->id, NULL};
	struct child_spec spec = {.path = program, .argv = argv, .cwd = "/", .fds = {{STDERR_FILENO, 2}}, .fd_count = 1};
	pid_t pid;
	int status;
	int r;

	if (!path_exists(dir->fd, "oci"))
		return 0;
	r = child_start(&spec, &pid, NULL, err);
	if (r == 0)
		r = child_wait(pid, &status, err);
	if (r == 0 && status != 0)
		r = fail_because(err, EIO, "remove container '%s': the runtime could not delete it", dir->id);
	return r;
}

#define WORD_MAX 128U

/* It came here and ran, and did not have all of its memory yet: the source will ask what became of it, and has to be told. A folder
 * that is gone would mean that it never ran (checkpoint/receive_relay.c). */
static bool keep_word(const char *folder)
{
	auto_free char *fate = text_format("%s/" RECORD_FATE_FILE, folder);
	auto_free char *word = NULL;
	auto_free char *images = text_format("%s/images", folder);
	auto_free char *lost = text_format("%s/lost", folder);
	struct error ignored;

	if (file_read(AT_FDCWD, fate, WORD_MAX, &word, NULL, &ignored) < 0 || !text_has_prefix(word, "resumed") ||
	    !path_exists(AT_FDCWD, images))
		return false;
	if (file_replace_fast(AT_FDCWD, lost, "", 0, 0600, &ignored) == 0)
		(void) dir_remove_all(AT_FDCWD, images, &ignored);
	return true;
}

/* Whoever waits at its target for memory of it hears that none will come. When the target can't be asked now, hydrad tells it after the
 * next start of this host. */
static void say_farewell(const record *container)
{
	const char *migration = container->migration != NULL ? container->migration->id : "";
	auto_free char *path = text_format("%s/.departures/%s", data_root(), migration);
	auto_free char *program = child_program("hydra-pager");
	const char *argv[] = {"hydra-pager", "farewell", "--now", "--record", path, NULL};
	struct child_spec spec = {.path = program, .argv = argv, .cwd = "/", .fds = {{STDERR_FILENO, STDERR_FILENO}}, .fd_count = 1};
	struct error ignored;
	int status;
	pid_t pid;

	if (id_check("migration", migration, &ignored) == 0 && path_exists(AT_FDCWD, path) && child_start(&spec, &pid, NULL, &ignored) == 0)
		(void) child_wait(pid, &status, &ignored);
}

/* What workers of its migration left, in either direction, because they were killed. */
static void remove_work(const struct run_dir *dir, const char *migration)
{
	auto_free char *in = text_format("%s/../../.work/%s", dir->path, migration);
	auto_free char *out = text_format("%s/../../.work/out-%s", dir->path, migration);
	struct error ignored;

	if (id_check("migration", migration, &ignored) < 0)
		return;
	if (!keep_word(in)) {
		volumes_made_undo(in);
		(void) dir_remove_all(AT_FDCWD, in, &ignored);
	}
	(void) dir_remove_all(AT_FDCWD, out, &ignored);
}

int container_remove_parts(struct run_dir *dir, const record *container, struct error *err)
{
	int r = runtime_delete(dir, err);

	fault_point("setup.remove.runtime");
	if (r == 0)
		say_farewell(container);
	if (r == 0)
		r = network_remove(dir, container, err);
	fault_point("setup.remove.network");
	if (r == 0)
		r = bundle_remove(container, err);
	fault_point("setup.remove.bundle");
	if (r == 0 && container->migration != NULL)
		remove_work(dir, container->migration->id);
	return r < 0 ? r : run_dir_remove(dir, err);
}

static int stop_by_shim(const char *root, const char *namespace, const char *id, struct error *err)
{
	Hydra__V1__StopRequest request = HYDRA__V1__STOP_REQUEST__INIT;
	auto_message ProtobufCMessage *response = NULL;
	auto_close int fd = FD_NONE;
	int r = shim_process_connect(root, namespace, id, &fd, err);

	if (r < 0)
		return r;
	return ttrpc_call_blocking(fd, "hydra.v1.Shim", "Stop", &request.base, &hydra__v1__wait_response__descriptor,
				   STOP_TIMEOUT_MS, &response, err);
}

/* A young shim has not put its pid into the record yet, but it answers; one that hangs has written its record. */
static pid_t shim_pid_of(const struct run_dir *dir, const char *root, const char *namespace)
{
	Hydra__V1__Empty empty = HYDRA__V1__EMPTY__INIT;
	auto_message ProtobufCMessage *response = NULL;
	auto_record *container = NULL;
	auto_close int fd = FD_NONE;
	struct error ignored;

	if (shim_process_connect(root, namespace, dir->id, &fd, &ignored) == 0 &&
	    ttrpc_call_blocking(fd, "hydra.v1.Shim", "State", &empty.base, &hydra__v1__state_response__descriptor,
				STATE_TIMEOUT_MS, &response, &ignored) == 0)
		return (pid_t) ((const Hydra__V1__StateResponse *) (const void *) response)->shim_pid;
	return record_load(dir->fd, &container, &ignored) == 0 ? (pid_t) container->shim_pid : 0;
}

/* A shim that has not created anything, or that does not answer: it goes, the container with it. */
static void kill_shim(const struct run_dir *dir, const char *root, const char *namespace)
{
	pid_t pid = shim_pid_of(dir, root, namespace);
	auto_close int pidfd = pid > 0 ? kernel_pidfd_open(pid, 0) : FD_NONE;
	auto_free char *path = text_format("/proc/%d/exe", (int) pid);
	struct pollfd ready = {.fd = pidfd, .events = POLLIN};
	char program[256];
	ssize_t size = pidfd >= 0 ? readlink(path, program, sizeof(program) - 1) : -1;

	program[size > 0 ? size : 0] = '\0';
	/* the pid may be from the record: make sure that it still is a shim's */
	if (strstr(program, "shim") == NULL)
		return;
	(void) kernel_pidfd_send_signal(pidfd, SIGKILL);
	(void) poll(&ready, 1, STOP_TIMEOUT_MS);
}

static int wait_for_end(const struct run_dir *dir, const char *root, const char *namespace, struct error *err)
{
	struct run_dir shim;
	int r = run_dir_open(&shim, root, namespace, dir->id, err);

	if (r == 0)
		r = run_dir_lock_wait(&shim, LOCK_SHIM, err);
	run_dir_close(&shim);
	return r;
}

static int end_shim(const struct run_dir *dir, const char *root, const char *namespace, struct error *err)
{
	struct error ignored;

	if (stop_by_shim(root, namespace, dir->id, &ignored) < 0)
		kill_shim(dir, root, namespace);
	return wait_for_end(dir, root, namespace, err);
}

/* Its shim would wait for containerd, and the monitor would replace it. */
static int end_shim_of_task(struct run_dir *dir, record *container, const char *root, const char *namespace, struct error *err)
{
	struct error ignored;
	int r;

	(void) stop_by_shim(root, namespace, dir->id, &ignored);
	container->state = HYDRA__V1__CONTAINER_STATE__STATE_REMOVING;
	r = record_save(dir->fd, container, err);
	if (r < 0)
		return r;
	kill_shim(dir, root, namespace);
	return wait_for_end(dir, root, namespace, err);
}

static int remove_locked(struct run_dir *dir, const char *root, const char *namespace, bool force, struct error *err)
{
	auto_record *container = NULL;
	record empty = HYDRA__V1__CONTAINER_RECORD__INIT;
	struct error unreadable;
	int r = 0;

	if (record_load(dir->fd, &container, &unreadable) < 0 && unreadable.code != -ENOENT && !force)
		return fail_because(err, EPROTO, "%s; --force removes it all the same", unreadable.message);
	if (run_dir_is_locked(dir, LOCK_SHIM)) {
		bool is_stopped = container != NULL && container->state == HYDRA__V1__CONTAINER_STATE__STATE_STOPPED &&
				  !container->restart_is_pending;

		if (!force && !is_stopped)
			return fail_because(err, EBUSY, "container '%s' is %s: stop it first, or use --force", dir->id,
					    container != NULL ? state_name(container->state) : "unknown");
		r = container != NULL && container->containerd != NULL ? end_shim_of_task(dir, container, root, namespace, err)
								       : end_shim(dir, root, namespace, err);
	}
	if (r == 0 && container != NULL) {
		container->state = HYDRA__V1__CONTAINER_STATE__STATE_REMOVING;
		r = record_save(dir->fd, container, err);
	}
	fault_point("setup.remove.intent");
	if (r == 0 && container == NULL) {
		empty.id = dir->id;
		empty.namespace_ = (char *) (uintptr_t) namespace;
	}
	return r < 0 ? r : container_remove_parts(dir, container != NULL ? container : &empty, err);
}

/* containerd would not know of it. */
int container_check_owner(const struct run_dir *dir, struct error *err)
{
	auto_record *container = NULL;
	struct error ignored;

	if (record_load(dir->fd, &container, &ignored) < 0 || container->containerd == NULL)
		return 0;
	return fail_because(err, EOPNOTSUPP, "container '%s' is a task of containerd: start and remove it there", dir->id);
}

struct removal {
	bool force, by_containerd, is_only_half_done;
};

/* Since who asks looked at it, it may have been finished, and may even have ended. */
static bool is_half_done(const struct run_dir *dir)
{
	auto_record *container = NULL;
	struct error err;

	if (run_dir_is_locked(dir, LOCK_SHIM) || (record_load(dir->fd, &container, &err) < 0 && err.code != -ENOENT))
		return false;
	return record_is_half_done(container);
}

static int remove_container(const char *root, const char *namespace, const char *id, const struct removal *how, struct error *err)
{
	struct run_dir dir;
	int r = run_dir_open(&dir, root, namespace, id, err);

	if (r < 0)
		return r;
	r = run_dir_lock_wait(&dir, LOCK_SETUP, err);
	/* while we waited somebody else may have removed it */
	if (r == 0 && !path_exists(AT_FDCWD, dir.path))
		r = fail_because(err, ENOENT, "no container '%s'", id);
	if (r == 0 && !how->by_containerd)
		r = container_check_owner(&dir, err);
	if (r == 0 && (!how->is_only_half_done || is_half_done(&dir)))
		r = remove_locked(&dir, root, namespace, how->force, err);
	run_dir_close(&dir);
	return r;
}

int container_remove(const char *root, const char *namespace, const char *id, bool force, struct error *err)
{
	return remove_container(root, namespace, id, &(const struct removal){.force = force}, err);
}

int container_remove_task(const char *root, const char *namespace, const char *id, struct error *err)
{
	return remove_container(root, namespace, id, &(const struct removal){.force = true, .by_containerd = true}, err);
}

int container_remove_half_done(const char *root, const char *namespace, const char *id, bool by_containerd, struct error *err)
{
	const struct removal how = {.force = true, .by_containerd = by_containerd, .is_only_half_done = true};

	return remove_container(root, namespace, id, &how, err);
}
