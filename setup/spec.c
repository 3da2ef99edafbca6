/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json for `hydractl run`: the defaults that Docker and Podman users know.
 */
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "setup/setup.h"
#include "state/cgroup_place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <yyjson.h>

#define CPU_PERIOD_US 100000

static const char *const default_capabilities[] = {
	"CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",     "CAP_MKNOD",
	"CAP_NET_RAW", "CAP_SETGID",      "CAP_SETUID",           "CAP_SETFCAP",    "CAP_SETPCAP",
	"CAP_NET_BIND_SERVICE",           "CAP_SYS_CHROOT",       "CAP_KILL",       "CAP_AUDIT_WRITE",
};

static const char *const masked_paths[] = {
	"/proc/acpi", "/proc/asound",      "/proc/interrupts", "/proc/kcore",   "/proc/keys",
	"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",
};

static const char *const read_only_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static const struct default_mount {
	const char *target, *type, *source, *options;
} default_mounts[] = {
	{"/proc",          "proc",   "proc",   "nosuid,noexec,nodev"},
	{"/dev",           "tmpfs",  "tmpfs",  "nosuid,strictatime,mode=755,size=65536k"},
	{"/dev/pts",       "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
	{"/dev/shm",       "tmpfs",  "shm",    "nosuid,noexec,nodev,mode=1777,size=65536k"},
	{"/dev/mqueue",    "mqueue", "mqueue", "nosuid,noexec,nodev"},
	{"/sys",           "sysfs",  "sysfs",  "nosuid,noexec,nodev,ro"},
};

static void add_strings(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, const char *const *items, size_t count)
{
	yyjson_mut_val *array = yyjson_mut_obj_add_arr(doc, object, key);

	for (size_t i = 0; i < count; i++)
		(void) yyjson_mut_arr_add_strcpy(doc, array, items[i]);
}

static void add_list(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, const char *list)
{
	yyjson_mut_val *array = yyjson_mut_obj_add_arr(doc, object, key);

	while (*list != '\0') {
		size_t size = strcspn(list, ",");

		(void) yyjson_mut_arr_add_strncpy(doc, array, list, size);
		list += size + (list[size] == ',');
	}
}

static bool is_in(const char *name, char **list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *wanted = list[i];

		if (strcasecmp(wanted, "ALL") == 0 || strcasecmp(wanted, name) == 0 ||
		    (text_has_prefix(name, "CAP_") && strcasecmp(wanted, name + 4) == 0))
			return true;
	}
	return false;
}

static void add_capabilities(yyjson_mut_doc *doc, yyjson_mut_val *process, const create_request *request)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	yyjson_mut_val *capabilities = yyjson_mut_obj_add_obj(doc, process, "capabilities");

	for (size_t set = 0; set < 3; set++) {
		yyjson_mut_val *array = yyjson_mut_obj_add_arr(doc, capabilities, sets[set]);

		for (size_t i = 0; i < sizeof(default_capabilities) / sizeof(default_capabilities[0]); i++) {
			if (!is_in(default_capabilities[i], request->cap_drop, request->n_cap_drop))
				(void) yyjson_mut_arr_add_str(doc, array, default_capabilities[i]);
		}
		for (size_t i = 0; i < request->n_cap_add; i++) {
			const char *prefix = text_has_prefix(request->cap_add[i], "CAP_") ? "" : "CAP_";
			auto_free char *name = text_format("%s%s", prefix, request->cap_add[i]);

			(void) yyjson_mut_arr_add_strcpy(doc, array, name);
		}
	}
}

static int add_user(yyjson_mut_doc *doc, yyjson_mut_val *process, const char *user, struct error *err)
{
	yyjson_mut_val *object = yyjson_mut_obj_add_obj(doc, process, "user");
	auto_free char *uid_text = text_copy(user[0] != '\0' ? user : "0");
	char *gid_text = strchr(uid_text, ':');
	int uid, gid = 0;

	if (gid_text != NULL)
		*gid_text++ = '\0';
	if (number_parse_int(uid_text, 0, 1 << 30, &uid) < 0 ||
	    (gid_text != NULL && number_parse_int(gid_text, 0, 1 << 30, &gid) < 0))
		return fail_because(err, EINVAL, "user '%s': expected UID or UID:GID in numbers", user);
	(void) yyjson_mut_obj_add_int(doc, object, "uid", uid);
	(void) yyjson_mut_obj_add_int(doc, object, "gid", gid);
	return 0;
}

