/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/systemd.h"

#include "base/child.h"
#include "base/clock.h"
#include "base/fd_pass.h"
#include "base/file.h"
#include "base/number.h"
#include "base/owned.h"
#include "base/text.h"
#include "runtime/standing.h"
#include "runtime/unit_properties.h"
#include "runtime/unit_value.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define PROGRAM     "hydra-systemd"
#define PATIENCE_MS 30000 /* for all that one call does; systemd itself gives a job no limit */
#define REPLY_SIZE  1024

struct call {
	struct arena arena;
	struct unit_words words;
};

static void call_begin(struct call *self, const char *verb, const char *unit)
{
	*self = (struct call){.arena = ARENA_EMPTY};
	self->words.arena = &self->arena;
	unit_words_add(&self->words, PROGRAM);
	unit_words_add(&self->words, verb);
	unit_words_add(&self->words, systemd_is_user() ? "user" : "system");
	unit_words_add(&self->words, unit);
}

bool systemd_is_user(void)
{
	return geteuid() != 0 || standing_is_in_user_namespace();
}

void systemd_remember_program(void)
{
	auto_free char *path = child_program(PROGRAM);

	(void) setenv("HYDRA_SYSTEMD", path, 0);
}

static bool answers(const char *path)
{
	struct error ignored;
	int fd;

	if (socket_connect_now(path, &fd, &ignored) < 0)
		return false;
	close(fd);
	return true;
}

static int check_user(struct error *err)
{
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
	auto_free char *folder = runtime_dir != NULL && runtime_dir[0] == '/' ? text_copy(runtime_dir)
									      : text_format("/run/user/%u", (unsigned int) geteuid());
	auto_free char *bus = text_format("%s/bus", folder);
	auto_free char *private = text_format("%s/systemd/private", folder);

	if (getenv("DBUS_SESSION_BUS_ADDRESS") != NULL || answers(bus) || answers(private))
		return 0;
	return fail_because(err, ENOTCONN,
			    "the systemd cgroup manager needs the user's own systemd, which does not answer in %s: log in, or run "
			    "`loginctl enable-linger` and set XDG_RUNTIME_DIR; or use --cgroup-manager cgroupfs",
			    folder);
}

int systemd_check(struct error *err)
{
	if (systemd_is_user())
		return check_user(err);
	if (getenv("DBUS_SYSTEM_BUS_ADDRESS") != NULL || answers("/run/dbus/system_bus_socket") || answers("/run/systemd/private"))
		return 0;
	return fail_because(err, ENOTCONN, "the systemd cgroup manager needs systemd, which does not answer on this host; use "
					   "--cgroup-manager cgroupfs");
}

