/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers that were leaving this host when it was restarted: their targets hear that no more of their memory comes.
 */
#include "base/log.h"
#include "base/owned.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "state/run_dir.h"

#include <dirent.h>

static void said(struct daemon *daemon, int exit_status, const char *message, void *context)
{
	(void) daemon;
	(void) context;
	if (exit_status != 0)
		log_warning("target of a departure not told", "error=\"%s\"", message);
}

/* The worker looks whether the host was restarted since, and whether another one is at it. */
void farewells_begin(struct daemon *daemon)
{
	auto_free char *folder = text_format("%s/.departures", data_root());
	DIR *entries = opendir(folder);
	struct dirent *entry;

	while (entries != NULL && (entry = readdir(entries)) != NULL) {
		auto_free char *path = text_format("%s/%s", folder, entry->d_name);
		const char *arguments[] = {"farewell", "--record", path, NULL};
		struct error err;

		if (entry->d_name[0] != '.' && worker_start_with(daemon, "hydra-pager", arguments, FD_NONE, said, NULL, &err) < 0)
			log_warning("target of a departure not told", "departure=%s error=\"%s\"", entry->d_name, err.message);
	}
	if (entries != NULL)
		(void) closedir(entries);
}
