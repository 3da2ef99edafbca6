/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container has on disks besides its writable layer: the layer below, which the target has or gets, by its digest; and volumes that are
 * carried along.
 */
#include "checkpoint/send.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fault.h"
#include "base/owned.h"
#include "base/text.h"
#include "state/run_dir.h"

static Hydra__V1__HandoffTree *describe(const char *path, const char *digest, const struct layer_list *list)
{
	Hydra__V1__HandoffTree *tree = malloc(sizeof(*tree));

	if (tree == NULL)
		abort();
	hydra__v1__handoff_tree__init(tree);
	tree->path = text_copy(path);
	tree->digest = text_copy(digest);
	tree->bytes = list->bytes;
	tree->disk_bytes = layer_list_disk_bytes(list);
	tree->entries = list->count;
	return tree;
}

/* There is no session yet; the signal stays for it. */
static int heed_signals(void *context, struct error *err)
{
	sigset_t pending;

	(void) context;
	if (sigpending(&pending) < 0 ||
	    (sigismember(&pending, SIGTERM) == 0 && sigismember(&pending, SIGINT) == 0 && sigismember(&pending, SIGHUP) == 0))
		return 0;
	return fail_because(err, ECANCELED, "the migration was cancelled");
}

/* It may take long: who calls it off then is heard, and told so. */
static int open_lower(struct sender_state *self, struct error *err)
{
	struct layer_turn turn = {heed_signals, NULL};
	sigset_t before;
	int r = session_block_signals(&before, err);

	if (r < 0)
		return r;
	fault_point("send.layer-read");
	r = layer_folder_open(&self->lower, self->spec->layers, self->spec->lower, &turn, err);
	if (r == 0)
		(void) sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

int send_open_trees(struct sender_state *self, struct error *err)
{
	const struct send_spec *spec = self->spec;
	int r = spec->lower != NULL ? open_lower(self, err) : 0;

	for (size_t i = 0; r == 0 && spec->volumes != NULL && i < spec->volumes->count; i++)
		r = carried_add_folder(&self->volumes, spec->volumes->items[i], err);
	return r;
}

static bool can(const struct sender_state *self, uint64_t capability)
{
	return (self->target_capabilities & capability) != 0;
}

/* A target that does not understand it has to have the layer where it is here. */
static void require(Hydra__V1__HandoffOffer *offer, const char *path)
{
	offer->required_paths = reallocarray(offer->required_paths, offer->n_required_paths + 1, sizeof(char *));
	if (offer->required_paths == NULL)
		abort();
	offer->required_paths[offer->n_required_paths++] = text_copy(path);
}

int send_offer_trees(struct sender_state *self, Hydra__V1__HandoffOffer *offer, struct error *err)
{
	const struct send_spec *spec = self->spec;

	if (spec->lower != NULL && can(self, HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_LAYERS))
		offer->lower = describe(spec->lower, self->lower.digest, &self->lower.list);
	else if (spec->lower != NULL)
		require(offer, spec->lower);
	if (self->volumes.count == 0)
		return 0;
	if (!can(self, HYDRA__V1__HANDOFF_CAPABILITY__HANDOFF_VOLUMES))
		return fail_because(err, EOPNOTSUPP, "the target's Hydra is too old for volumes that are carried along");
	offer->volumes = calloc(self->volumes.count, sizeof(*offer->volumes));
	if (offer->volumes == NULL)
		abort();
	for (size_t i = 0; i < self->volumes.count; i++)
		offer->volumes[offer->n_volumes++] = describe(spec->volumes->items[i], "", &self->volumes.items[i].before);
	return 0;
}

void send_heed_trees(struct sender_state *self, const Hydra__V1__HandoffAnswer *answer)
{
	self->wants_lower = answer->wants_lower && self->lower.root_fd >= 0;
	free(self->lower_path);
	self->lower_path = text_copy(answer->lower_path);
}

uint64_t send_trees_bytes(const struct sender_state *self)
{
	return (self->wants_lower ? self->lower.list.bytes : 0) + carried_bytes(&self->volumes);
}

/* The target acknowledges it when what it wrote has the digest that we told. */
int send_lower(struct sender_state *self, const struct layer_progress *progress, struct error *err)
{
	struct layer_list nothing = {0};
	struct frame frame;
	int r;

	if (!self->wants_lower)
		return 0;
	r = layer_send(&self->session, self->lower.root_fd, &self->lower.list, &nothing, &(struct string_set){0}, progress, err);
	if (r == 0)
		r = session_await(&self->session, FRAME_ACKNOWLEDGED, &frame, NULL, NULL, err);
	return r < 0 ? fail_while(err, "send layer '%s'", self->spec->lower) : 0;
}

/* Of hosts that share it. */
static bool is_of_several_hosts(const struct statfs *disk)
{
	static const uint32_t known[] = {0x6969 /* NFS */, 0x00c36400 /* Ceph */, 0xfe534d42 /* SMB2 */, 0xff534d42 /* CIFS */, 0x01021997 /* 9p */,
					 0x5346414f /* AFS */, 0x6b414653 /* kAFS */, 0x0bd00bd0 /* Lustre */, 0x01161970 /* GFS2 */,
					 0x7461636f /* OCFS2 */, 0x47504653 /* GPFS */, 0x65735546 /* FUSE: Gluster and others */,
					 0x19830326 /* BeeGFS */, 0x00011954 /* virtiofs by FUSE's older number */};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if ((uint32_t) disk->f_type == known[i])
			return true;
	}
	return false;
}

/* The target has a path of that name too, or it is in the way; only a person can know whether the same is in it. */
void send_note_shared(struct sender_state *self)
{
	const struct string_list *paths = self->spec->required;

	for (size_t i = 0; paths != NULL && i < paths->count; i++) {
		struct statfs disk;
		struct stat status;

		if (stat(paths->items[i], &status) < 0 || !S_ISDIR(status.st_mode) || statfs(paths->items[i], &disk) < 0 ||
		    is_of_several_hosts(&disk))
			continue;
		problems_add(&self->notes, "carry it along (hydractl run -v SOURCE:TARGET:carried), or have it on a file system that both hosts have",
			     paths->items[i], "it is on a disk of this host: at the target the container finds what is at that path there");
	}
}

void send_close_trees(struct sender_state *self)
{
	layer_folder_close(&self->lower);
	carried_deinit(&self->volumes);
	problems_deinit(&self->notes);
	free(self->lower_path);
	self->lower_path = NULL;
}
