/* SPDX-License-Identifier: Apache-2.0 */
#include "setup/sealed.h"

#include "base/child.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#define PREFIX      "sealed-"
#define KEPT_FILE   "kept" /* in a place whose content is nowhere else */
#define REPORT_SIZE 400U

static bool is_of_the_dead(const char *name)
{
	int pid = text_has_prefix(name, PREFIX) ? (int) strtol(name + strlen(PREFIX), NULL, 10) : 0;

	return pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
}

void sealed_place_remove(const char *place)
{
	struct error ignored;

	if (place == NULL)
		return;
	(void) umount2(place, MNT_DETACH);
	(void) dir_remove_all(AT_FDCWD, place, &ignored);
}

/* What killed ones left; that is memory. */
static void sweep(const char *folder)
{
	DIR *entries = opendir(folder);

	for (struct dirent *entry = entries != NULL ? readdir(entries) : NULL; entry != NULL; entry = readdir(entries)) {
		auto_free char *path = text_format("%s/%s", folder, entry->d_name);

		auto_free char *kept = text_format("%s/" KEPT_FILE, path);

		if (is_of_the_dead(entry->d_name) && !path_exists(AT_FDCWD, kept))
			sealed_place_remove(path);
	}
	if (entries != NULL)
		(void) closedir(entries);
}

void sealed_place_keep(const char *place)
{
	auto_free char *kept = text_format("%s/" KEPT_FILE, place);
	struct error ignored;

	(void) file_replace_fast(AT_FDCWD, kept, "", 0, 0600, &ignored);
}

