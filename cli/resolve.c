/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydractl migrate --resume, --resolve: what becomes of a container in doubt.
 */
#include "base/owned.h"
#include "base/text.h"
#include "cli/cli.h"
#include "state/migration_file.h"
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *side;
	const char *risk; /* %s: container, its target, container */
} risks[] = {
	{"source", "warning: '%s' will run at its source as it was when it was frozen. What it did since then (the other host is %s), and what it answered its "
		   "clients, is lost; should it still run at the target, there are two of it. Make sure that it does not: switch that host "
		   "off, or remove it there (hydractl rm -f %s).\n"},
	{"target", "warning: '%s' will be dropped at its source with all of its memory. What the target does not have of it yet is lost (the "
		   "other host is %s); should '%s' never have run there, there is none of it left.\n"},
};

static int warn(const struct cli *cli, const char *side, const char *id, struct error *err)
{
	struct container_view view;
	const char *peer = "its target";
	int r = cli_view(cli, id, &view, err);

	if (r < 0)
		return r;
	if (view.record->migration != NULL)
		peer = view.record->migration->peer[0] != '\0' ? view.record->migration->peer : "unknown here";
	for (size_t i = 0; i < sizeof(risks) / sizeof(risks[0]); i++) {
		if (strcmp(risks[i].side, side) == 0)
			(void) fprintf(stderr, risks[i].risk, id, peer, id);
	}
	container_view_deinit(&view);
	return 0;
}

int cli_resolve(const struct cli *cli, const char *side, bool is_forced, const char *id, struct error *err)
{
	const char *const arguments[] = {"resolve", "--to", side, id, NULL};
	int r;

	if (strcmp(side, "source") != 0 && strcmp(side, "target") != 0)
		return fail_because(err, EINVAL, "--resolve '%s': expected source or target", side);
	r = warn(cli, side, id, err);
	if (r < 0)
		return r;
	if (!is_forced)
		return fail_because(err, EPERM, "nothing was changed; if this is what you want, say it with --force");
	r = cli_setup(cli, arguments, NULL, 0, err);
	if (r == 0)
		(void) printf("%s: lives at the %s now\n", id, side);
	return r;
}

int cli_migrate_on(const struct cli *cli, const char *id, struct error *err)
{
	const char *const arguments[] = {"migrate", "--resume", id, NULL};
	int r = cli_setup(cli, arguments, NULL, 0, err);

	if (r == 0)
		(void) printf("%s: moved\n", id);
	return r;
}

void describe_migration(const struct cli *cli, const struct container_view *view, char *buffer, size_t size)
{
	const Hydra__V1__Migration *migration = view->record->migration;
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	bool is_waiting = migration->is_handed_over;
	struct error ignored;

	/* who works on it knows more than the shim, which looks when nobody does any more */
	if (migration_file_read(cli->root, migration->id, &status, NULL, &ignored) == 0 && !status->is_done)
		is_waiting = strcmp(status->phase, "reconnecting") == 0 || strcmp(status->phase, "in-doubt") == 0;
	if (is_waiting)
		(void) text_fit(buffer, size, "frozen, waiting for %s to confirm", migration->peer);
	else
		(void) text_fit(buffer, size, "migrating to %s", migration->peer);
}
