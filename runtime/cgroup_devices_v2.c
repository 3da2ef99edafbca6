/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device rules as an eBPF program (BPF_PROG_TYPE_CGROUP_DEVICE), because cgroup v2 has no device controller.
 * The last matching rule wins, so the program tests them from the last to the first.
 */
#include "base/owned.h"
#include "runtime/cgroup_limits.h"
#include "runtime/device_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>

#define INSTRUCTIONS_PER_RULE 8
#define INSTRUCTIONS_MAX      (DEVICE_RULES_MAX * INSTRUCTIONS_PER_RULE + 8)
#define OLD_PROGRAMS_MAX      64

struct program {
	struct bpf_insn items[INSTRUCTIONS_MAX];
	size_t count;
};

static void emit(struct program *self, struct bpf_insn instruction)
{
	if (self->count < INSTRUCTIONS_MAX)
		self->items[self->count++] = instruction;
}

static struct bpf_insn load_word(int to, int from, short offset)
{
	return (struct bpf_insn){.code = BPF_LDX | BPF_W | BPF_MEM, .dst_reg = to & 15, .src_reg = from & 15, .off = offset};
}

static struct bpf_insn calculate(int operation, int to, int value)
{
	return (struct bpf_insn){.code = (unsigned char) (BPF_ALU | operation | BPF_K), .dst_reg = to & 15, .imm = value};
}

static struct bpf_insn copy(int to, int from)
{
	return (struct bpf_insn){.code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = to & 15, .src_reg = from & 15};
}

static struct bpf_insn jump(int condition, int left, int right, size_t distance)
{
	return (struct bpf_insn){.code = (unsigned char) (BPF_JMP | condition | BPF_K),
				 .dst_reg = left & 15,
				 .off = (short) distance,
				 .imm = right};
}

/* Registers: 2 access, 3 type, 4 major, 5 minor, 1 scratch. */
static void emit_rule(struct program *self, const struct device_rule *rule)
{
	struct bpf_insn tests[6];
	size_t count = 0;

	if (rule->type != 'a')
		tests[count++] = jump(BPF_JNE, BPF_REG_3, rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR, 0);
	if (rule->access != DEVICE_ALL) {
		/* all that is wanted must be allowed; one thing that is denied is enough */
		int mask = rule->is_allowed ? (int) (DEVICE_ALL & ~rule->access) : (int) rule->access;

		tests[count++] = copy(BPF_REG_1, BPF_REG_2);
		tests[count++] = calculate(BPF_AND, BPF_REG_1, mask);
		tests[count++] = jump(rule->is_allowed ? BPF_JNE : BPF_JEQ, BPF_REG_1, 0, 0);
	}
	if (rule->major != DEVICE_ANY)
		tests[count++] = jump(BPF_JNE, BPF_REG_4, (int) rule->major, 0);
	if (rule->minor != DEVICE_ANY)
		tests[count++] = jump(BPF_JNE, BPF_REG_5, (int) rule->minor, 0);
	for (size_t i = 0; i < count; i++) {
		if (BPF_CLASS(tests[i].code) == BPF_JMP)
			tests[i].off = (short) (count - i - 1 + 2);
		emit(self, tests[i]);
	}
	emit(self, calculate(BPF_MOV, BPF_REG_0, rule->is_allowed));
	emit(self, (struct bpf_insn){.code = BPF_JMP | BPF_EXIT});
}

static void build(struct program *self, const struct device_rules *rules)
{
	self->count = 0;
	emit(self, load_word(BPF_REG_2, BPF_REG_1, 0));
	emit(self, copy(BPF_REG_3, BPF_REG_2));
	emit(self, calculate(BPF_AND, BPF_REG_3, 0xffff));
	emit(self, calculate(BPF_RSH, BPF_REG_2, 16));
	emit(self, load_word(BPF_REG_4, BPF_REG_1, 4));
	emit(self, load_word(BPF_REG_5, BPF_REG_1, 8));
	for (size_t i = rules->count; i > 0; i--)
		emit_rule(self, &rules->items[i - 1]);
	emit(self, calculate(BPF_MOV, BPF_REG_0, rules->allows_by_default));
	emit(self, (struct bpf_insn){.code = BPF_JMP | BPF_EXIT});
}

static int bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
	return (int) syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static int load(const struct program *program)
{
	union bpf_attr attributes = {0};

	attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attributes.insns = (uintptr_t) program->items;
	attributes.insn_cnt = (unsigned int) program->count;
	attributes.license = (uintptr_t) "Apache-2.0";
	return bpf(BPF_PROG_LOAD, &attributes);
}

static size_t query(int cgroup_fd, unsigned int *ids)
{
	union bpf_attr attributes = {0};

	attributes.query.target_fd = (unsigned int) cgroup_fd;
	attributes.query.attach_type = BPF_CGROUP_DEVICE;
	attributes.query.prog_ids = (uintptr_t) ids;
	attributes.query.prog_cnt = OLD_PROGRAMS_MAX;
	return bpf(BPF_PROG_QUERY, &attributes) < 0 ? 0 : attributes.query.prog_cnt;
}

static void detach(int cgroup_fd, unsigned int id)
{
	union bpf_attr find = {0};
	union bpf_attr attributes = {0};
	auto_close int fd = FD_NONE;

	find.prog_id = id;
	fd = bpf(BPF_PROG_GET_FD_BY_ID, &find);
	if (fd < 0)
		return;
	attributes.target_fd = (unsigned int) cgroup_fd;
	attributes.attach_bpf_fd = (unsigned int) fd;
	attributes.attach_type = BPF_CGROUP_DEVICE;
	(void) bpf(BPF_PROG_DETACH, &attributes);
}

int cgroup_v2_set_devices(const struct cgroup_hierarchy *item, const struct device_rules *rules, struct error *err)
{
	auto_free struct program *program = calloc(1, sizeof(*program));
	auto_close int cgroup_fd = open(item->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int program_fd = FD_NONE;
	union bpf_attr attributes = {0};
	unsigned int old[OLD_PROGRAMS_MAX];
	size_t old_count;

	if (program == NULL)
		return fail_errno(err, ENOMEM, "build the device filter");
	if (cgroup_fd < 0)
		return fail_errno(err, errno, "open cgroup %s", item->dir);
	build(program, rules);
	program_fd = load(program);
	if (program_fd < 0)
		return fail_errno(err, errno, "load the device filter");
	old_count = query(cgroup_fd, old);
	attributes.target_fd = (unsigned int) cgroup_fd;
	attributes.attach_bpf_fd = (unsigned int) program_fd;
	attributes.attach_type = BPF_CGROUP_DEVICE;
	attributes.attach_flags = BPF_F_ALLOW_MULTI;
	if (bpf(BPF_PROG_ATTACH, &attributes) < 0)
		return fail_errno(err, errno, "attach the device filter");
	for (size_t i = 0; i < old_count && i < OLD_PROGRAMS_MAX; i++)
		detach(cgroup_fd, old[i]);
	return 0;
}