#define PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int add_process(yyjson_mut_doc *doc, yyjson_mut_val *root, const create_request *request, struct error *err)
{
	yyjson_mut_val *process = yyjson_mut_obj_add_obj(doc, root, "process");
	yyjson_mut_val *env;

	if (request->n_args == 0)
		return fail_because(err, EINVAL, "command: expected the program to run behind the options");
	(void) yyjson_mut_obj_add_bool(doc, process, "terminal", request->terminal);
	add_strings(doc, process, "args", (const char *const *) request->args, request->n_args);
	env = yyjson_mut_obj_add_arr(doc, process, "env");
	(void) yyjson_mut_arr_add_str(doc, env, PATH_DEFAULT);
	if (request->terminal)
		(void) yyjson_mut_arr_add_str(doc, env, "TERM=xterm");
	for (size_t i = 0; i < request->n_env; i++) {
		if (strchr(request->env[i], '=') == NULL)
			return fail_because(err, EINVAL, "env '%s': expected NAME=VALUE", request->env[i]);
		(void) yyjson_mut_arr_add_strcpy(doc, env, request->env[i]);
	}
	(void) yyjson_mut_obj_add_strcpy(doc, process, "cwd", request->cwd[0] != '\0' ? request->cwd : "/");
	if (!request->privileged)
		add_capabilities(doc, process, request);
	(void) yyjson_mut_obj_add_bool(doc, process, "noNewPrivileges", false);
	(void) yyjson_mut_obj_add_int(doc, process, "oomScoreAdj", 0); /* not its shim's, which is to be spared */
	return add_user(doc, process, request->user, err);
}

static yyjson_mut_val *add_mount(yyjson_mut_doc *doc, yyjson_mut_val *mounts, const char *target, const char *type,
				 const char *source)
{
	yyjson_mut_val *object = yyjson_mut_arr_add_obj(doc, mounts);

	(void) yyjson_mut_obj_add_strcpy(doc, object, "destination", target);
	(void) yyjson_mut_obj_add_strcpy(doc, object, "type", type);
	(void) yyjson_mut_obj_add_strcpy(doc, object, "source", source);
	return object;
}

static int add_mounts(yyjson_mut_doc *doc, yyjson_mut_val *root, const create_request *request, struct error *err)
{
	yyjson_mut_val *mounts = yyjson_mut_obj_add_arr(doc, root, "mounts");

	for (size_t i = 0; i < sizeof(default_mounts) / sizeof(default_mounts[0]); i++) {
		const struct default_mount *entry = &default_mounts[i];

		add_list(doc, add_mount(doc, mounts, entry->target, entry->type, entry->source), "options", entry->options);
	}
	for (size_t i = 0; i < request->n_mounts; i++) {
		const Hydra__V1__Mount *entry = request->mounts[i];
		yyjson_mut_val *options;

		if (entry->target[0] != '/' || !path_exists(AT_FDCWD, entry->source))
			return fail_because(err, EINVAL, "mount '%s:%s': expected an existing source and an absolute target",
					    entry->source, entry->target);
		options = yyjson_mut_obj_add_arr(doc, add_mount(doc, mounts, entry->target, "bind", entry->source), "options");
		(void) yyjson_mut_arr_add_str(doc, options, "rbind");
		for (size_t j = 0; j < entry->n_options; j++)
			(void) yyjson_mut_arr_add_strcpy(doc, options, entry->options[j]);
	}
	return 0;
}

