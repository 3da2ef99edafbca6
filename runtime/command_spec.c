/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hydra spec: a configuration to start from.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/command.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct spec_options {
	const char *bundle;
	const char *file;
	bool is_rootless;
};

static const struct option_entry entries[] = {
	{'b', "bundle", "DIR", OPTION_STRING, offsetof(struct spec_options, bundle), "folder to write into (.)"},
	{'f', "file", "NAME", OPTION_STRING, offsetof(struct spec_options, file), "name of the file (config.json)"},
	{0, "rootless", NULL, OPTION_FLAG, offsetof(struct spec_options, is_rootless), "for a user who is not root"},
	{0, NULL},
};
static const struct option_table table = {.entries = entries};

static const char head[] =
	"{\n"
	"  \"ociVersion\": \"1.3.0\",\n"
	"  \"process\": {\n"
	"    \"terminal\": true,\n"
	"    \"user\": { \"uid\": 0, \"gid\": 0 },\n"
	"    \"args\": [\"sh\"],\n"
	"    \"env\": [\n"
	"      \"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\n"
	"      \"TERM=xterm\"\n"
	"    ],\n"
	"    \"cwd\": \"/\",\n"
	"    \"capabilities\": {\n"
	"      \"bounding\": [\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"],\n"
	"      \"effective\": [\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"],\n"
	"      \"permitted\": [\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"]\n"
	"    },\n"
	"    \"rlimits\": [{ \"type\": \"RLIMIT_NOFILE\", \"hard\": 1024, \"soft\": 1024 }],\n"
	"    \"noNewPrivileges\": true\n"
	"  },\n"
	"  \"root\": { \"path\": \"rootfs\", \"readonly\": true },\n"
	"  \"hostname\": \"hydra\",\n"
	"  \"mounts\": [\n"
	"    { \"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\" },\n"
	"    { \"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\",\n"
	"      \"options\": [\"nosuid\", \"strictatime\", \"mode=755\", \"size=65536k\"] },\n"
	"    { \"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", \"mode=0620\"";

static const char shared_mounts[] =
	"] },\n"
	"    { \"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\"] },\n"
	"    { \"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"nodev\"] },\n";

static const char root_mounts[] =
	"    { \"destination\": \"/sys\", \"type\": \"sysfs\", \"source\": \"sysfs\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"ro\"] },\n"
	"    { \"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\",\n"
	"      \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"relatime\", \"ro\"] }\n"
	"  ],\n"
	"  \"linux\": {\n"
	"    \"resources\": { \"devices\": [{ \"allow\": false, \"access\": \"rwm\" }] },\n"
	"    \"namespaces\": [\n"
	"      { \"type\": \"pid\" }, { \"type\": \"network\" }, { \"type\": \"ipc\" }, { \"type\": \"uts\" },\n"
	"      { \"type\": \"mount\" }, { \"type\": \"cgroup\" }\n"
	"    ],\n";

static const char rootless_mounts[] =
	"    { \"destination\": \"/sys\", \"type\": \"none\", \"source\": \"/sys\",\n"
	"      \"options\": [\"rbind\", \"nosuid\", \"noexec\", \"nodev\", \"rro\"] }\n"
	"  ],\n"
	"  \"linux\": {\n"
	"    \"uidMappings\": [{ \"containerID\": 0, \"hostID\": %u, \"size\": 1 }],\n"
	"    \"gidMappings\": [{ \"containerID\": 0, \"hostID\": %u, \"size\": 1 }],\n"
	"    \"namespaces\": [\n"
	"      { \"type\": \"pid\" }, { \"type\": \"ipc\" }, { \"type\": \"uts\" }, { \"type\": \"mount\" },\n"
	"      { \"type\": \"cgroup\" }, { \"type\": \"user\" }\n"
	"    ],\n";

static const char tail[] =
	"    \"maskedPaths\": [\n"
	"      \"/proc/acpi\", \"/proc/asound\", \"/proc/kcore\", \"/proc/keys\", \"/proc/latency_stats\",\n"
	"      \"/proc/timer_list\", \"/proc/timer_stats\", \"/proc/sched_debug\", \"/sys/firmware\", \"/proc/scsi\"\n"
	"    ],\n"
	"    \"readonlyPaths\": [\n"
	"      \"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\", \"/proc/sysrq-trigger\"\n"
	"    ]\n"
	"  }\n"
	"}\n";

static int spec(const struct global_options *globals, void *options, const struct option_rest *rest, struct error *err)
{
	const struct spec_options *self = options;
	auto_free char *path = text_format("%s/%s", self->bundle != NULL ? self->bundle : ".",
					   self->file != NULL ? self->file : "config.json");
	auto_free char *rootless = text_format(rootless_mounts, geteuid(), getegid());
	auto_free char *text = text_format("%s%s%s%s%s", head, self->is_rootless ? "" : ", \"gid=5\"", shared_mounts,
					   self->is_rootless ? rootless : root_mounts, tail);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	(void) globals;
	(void) rest;
	if (fd < 0 && errno == EEXIST)
		return fail_because(err, EEXIST, "file %s exists. Remove it first", path);
	if (fd < 0)
		return fail_errno(err, errno, "write '%s'", path);
	return fd_write_full(fd, text, strlen(text)) < 0 ? fail_errno(err, EIO, "write '%s'", path) : 0;
}

const struct command command_spec = {
	.name = "spec",
	.arguments = "[options]",
	.summary = "write a config.json to start from",
	.options = &table,
	.options_size = sizeof(struct spec_options),
	.positional_max = 0,
	.failure_status = 1,
	.run = spec,
};
