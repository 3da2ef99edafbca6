/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the way at the target, all of it: whoever asks should not have to come again for each.
 */
#include "checkpoint/receive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/facts.h"
#include "checkpoint/metadata.h"
#include "state/cgroup_place.h"

#define SPARE_BYTES    (64ULL << 20)
#define HUGETLB_FOLDER "/sys/kernel/mm/hugepages"

static unsigned long long mib(uint64_t bytes)
{
	return (unsigned long long) (bytes >> 20);
}

/* A file system that something is written to. */
struct place {
	const char *path;
	dev_t device;
	uint64_t needed;
};

/* The folder above it that exists. */
static bool stat_above(const char *path, struct stat *ret_status, char *ret_folder, size_t size)
{
	if (!text_fit(ret_folder, size, "%s", path))
		return false;
	while (stat(ret_folder, ret_status) < 0) {
		char *slash = strrchr(ret_folder, '/');

		if (slash == NULL || slash == ret_folder)
			return stat("/", ret_status) == 0;
		*slash = '\0';
	}
	return true;
}

static void add_place(struct place *places, size_t *count, const char *path, uint64_t bytes)
{
	struct stat status;
	char folder[LAYER_PATH_MAX + 1];

	if (!stat_above(path, &status, folder, sizeof(folder)))
		return;
	for (size_t i = 0; i < *count; i++) {
		if (places[i].device == status.st_dev) {
			places[i].needed += bytes;
			return;
		}
	}
	places[(*count)++] = (struct place){path, status.st_dev, bytes};
}

static void check_place(struct receiver *self, const struct place *place)
{
	char folder[LAYER_PATH_MAX + 1];
	struct statvfs disk;
	struct stat status;
	uint64_t left;

	if (!stat_above(place->path, &status, folder, sizeof(folder)) || statvfs(folder, &disk) < 0)
		return;
	left = (uint64_t) disk.f_bavail * disk.f_frsize;
	if (left < place->needed + SPARE_BYTES)
		problems_add(&self->problems, "make room (hydractl prune there removes layers that no container uses)", place->path,
			     "what comes needs %llu MiB, %llu MiB are left", mib(place->needed), mib(left));
}

static void check_disk(struct receiver *self)
{
	struct place places[CARRIED_MAX + 1];
	size_t count = 0;

	if (!self->offer->has_layer)
		return;
	if (self->spec->layer_root == NULL) {
		problems_add(&self->problems, NULL, "writable layer", "this host has no place for writable layers");
		return;
	}
	add_place(places, &count, self->spec->layer_root, self->offer->layer_bytes + receive_lower_disk_bytes(self));
	for (size_t i = 0; i < self->offer->n_volumes && i < CARRIED_MAX; i++)
		add_place(places, &count, self->offer->volumes[i]->path, self->offer->volumes[i]->disk_bytes);
	for (size_t i = 0; i < count; i++)
		check_place(self, &places[i]);
}

/* Images with all memory are in memory, too, until the container is restored. */
static void check_memory(struct receiver *self)
{
	uint64_t needed = self->offer->memory_bytes * (mode_is_lazy(self->mode) && !mode_has_rounds(self->mode) ? 1 : 2), left;
	auto_free char *text = NULL;
	struct error ignored;
	const char *available;

	if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL, &ignored) < 0)
		return;
	available = strstr(text, "MemAvailable:");
	left = available != NULL ? strtoull(available + 13, NULL, 10) * 1024 : UINT64_MAX;
	if (left < needed)
		problems_add(&self->problems, "make room, or choose another host", "memory",
			     "the container uses %llu MiB of memory, %s needs %llu MiB, %llu MiB are left here",
			     mib(self->offer->memory_bytes), mode_name(self->mode), mib(needed), mib(left));
}

/* Of any size: CRIU finds out whether they are of the right one, before the commit. */
static void check_hugetlb(struct receiver *self)
{
	DIR *folder = opendir(HUGETLB_FOLDER);
	uint64_t left = 0, size, count;
	struct dirent *entry;

	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		auto_free char *path = text_format(HUGETLB_FOLDER "/%s/free_hugepages", entry->d_name);
		auto_free char *text = NULL;
		struct error ignored;

		if (!text_has_prefix(entry->d_name, "hugepages-") || file_read(AT_FDCWD, path, 64, &text, NULL, &ignored) < 0)
			continue;
		size = strtoull(entry->d_name + strlen("hugepages-"), NULL, 10) * 1024;
		count = strtoull(text, NULL, 10);
		left += count * size;
	}
	if (folder != NULL)
		(void) closedir(folder);
	if (left < self->offer->hugetlb_bytes)
		problems_add(&self->problems, "set vm.nr_hugepages there, or choose another host", "memory",
			     "the container uses %llu MiB of huge pages (hugetlb), %llu MiB are free here", mib(self->offer->hugetlb_bytes), mib(left));
}

