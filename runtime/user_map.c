/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/user_map.h"

#include "base/child.h"
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/id_map.h"
#include "runtime/standing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <unistd.h>

#define FILE_LIMIT   (1UL << 20)
#define OUTPUT_LIMIT 4096

static const struct id_kind {
	const char *map;     /* in /proc/PID */
	const char *field;   /* in config.json */
	const char *program; /* has the right that an ordinary user lacks */
	const char *grants;  /* what it goes by */
	const char *option;  /* of usermod, adds to them */
	unsigned int capability;
} kinds[] = {
	{"uid_map", "linux.uidMappings", "newuidmap", "/etc/subuid", "--add-subuids", CAP_SETUID},
	{"gid_map", "linux.gidMappings", "newgidmap", "/etc/subgid", "--add-subgids", CAP_SETGID},
};

static bool is_ours(const struct id_kind *kind, const struct spec_id_mapping *item)
{
	return item->size == 1 && item->host_id == (kind == &kinds[0] ? geteuid() : getegid());
}

/* An ordinary user may map himself, and nobody else, without help. */
static bool is_only_ours(const struct id_kind *kind, const spec_id_mapping_list *map)
{
	return map->count == 1 && is_ours(kind, &map->items[0]);
}

static char *find_program(const char *name)
{
	/* callers may leave PATH out, or the folder out of it */
	auto_free char *folders = text_format("%s:/usr/bin:/bin", getenv("PATH") != NULL ? getenv("PATH") : "");
	char *rest = NULL;

	for (char *folder = strtok_r(folders, ":", &rest); folder != NULL; folder = strtok_r(NULL, ":", &rest)) {
		auto_free char *program = text_format("%s/%s", folder, name);

		if (folder[0] == '/' && access(program, X_OK) == 0)
			return take_ptr(&program);
	}
	return NULL;
}

static char *read_whole(const char *path)
{
	char *data = NULL;
	struct error ignored;

	return file_read(AT_FDCWD, path, FILE_LIMIT, &data, NULL, &ignored) < 0 ? NULL : data;
}

/* The helpers may be told by the name service instead of by a file. */
static bool is_told_elsewhere(void)
{
	auto_free char *services = read_whole("/etc/nsswitch.conf");
	const char *line = services != NULL ? strstr(services, "subid:") : NULL;

	return line != NULL && (line == services || line[-1] == '\n');
}

static int check_grants(const struct id_kind *kind, const spec_id_mapping_list *map, struct error *err)
{
	auto_free char *grants = read_whole(kind->grants);
	auto_free char *users = read_whole("/etc/passwd");
	auto_free char *name = users != NULL ? passwd_name(users, getuid()) : NULL;

	for (size_t i = 0; i < map->count && !is_told_elsewhere(); i++) {
		const struct spec_id_mapping *item = &map->items[i];

		if (is_ours(kind, item) || sub_ids_include(grants != NULL ? grants : "", name, getuid(), item))
			continue;
		return fail_because(err, EPERM, "%s[%zu].hostID: %s does not give %u to %u to user %u; `usermod %s FIRST-LAST %s` adds a range",
				    kind->field, i, kind->grants, item->host_id, item->host_id + item->size - 1, getuid(), kind->option,
				    name != NULL ? name : "NAME");
	}
	return 0;
}

/* Root of a user namespace has no other ids to give than those it has. */
static int check_inside(const struct id_kind *kind, const spec_id_mapping_list *map, struct error *err)
{
	auto_free char *path = text_format("/proc/self/%s", kind->map);
	auto_free char *own = read_whole(path);

	for (size_t i = 0; i < map->count && own != NULL; i++)
		if (!id_map_includes(own, &map->items[i]))
			return fail_because(err, EPERM, "%s[%zu].hostID: %u to %u are not all in the user namespace that this is in", kind->field, i,
					    map->items[i].host_id, map->items[i].host_id + map->items[i].size - 1);
	return 0;
}

static int check_map(const struct id_kind *kind, const spec_id_mapping_list *map, struct error *err)
{
	auto_free char *text = NULL;
	auto_free char *program = NULL;

	if (id_map_format(map, kind->field, &text, err) < 0)
		return err->code;
	if (is_only_ours(kind, map))
		return 0;
	if (standing_has_capability(kind->capability))
		return check_inside(kind, map, err);
	program = find_program(kind->program);
	if (program == NULL)
		return fail_because(err, ENOENT, "%s: more than the own id needs the program %s, which was not found (package uidmap)", kind->field,
				    kind->program);
	return check_grants(kind, map, err);
}

static int check_id(const spec_id_mapping_list *map, const char *where, uint32_t id, const char *field, struct error *err)
{
	uint32_t outer;

	return id_map_find(map, id, &outer) ? 0 : fail_because(err, EINVAL, "%s: %u is not among %s", where, id, field);
}

static void complete(struct spec *spec, spec_id_mapping_list *map, uint32_t inner, uint32_t outer)
{
	map->items = arena_allocate(&spec->arena, sizeof(*map->items));
	map->items[0] = (struct spec_id_mapping){.container_id = inner, .host_id = outer, .size = 1};
	map->count = 1;
}

void user_map_complete(struct spec *spec)
{
	const struct spec_namespace *user = spec_find_namespace(spec, "user");
	struct spec_linux *part = &spec->linux_part;

	if (user == NULL || (user->path != NULL && user->path[0] != '\0') || part->uid_mappings.count + part->gid_mappings.count > 0)
		return;
	complete(spec, &part->uid_mappings, spec->process->user.uid, geteuid());
	complete(spec, &part->gid_mappings, spec->process->user.gid, getegid());
}