static int start_program(const struct call *call, struct systemd_hold *ret_hold, struct error *err)
{
	auto_free char *path = child_program(PROGRAM);
	int order[2], reply[2];
	struct child_spec child = {.path = path, .argv = call->words.items, .death_signal = SIGKILL};
	int r;

	if (pipe2(order, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	if (pipe2(reply, O_CLOEXEC) < 0) {
		close(order[0]);
		close(order[1]);
		return fail_errno(err, errno, "make a pipe");
	}
	child.fds[child.fd_count++] = (struct child_fd){order[0], 0};
	child.fds[child.fd_count++] = (struct child_fd){reply[1], 1};
	*ret_hold = (struct systemd_hold){.order_fd = order[1], .reply_fd = reply[0]};
	r = child_start(&child, &ret_hold->pid, NULL, err);
	close(order[0]);
	close(reply[1]);
	if (r < 0) {
		ret_hold->pid = 0;
		systemd_release(ret_hold);
		return fail_while(err, "the systemd cgroup manager");
	}
	return 0;
}

/* "+TEXT\n" is a success, "-ERRNO TEXT\n" a failure. */
static int parse_reply(char *reply, char *ret_text, size_t size, struct error *err)
{
	char *space = strchr(reply, ' ');
	int code = EPROTO;

	reply[strcspn(reply, "\n")] = '\0';
	if (reply[0] == '+')
		return text_fit(ret_text, size, "%s", reply + 1) ? 0 : fail_because(err, ENAMETOOLONG, "systemd's cgroup has too long a path");
	if (reply[0] != '-' || space == NULL)
		return fail_because(err, EPROTO, PROGRAM " ended without an answer");
	*space = '\0';
	(void) number_parse_int(reply + 1, 1, INT_MAX, &code);
	return fail_because(err, code, "%s", space + 1);
}

static int await_reply(struct systemd_hold *self, char *ret_text, size_t text_size, struct error *err)
{
	uint64_t deadline_ns = clock_monotonic_ns() + PATIENCE_MS * NS_PER_MS;
	char reply[REPLY_SIZE];
	size_t size = 0;

	do {
		uint64_t now_ns = clock_monotonic_ns();
		struct pollfd event = {.fd = self->reply_fd, .events = POLLIN};
		int ready = poll(&event, 1, now_ns < deadline_ns ? (int) ((deadline_ns - now_ns) / NS_PER_MS) + 1 : 0);
		ssize_t count;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return fail_because(err, ETIMEDOUT, "systemd did not answer within %d s", PATIENCE_MS / 1000);
		count = read(self->reply_fd, reply + size, sizeof(reply) - 1 - size);
		if (count <= 0)
			break;
		size += (size_t) count;
	} while (memchr(reply, '\n', size) == NULL && size < sizeof(reply) - 1);
	reply[size] = '\0';
	return parse_reply(reply, ret_text, text_size, err);
}

void systemd_release(struct systemd_hold *self)
{
	struct error ignored;
	int status;

	if (self->order_fd >= 0)
		close(take_fd(&self->order_fd));
	if (self->reply_fd >= 0)
		close(take_fd(&self->reply_fd));
	/* it ends by itself, unless systemd keeps it waiting */
	if (self->pid > 0) {
		(void) kill(self->pid, SIGKILL);
		(void) child_wait(self->pid, &status, &ignored);
	}
	self->pid = 0;
}

static int call_finish(struct call *self, struct systemd_hold *ret_hold, char *ret_text, size_t size, struct error *err)
{
	struct systemd_hold hold = SYSTEMD_HOLD_NONE;
	char text[CGROUP_PATH_SIZE];
	int r = start_program(self, &hold, err);

	if (r == 0)
		r = await_reply(&hold, text, sizeof(text), err);
	if (r == 0 && ret_text != NULL)
		(void) text_fit(ret_text, size, "%s", text);
	if (r == 0 && ret_hold != NULL)
		*ret_hold = hold;
	else
		systemd_release(&hold);
	return r;
}

/* A URI in ASCII. */
static const char *mark_of(struct arena *arena, const char *folder)
{
	auto_text mark = TEXT_EMPTY;
	auto_free char *whole = NULL;

	text_add(&mark, "file:");
	for (; *folder != '\0'; folder++)
		text_addf(&mark, isascii(*folder) && (isalnum((unsigned char) *folder) || strchr("/-_.+~", *folder) != NULL) ? "%c" : "%%%02X",
			  (unsigned char) *folder);
	whole = text_take(&mark);
	return arena_format(arena, "%s", whole != NULL ? whole : "");
}

static int add_resources(struct call *call, const struct spec_resources *resources, bool is_unified, bool is_new, struct error *err)
{
	auto_free char *majors = NULL;

	if (file_read(AT_FDCWD, "/proc/devices", 65536, &majors, NULL, err) < 0)
		return err->code;
	return unit_properties_of_resources(resources, majors, is_unified, is_new, &call->words, err);
}

int systemd_check_spec(const struct spec *spec, struct error *err)
{
	struct call call;
	int r;

	call_begin(&call, "check", "");
	r = add_resources(&call, &spec->linux_part.resources, true, true, err);
	if (r == 0)
		r = unit_values_of_annotations(&spec->annotations, &call.words, err);
	arena_deinit(&call.arena);
	return r;
}

int systemd_start(const struct systemd_unit *unit, const struct spec *spec, const char *folder, struct systemd_hold *ret_hold,
		  char ret_path[static CGROUP_PATH_SIZE], struct error *err)
{
	struct cgroup host;
	struct call call;
	int r;

	if (cgroup_init(&host, "/", err) < 0)
		return err->code;
	call_begin(&call, "start", unit->name);
	unit_properties_of_unit(unit, strrchr(folder, '/') + 1, mark_of(&call.arena, folder), host.is_unified, &call.words);
	r = add_resources(&call, &spec->linux_part.resources, host.is_unified, true, err);
	if (r == 0)
		r = unit_values_of_annotations(&spec->annotations, &call.words, err);
	if (r == 0)
		r = call_finish(&call, ret_hold, ret_path, CGROUP_PATH_SIZE, err);
	arena_deinit(&call.arena);
	if (r == 0 && (ret_path[0] != '/' || ret_path[1] == '\0')) {
		systemd_release(ret_hold);
		r = fail_because(err, EPROTO, "systemd gave unit '%s' no cgroup", unit->name);
	}
	return r;
}

int systemd_attach(struct systemd_hold *self, pid_t pid, struct error *err)
{
	char text[CGROUP_PATH_SIZE];

	if (dprintf(self->order_fd, "%d\n", pid) < 0)
		return fail_errno(err, errno, "ask " PROGRAM);
	return await_reply(self, text, sizeof(text), err);
}

int systemd_join(const char *unit, pid_t pid, struct error *err)
{
	struct call call;
	int r;

	call_begin(&call, "attach", unit);
	unit_words_addf(&call.words, "%d", pid);
	r = call_finish(&call, NULL, NULL, 0, err);
	arena_deinit(&call.arena);
	return r;
}

/* 0: it says "max", or nothing. */
static uint64_t read_word(const char *dir, const char *file, bool is_second)
{
	auto_free char *path = text_format("%s/%s", dir, file);
	auto_free char *text = NULL;
	struct error ignored;
	uint64_t number = 0;
	char *word;

	if (file_read(AT_FDCWD, path, 256, &text, NULL, &ignored) < 0)
		return 0;
	word = is_second ? text + strcspn(text, " ") : text;
	word += word[0] == ' ';
	word[strcspn(word, " \n")] = '\0';
	(void) number_parse_u64(word, &number);
	return number;
}

/* systemd knows a quota by its ratio to the period, so that either needs the other. */
static void complete_quota(const struct cgroup *cgroup, struct spec_cpu *cpu)
{
	const struct cgroup_hierarchy *item = cgroup_find(cgroup, cgroup->is_unified ? "" : "cpu");
	uint64_t quota, period;

	if (item == NULL || (cpu->quota.value != 0) == (cpu->period.value != 0))
		return;
	quota = read_word(item->dir, cgroup->is_unified ? "cpu.max" : "cpu.cfs_quota_us", false);
	period = read_word(item->dir, cgroup->is_unified ? "cpu.max" : "cpu.cfs_period_us", cgroup->is_unified);
	if (cpu->period.value == 0)
		cpu->period = (struct json_uint){.is_set = period != 0, .value = period};
	else if (quota > 0 && quota <= INT64_MAX)
		cpu->quota = (struct json_int){.is_set = true, .value = (int64_t) quota};
}

int systemd_update(const char *unit, const struct cgroup *cgroup, const struct spec_resources *resources, struct error *err)
{
	struct spec_resources whole = *resources;
	struct call call;
	size_t before;
	int r;

	complete_quota(cgroup, &whole.cpu);
	call_begin(&call, "set", unit);
	before = call.words.count;
	r = add_resources(&call, &whole, cgroup->is_unified, false, err);
	if (r == 0 && call.words.count > before)
		r = call_finish(&call, NULL, NULL, 0, err);
	arena_deinit(&call.arena);
	return r;
}

int systemd_stop(const char *unit, const char *folder, struct error *err)
{
	struct call call;
	int r;

	call_begin(&call, "stop", unit);
	unit_words_add(&call.words, mark_of(&call.arena, folder));
	r = call_finish(&call, NULL, NULL, 0, err);
	arena_deinit(&call.arena);
	return r;
}