/* The group that containers are in, and those above it: a limit there is one for the container, too. */
static void check_limits(struct receiver *self)
{
	static const char *const places[][2] = {{"/sys/fs/cgroup", "memory.max"}, {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		auto_free char *folder = text_format("%s%s", places[i][0], cgroup_parent());

		for (char *slash; strlen(folder) > strlen(places[i][0]) && (slash = strrchr(folder, '/')) != NULL; *slash = '\0') {
			auto_free char *path = text_format("%s/%s", folder, places[i][1]);
			auto_free char *text = NULL;
			struct error ignored;
			uint64_t limit;

			if (file_read(AT_FDCWD, path, 64, &text, NULL, &ignored) < 0)
				continue;
			text[strcspn(text, "\n")] = '\0';
			if (number_parse_u64(text, &limit) == 0 && limit < self->offer->memory_bytes)
				problems_add(&self->problems, "raise the limit, or choose another host", path,
					     "the container uses %llu MiB of memory, %llu MiB are allowed here",
					     mib(self->offer->memory_bytes), mib(limit));
		}
	}
}

static void check_paths(struct receiver *self)
{
	const Hydra__V1__HandoffOffer *offer = self->offer;

	for (size_t i = 0; i < offer->n_required_paths; i++) {
		if (offer->required_paths[i][0] != '/' || !path_exists(AT_FDCWD, offer->required_paths[i]))
			problems_add(&self->problems, "make it there as it is at the source", offer->required_paths[i],
				     "'%.300s' is missing here", offer->required_paths[i]);
	}
	if (self->spec->run_root != NULL) {
		auto_free char *path = text_format("%s/%s/%s", self->spec->run_root, offer->container_namespace, offer->container_id);

		if (path_exists(AT_FDCWD, path))
			problems_add(&self->problems, "remove or rename it there", offer->container_id,
				     "a container '%s' is here already", offer->container_id);
	}
	if (self->layer != NULL && path_exists(AT_FDCWD, self->layer))
		problems_add(&self->problems, "remove it there", self->layer, "'%s' exists already", self->layer);
	if (path_exists(AT_FDCWD, self->work))
		problems_add(&self->problems, NULL, self->work, "migration '%s' is under way already", self->hello->migration_id);
}

static void choose_mode(struct receiver *self, const Hydra__V1__HandoffFacts *ours)
{
	bool may_serve = !self->offer->has_user_namespace || ours->has_unprivileged_userfaultfd;
	struct mode_facts facts = {.has_lazy_pages = ours->has_lazy_pages && may_serve,
				   .tracks_writes = self->offer->facts->has_soft_dirty};

	self->mode = self->offer->mode;
	self->mode_reason = "it was asked for";
	if (self->mode == HYDRA__V1__HANDOFF_MODE__HANDOFF_AUTO)
		self->mode = mode_choose(&facts, &self->mode_reason);
}

static void check_metadata(struct receiver *self)
{
	Hydra__V1__CheckpointMetadata *metadata = NULL;
	struct error err;

	if (metadata_unpack(&metadata, self->offer->metadata.data, self->offer->metadata.len, &err) < 0)
		problems_add(&self->problems, "upgrade Hydra here", "description of the container", "%s", err.message);
	hydra__v1__checkpoint_metadata__free_unpacked(metadata, NULL);
}

int receive_check(struct receiver *self, const Hydra__V1__HandoffFacts *ours, struct error *err)
{
	self->problems.host = ours->host;
	if (self->offer->has_layer && self->spec->layer_root != NULL)
		self->layer = text_format("%s/%s/%s/upper", self->spec->layer_root, self->offer->container_namespace,
					  self->offer->container_id);
	if (self->offer->facts == NULL)
		return fail_because(err, EPROTO, "the source says nothing about itself");
	choose_mode(self, ours);
	if (strcmp(mode_name(self->mode), "unknown") == 0)
		return fail_because(err, EPROTO, "the source asks for a mode that is not known here");
	if (self->spec->run_root != NULL && receive_wait_for_name(self, err) < 0)
		return err->code;
	facts_compare(self->offer->facts, ours, &self->problems);
	facts_check_mode(ours, self->mode, self->offer->has_user_namespace, &self->problems);
	if (receive_check_lower(self, err) < 0)
		return err->code;
	check_metadata(self);
	check_paths(self);
	receive_check_volumes(self);
	check_disk(self);
	check_memory(self);
	check_hugetlb(self);
	check_limits(self);
	return problems_fail(&self->problems, err);
}