static void add_resources(yyjson_mut_doc *doc, yyjson_mut_val *linux_object, const create_request *request)
{
	yyjson_mut_val *resources = yyjson_mut_obj_add_obj(doc, linux_object, "resources");
	yyjson_mut_val *devices = yyjson_mut_obj_add_arr(doc, resources, "devices");
	yyjson_mut_val *rule = yyjson_mut_arr_add_obj(doc, devices);
	yyjson_mut_val *part;

	(void) yyjson_mut_obj_add_bool(doc, rule, "allow", request->privileged);
	(void) yyjson_mut_obj_add_str(doc, rule, "access", "rwm");
	if (request->memory_bytes > 0) {
		part = yyjson_mut_obj_add_obj(doc, resources, "memory");
		(void) yyjson_mut_obj_add_uint(doc, part, "limit", request->memory_bytes);
	}
	if (request->cpu_millis > 0) {
		part = yyjson_mut_obj_add_obj(doc, resources, "cpu");
		(void) yyjson_mut_obj_add_uint(doc, part, "quota", request->cpu_millis * CPU_PERIOD_US / 1000);
		(void) yyjson_mut_obj_add_uint(doc, part, "period", CPU_PERIOD_US);
	}
	if (request->pids > 0) {
		part = yyjson_mut_obj_add_obj(doc, resources, "pids");
		(void) yyjson_mut_obj_add_int(doc, part, "limit", request->pids);
	}
}

static void add_namespaces(yyjson_mut_doc *doc, yyjson_mut_val *linux_object, const char *netns_path, bool host_network)
{
	static const char *const names[] = {"pid", "ipc", "uts", "mount", "cgroup"};
	yyjson_mut_val *namespaces = yyjson_mut_obj_add_arr(doc, linux_object, "namespaces");
	yyjson_mut_val *object;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		object = yyjson_mut_arr_add_obj(doc, namespaces);
		(void) yyjson_mut_obj_add_str(doc, object, "type", names[i]);
	}
	if (host_network)
		return;
	object = yyjson_mut_arr_add_obj(doc, namespaces);
	(void) yyjson_mut_obj_add_str(doc, object, "type", "network");
	(void) yyjson_mut_obj_add_strcpy(doc, object, "path", netns_path);
}

static void add_linux(yyjson_mut_doc *doc, yyjson_mut_val *root, const create_request *request, const char *netns_path)
{
	yyjson_mut_val *linux_object = yyjson_mut_obj_add_obj(doc, root, "linux");
	auto_free char *cgroup_path = text_format("%s/%s/%s", cgroup_parent(), request->namespace_, request->id);

	(void) yyjson_mut_obj_add_strcpy(doc, linux_object, "cgroupsPath", cgroup_path);
	add_resources(doc, linux_object, request);
	add_namespaces(doc, linux_object, netns_path, netns_path[0] == '\0');
	if (request->privileged)
		return;
	add_strings(doc, linux_object, "maskedPaths", masked_paths, sizeof(masked_paths) / sizeof(masked_paths[0]));
	add_strings(doc, linux_object, "readonlyPaths", read_only_paths, sizeof(read_only_paths) / sizeof(read_only_paths[0]));
}

static int fill(yyjson_mut_doc *doc, const create_request *request, const char *netns_path, struct error *err)
{
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	yyjson_mut_val *root_object;
	int r;

	yyjson_mut_doc_set_root(doc, root);
	(void) yyjson_mut_obj_add_str(doc, root, "ociVersion", "1.2.0");
	r = add_process(doc, root, request, err);
	if (r < 0)
		return r;
	root_object = yyjson_mut_obj_add_obj(doc, root, "root");
	(void) yyjson_mut_obj_add_str(doc, root_object, "path", "rootfs");
	(void) yyjson_mut_obj_add_bool(doc, root_object, "readonly", request->read_only);
	(void) yyjson_mut_obj_add_strcpy(doc, root, "hostname", request->hostname[0] != '\0' ? request->hostname : request->id);
	r = add_mounts(doc, root, request, err);
	if (r == 0)
		add_linux(doc, root, request, netns_path);
	return r;
}

int spec_write(const create_request *request, const char *netns_path, const char *path, struct error *err)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	auto_free char *json = NULL;
	size_t size;
	int r = doc == NULL ? fail_errno(err, ENOMEM, "write '%s'", path) : fill(doc, request, netns_path, err);

	if (r == 0) {
		json = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, &size);
		r = json == NULL ? fail_errno(err, ENOMEM, "write '%s'", path)
				 : file_replace(AT_FDCWD, path, json, size, 0600, err);
	}
	yyjson_mut_doc_free(doc);
	return r;
}