int sealed_place_make(const char *root, char **ret_place, struct error *err)
{
	auto_free char *folder = text_format("%s/.work", root);
	auto_free char *place = text_format("%s/" PREFIX "%d", folder, (int) getpid());
	int r = dir_make_all(place, 0700, err);

	if (r < 0)
		return r;
	sweep(folder);
	/* tmpfs without swap is younger than ramfs, which has none either, but also no limit */
	if (mount("sealed", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=100%,noswap") < 0 &&
	    mount("sealed", place, "ramfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0) {
		r = fail_errno(err, errno, "make a place in memory at '%s'", place);
		(void) rmdir(place);
		return r;
	}
	*ret_place = take_ptr(&place);
	return 0;
}

int sealed_check(const char *folder, const char *key_file, struct error *err)
{
	auto_free char *path = text_format("%s/" SEALED_FILE, folder);
	auto_free char *probe = text_format("%s/.probe", folder);
	auto_close int fd = FD_NONE;
	int r = access(key_file, R_OK) < 0 ? fail_errno(err, errno, "open key file '%s'", key_file) : 0;

	if (r == 0 && path_exists(AT_FDCWD, path))
		r = fail_because(err, EEXIST, "'%s' has a checkpoint already", folder);
	if (r == 0)
		r = dir_make_all(folder, 0700, err);
	if (r < 0)
		return r;
	fd = open(probe, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(err, errno, "write to '%s'", folder);
	(void) unlink(probe);
	return 0;
}

/* The program behind the pipe, or in front of it. */
struct end {
	const char *path;
	const char *const *argv;
	int pipe_fd, pipe_number;
};

static int start(const struct end *end, int report_fd, pid_t *ret_pid, struct error *err)
{
	struct child_spec spec = {.path = end->path, .argv = end->argv, .cwd = "/",
				  .fds = {{end->pipe_fd, end->pipe_number}, {report_fd, STDERR_FILENO}}, .fd_count = 2};

	return child_start(&spec, ret_pid, NULL, err);
}

/* Runs one into the other. Their exit statuses; what they complained about is in report. */
static int run_both(struct end *from, struct end *to, int report_fd, int ret_statuses[2], struct error *err)
{
	int ends[2], r;
	pid_t pids[2] = {0, 0};

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	from->pipe_fd = ends[1];
	to->pipe_fd = ends[0];
	r = start(from, report_fd, &pids[0], err);
	if (r == 0)
		r = start(to, report_fd, &pids[1], err);
	(void) close(ends[0]);
	(void) close(ends[1]);
	for (int i = 0; i < 2; i++) {
		struct error ignored;

		if (pids[i] > 0)
			(void) child_wait(pids[i], &ret_statuses[i], &ignored);
	}
	return r;
}

/* What the programs said last, the crypto first: when it gives up, tar complains too. */
static int explain(int report_fd, const char *action, struct error *err)
{
	char report[REPORT_SIZE + 1] = "";
	ssize_t size = pread(report_fd, report, REPORT_SIZE, 0);
	char *ours, *end;

	report[size > 0 ? size : 0] = '\0';
	ours = strstr(report, "hydra-checkpoint ");
	ours = ours != NULL ? ours : report;
	end = strchr(ours, '\n');
	if (end != NULL)
		*end = '\0';
	return fail_because(err, EIO, "%s: %s", action, ours[0] != '\0' ? ours : "no reason was given");
}

int sealed_pack(const char *place, const char *layer, const char *folder, const char *key_file, bool may_change, struct error *err)
{
	auto_free char *program = child_program("hydra-checkpoint");
	auto_free char *file = text_format("%s/" SEALED_FILE, folder);
	auto_free char *above = text_copy(layer);
	auto_close int report_fd = memfd_create("report", MFD_CLOEXEC);
	const char *const tar[] = {"tar", "--create", "--file=-", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--sparse", "-C", place,
				   "record", "config.json", "images", "-C", above, "upper", NULL};
	const char *const seal[] = {"hydra-checkpoint", "seal", "--key-file", key_file, "--file", file, NULL};
	struct end from = {.path = "/bin/tar", .argv = tar, .pipe_number = STDOUT_FILENO};
	struct end to = {.path = program, .argv = seal, .pipe_number = STDIN_FILENO};
	int statuses[2] = {255, 255}, r;

	above[strlen(above) - strlen("/upper")] = '\0';
	r = report_fd < 0 ? fail_errno(err, errno, "make room for a report") : run_both(&from, &to, report_fd, statuses, err);
	if (r < 0)
		return r;
	/* 1: a file was changed while it was read, as what runs on may do */
	if (statuses[1] != 0 || (statuses[0] != 0 && !(may_change && statuses[0] == 1))) {
		(void) unlink(file);
		return explain(report_fd, "encrypt the checkpoint", err);
	}
	return 0;
}

int sealed_unpack(const char *folder, const char *key_file, const char *place, const char *upper, struct error *err)
{
	auto_free char *program = child_program("hydra-checkpoint");
	auto_free char *file = text_format("%s/" SEALED_FILE, folder);
	auto_free char *link_path = text_format("%s/upper", place);
	auto_close int report_fd = memfd_create("report", MFD_CLOEXEC);
	const char *const unseal[] = {"hydra-checkpoint", "unseal", "--key-file", key_file, "--file", file, NULL};
	const char *const tar[] = {"tar", "--extract", "--file=-", "--numeric-owner", "--same-permissions", "--xattrs", "--xattrs-include=*", "--acls",
				   "--keep-directory-symlink", "-C", place, NULL};
	struct end from = {.path = program, .argv = unseal, .pipe_number = STDOUT_FILENO};
	struct end to = {.path = "/bin/tar", .argv = tar, .pipe_number = STDIN_FILENO};
	int statuses[2] = {255, 255};
	int r = dir_make_all(upper, 0755, err);

	/* the layer does not go through memory: it was on the disk, and will be */
	if (r == 0 && symlink(upper, link_path) < 0)
		r = fail_errno(err, errno, "make '%s'", link_path);
	if (r == 0)
		r = report_fd < 0 ? fail_errno(err, errno, "make room for a report") : run_both(&from, &to, report_fd, statuses, err);
	if (r < 0)
		return r;
	return statuses[0] != 0 || statuses[1] != 0 ? explain(report_fd, "decrypt the checkpoint", err) : 0;
}