static int check_user(const struct spec *spec, struct error *err)
{
	const struct spec_linux *part = &spec->linux_part;
	const struct spec_user *user = &spec->process->user;
	bool keeps_groups = !standing_has_capability(CAP_SETGID) && is_only_ours(&kinds[1], &part->gid_mappings);
	char where[64];

	if (check_id(&part->uid_mappings, "process.user.uid", user->uid, kinds[0].field, err) < 0 ||
	    check_id(&part->gid_mappings, "process.user.gid", user->gid, kinds[1].field, err) < 0)
		return err->code;
	if (keeps_groups && user->additional_gids.count > 0)
		return fail_because(err, EPERM, "process.user.additionalGids: not possible when an ordinary user maps his own group alone");
	for (size_t i = 0; i < user->additional_gids.count; i++) {
		(void) text_fit(where, sizeof(where), "process.user.additionalGids[%zu]", i);
		if (check_id(&part->gid_mappings, where, user->additional_gids.items[i], kinds[1].field, err) < 0)
			return err->code;
	}
	return 0;
}

/* The kernel refuses an owner that does not exist with a bare EINVAL. */
static int check_mount(const struct spec *spec, size_t index, struct error *err)
{
	const struct json_strings *options = &spec->mounts.items[index].options;
	char where[64];

	for (size_t i = 0; i < options->count; i++) {
		const char *option = options->items[i];
		bool is_uid = text_has_prefix(option, "uid=");
		uint64_t id;

		if ((!is_uid && !text_has_prefix(option, "gid=")) || number_parse_u64(option + 4, &id) < 0 || id > UINT32_MAX)
			continue;
		(void) text_fit(where, sizeof(where), "mounts[%zu].options[%zu]", index, i);
		if (check_id(is_uid ? &spec->linux_part.uid_mappings : &spec->linux_part.gid_mappings, where, (uint32_t) id,
			     kinds[is_uid ? 0 : 1].field, err) < 0)
			return err->code;
	}
	return 0;
}

int user_map_check(const struct spec *spec, struct error *err)
{
	const struct spec_namespace *user = spec_find_namespace(spec, "user");

	if (user == NULL && !standing_has_capability(CAP_SYS_ADMIN))
		return fail_because(err, EPERM, "linux.namespaces: without a user namespace this takes root and CAP_SYS_ADMIN; "
				    "`hydra spec --rootless` writes a configuration that has one");
	if (user == NULL || (user->path != NULL && user->path[0] != '\0'))
		return 0;
	if (check_map(&kinds[0], &spec->linux_part.uid_mappings, err) < 0 || check_map(&kinds[1], &spec->linux_part.gid_mappings, err) < 0 ||
	    check_user(spec, err) < 0)
		return err->code;
	for (size_t i = 0; i < spec->mounts.count; i++)
		if (check_mount(spec, i, err) < 0)
			return err->code;
	return 0;
}

static int have_written(const struct id_kind *kind, pid_t pid, const spec_id_mapping_list *map, struct error *err)
{
	auto_free char *program = find_program(kind->program);
	auto_free char *output = NULL;
	auto_free const char **argv = calloc(3 * map->count + 3, sizeof(*argv));
	auto_free char(*numbers)[16] = calloc(3 * map->count + 1, sizeof(*numbers));
	struct child_spec child = {.path = program, .argv = argv};
	size_t count = 0;
	int status = 0;

	if (program == NULL)
		return fail_because(err, ENOENT, "%s: %s was not found", kind->field, kind->program);
	if (argv == NULL || numbers == NULL)
		return fail_errno(err, ENOMEM, "call %s", program);
	(void) text_fit(numbers[0], sizeof(*numbers), "%d", pid);
	for (size_t i = 0; i < map->count; i++) {
		(void) text_fit(numbers[3 * i + 1], sizeof(*numbers), "%u", map->items[i].container_id);
		(void) text_fit(numbers[3 * i + 2], sizeof(*numbers), "%u", map->items[i].host_id);
		(void) text_fit(numbers[3 * i + 3], sizeof(*numbers), "%u", map->items[i].size);
	}
	argv[count++] = kind->program;
	for (size_t i = 0; i < 3 * map->count + 1; i++)
		argv[count++] = numbers[i];
	if (child_output(&child, STDERR_FILENO, OUTPUT_LIMIT, &output, &status, err) < 0)
		return fail_while(err, "%s", kind->field);
	return status == 0 ? 0 : fail_because(err, EPERM, "%s: %.*s", kind->field, (int) strcspn(output, "\n"), output);
}

static int write_map(const struct id_kind *kind, pid_t pid, int proc_fd, const spec_id_mapping_list *map, struct error *err)
{
	bool is_helped = !standing_has_capability(kind->capability);
	auto_free char *text = NULL;

	if (map->count == 0)
		return 0;
	if (is_helped && !is_only_ours(kind, map))
		return have_written(kind, pid, map, err);
	/* or else the user could leave a group that he is kept out of something by */
	if (is_helped && kind == &kinds[1] && file_set(proc_fd, "setgroups", "deny", err) < 0)
		return err->code;
	if (id_map_format(map, kind->field, &text, err) < 0 || file_set(proc_fd, kind->map, text, err) < 0)
		return fail_while(err, "map the user namespace");
	return 0;
}

int user_map_write(pid_t pid, const spec_id_mapping_list *uids, const spec_id_mapping_list *gids, struct error *err)
{
	char path[64];
	auto_close int proc_fd = FD_NONE;

	(void) text_fit(path, sizeof(path), "/proc/%d", pid);
	proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc_fd < 0)
		return fail_errno(err, errno, "open %s", path);
	if (write_map(&kinds[0], pid, proc_fd, uids, err) < 0)
		return err->code;
	return write_map(&kinds[1], pid, proc_fd, gids, err);
}
