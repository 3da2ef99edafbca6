/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules are compiled by libseccomp and exported as a plain program; only seccomp(2) itself happens in the container.
 */
#include "runtime/seccomp_filter.h"

#include "base/file.h"
#include "base/owned.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT_LIMIT (SECCOMP_INSTRUCTIONS_MAX * sizeof(struct sock_filter))

const char *const seccomp_action_names[] = {
	"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
	"SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP", NULL,
};

static const uint32_t action_values[] = {
	SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(0), SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD,
	SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE(0), SCMP_ACT_TRAP,
};

const char *const seccomp_operator_names[] = {
	"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE", NULL,
};

static const enum scmp_compare operator_values[] = {
	SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_LE, SCMP_CMP_LT, SCMP_CMP_MASKED_EQ, SCMP_CMP_NE,
};

const char *const seccomp_architecture_names[] = {
	"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64",
	"SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC",
	"SCMP_ARCH_PARISC64", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64",
	"SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", NULL,
};

static const uint32_t architecture_values[] = {
	SCMP_ARCH_AARCH64, SCMP_ARCH_ARM, SCMP_ARCH_LOONGARCH64, SCMP_ARCH_MIPS, SCMP_ARCH_MIPS64,
	SCMP_ARCH_MIPS64N32, SCMP_ARCH_MIPSEL, SCMP_ARCH_MIPSEL64, SCMP_ARCH_MIPSEL64N32, SCMP_ARCH_PARISC,
	SCMP_ARCH_PARISC64, SCMP_ARCH_PPC, SCMP_ARCH_PPC64, SCMP_ARCH_PPC64LE, SCMP_ARCH_RISCV64,
	SCMP_ARCH_S390, SCMP_ARCH_S390X, SCMP_ARCH_X32, SCMP_ARCH_X86, SCMP_ARCH_X86_64,
};

const char *const seccomp_flag_names[] = {
	"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
	"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL,
};

static const uint32_t flag_values[] = {
	SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_TSYNC,
	SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
};

static int find(const char *const *names, const char *name)
{
	for (int i = 0; name != NULL && names[i] != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -EINVAL;
}

static uint32_t parse_action(const char *name, const struct json_uint *errno_value)
{
	uint16_t value = errno_value->is_set ? (uint16_t) errno_value->value : EPERM;
	uint32_t action = action_values[find(seccomp_action_names, name)];

	if (action == SCMP_ACT_ERRNO(0))
		return SCMP_ACT_ERRNO(value);
	return action == SCMP_ACT_TRACE(0) ? SCMP_ACT_TRACE(value) : action;
}

static int add_architectures(scmp_filter_ctx context, const struct json_strings *names, struct error *err)
{
	for (size_t i = 0; i < names->count; i++) {
		int r = seccomp_arch_add(context, architecture_values[find(seccomp_architecture_names, names->items[i])]);

		if (r < 0 && r != -EEXIST)
			return fail_errno(err, -r, "add seccomp architecture %s", names->items[i]);
	}
	return 0;
}

static void fill_arguments(const struct spec_seccomp_rule *rule, struct scmp_arg_cmp *arguments)
{
	for (size_t i = 0; i < rule->arguments.count; i++) {
		const struct spec_seccomp_argument *argument = &rule->arguments.items[i];

		/* for a masked comparison the specification's value is the mask */
		arguments[i] = (struct scmp_arg_cmp){.arg = (unsigned int) argument->index.value,
						     .op = operator_values[find(seccomp_operator_names, argument->operator)],
						     .datum_a = argument->value.value,
						     .datum_b = argument->value_two.value};
	}
}

/* A rule that tests one argument more than once cannot be one libseccomp rule: each test is one, any may match. */
static bool tests_an_argument_twice(const struct spec_seccomp_rule *rule)
{
	unsigned int seen = 0;

	for (size_t i = 0; i < rule->arguments.count; i++) {
		if ((seen & 1U << rule->arguments.items[i].index.value) != 0)
			return true;
		seen |= 1U << rule->arguments.items[i].index.value;
	}
	return false;
}

static int add_call(scmp_filter_ctx context, uint32_t action, int call, const struct spec_seccomp_rule *rule,
		    const struct scmp_arg_cmp *arguments)
{
	int r = 0;

	if (!tests_an_argument_twice(rule))
		return seccomp_rule_add_array(context, action, call, (unsigned int) rule->arguments.count, arguments);
	for (size_t i = 0; i < rule->arguments.count && (r >= 0 || r == -EEXIST); i++)
		r = seccomp_rule_add_array(context, action, call, 1, &arguments[i]);
	return r;
}

static int add_rule(scmp_filter_ctx context, const struct spec_seccomp_rule *rule, uint32_t default_action,
		    struct error *err)
{
	struct scmp_arg_cmp arguments[6];
	uint32_t action = parse_action(rule->action, &rule->errno_value);

	if (action == default_action)
		return 0;
	fill_arguments(rule, arguments);
	for (size_t i = 0; i < rule->names.count; i++) {
		int call = seccomp_syscall_resolve_name(rule->names.items[i]);
		/* a call that this architecture or libseccomp does not know cannot be made by name either */
		int r = call == __NR_SCMP_ERROR ? 0 : add_call(context, action, call, rule, arguments);

		if (r < 0 && r != -EEXIST && r != -EDOM)
			return fail_errno(err, -r, "add seccomp rule for %s", rule->names.items[i]);
	}
	return 0;
}

static bool is_notify(const char *action)
{
	return strcmp(action, "SCMP_ACT_NOTIFY") == 0;
}

/* Without such a rule the specification wants the listener's path to be ignored. */
static bool is_notifying(const struct spec_seccomp *seccomp)
{
	for (size_t i = 0; i < seccomp->rules.count; i++)
		if (is_notify(seccomp->rules.items[i].action))
			return true;
	return false;
}

static int check_words(const struct json_strings *words, const char *const *known, const char *field, const char *what,
		       struct error *err)
{
	for (size_t i = 0; i < words->count; i++)
		if (find(known, words->items[i]) < 0)
			return fail_because(err, EINVAL, "linux.seccomp.%s[%zu]: unknown %s '%s'", field, i, what, words->items[i]);
	return 0;
}

static int check_arguments(const struct spec_seccomp_rule *rule, size_t index, struct error *err)
{
	for (size_t i = 0; i < rule->arguments.count; i++) {
		const struct spec_seccomp_argument *argument = &rule->arguments.items[i];

		if (find(seccomp_operator_names, argument->operator) < 0)
			return fail_because(err, EINVAL, "linux.seccomp.syscalls[%zu].args[%zu].op: unknown operator '%s'", index, i,
					    argument->operator);
		if (argument->index.value > 5)
			return fail_because(err, EINVAL, "linux.seccomp.syscalls[%zu].args[%zu].index: argument index above 5", index, i);
	}
	return 0;
}

static int check_rule(const struct spec_seccomp_rule *rule, size_t index, struct error *err)
{
	if (find(seccomp_action_names, rule->action) < 0)
		return fail_because(err, EINVAL, "linux.seccomp.syscalls[%zu].action: unknown action '%s'", index, rule->action);
	if (rule->names.count == 0)
		return fail_because(err, EINVAL, "linux.seccomp.syscalls[%zu].names: must not be empty", index);
	if (rule->errno_value.value > UINT16_MAX)
		return fail_because(err, EINVAL, "linux.seccomp.syscalls[%zu].errnoRet: above 65535", index);
	if (rule->arguments.count > 6)
		return fail_because(err, EINVAL, "linux.seccomp.syscalls[%zu].args: more than 6 arguments", index);
	/* the listener leaves the container by this call, after the filter has been installed */
	for (size_t i = 0; is_notify(rule->action) && i < rule->names.count; i++)
		if (strcmp(rule->names.items[i], "sendmsg") == 0)
			return fail_because(err, EINVAL, "linux.seccomp.syscalls[%zu].names[%zu]: sendmsg cannot be notified of", index, i);
	return check_arguments(rule, index, err);
}

static int check_listener(const struct spec_seccomp *seccomp, struct error *err)
{
	bool has_path = seccomp->listener_path != NULL && seccomp->listener_path[0] != '\0';
	bool has_metadata = seccomp->listener_metadata != NULL && seccomp->listener_metadata[0] != '\0';

	if (is_notify(seccomp->default_action))
		return fail_because(err, EINVAL, "linux.seccomp.defaultAction: cannot be SCMP_ACT_NOTIFY");
	if (is_notifying(seccomp) && !has_path)
		return fail_because(err, EINVAL, "linux.seccomp.listenerPath: needed by SCMP_ACT_NOTIFY");
	if (has_metadata && !has_path)
		return fail_because(err, EINVAL, "linux.seccomp.listenerMetadata: needs linux.seccomp.listenerPath");
	return 0;
}

int seccomp_check(const struct spec_seccomp *seccomp, struct error *err)
{
	if (seccomp == NULL)
		return 0;
	if (find(seccomp_action_names, seccomp->default_action) < 0)
		return fail_because(err, EINVAL, "linux.seccomp.defaultAction: unknown action '%s'", seccomp->default_action);
	if (seccomp->default_errno.value > UINT16_MAX)
		return fail_because(err, EINVAL, "linux.seccomp.defaultErrnoRet: above 65535");
	if (check_words(&seccomp->architectures, seccomp_architecture_names, "architectures", "architecture", err) < 0 ||
	    check_words(&seccomp->flags, seccomp_flag_names, "flags", "flag", err) < 0)
		return err->code;
	for (size_t i = 0; i < seccomp->rules.count; i++)
		if (check_rule(&seccomp->rules.items[i], i, err) < 0)
			return err->code;
	return check_listener(seccomp, err);
}

static uint32_t parse_flags(const struct spec_seccomp *seccomp)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < seccomp->flags.count; i++)
		flags |= flag_values[find(seccomp_flag_names, seccomp->flags.items[i])];
	if (is_notifying(seccomp))
		flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	else /* the kernel refuses it without a listener */
		flags &= ~(uint32_t) SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	/* with a listener a failed TSYNC could not be told from a descriptor; there is only one thread anyway */
	if ((flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0)
		flags &= ~(uint32_t) SECCOMP_FILTER_FLAG_TSYNC;
	return flags;
}

static int export_filter(scmp_filter_ctx context, struct seccomp_filter *self, struct error *err)
{
	auto_close int fd = memfd_create("seccomp", MFD_CLOEXEC);
	char *data = NULL;
	size_t size = 0;
	int r = fd < 0 ? -errno : seccomp_export_bpf(context, fd);

	if (r < 0)
		return fail_errno(err, -r, "compile the seccomp filter");
	if (lseek(fd, 0, SEEK_SET) < 0)
		return fail_errno(err, errno, "read the seccomp filter");
	if (file_read_fd(fd, "the seccomp filter", EXPORT_LIMIT, &data, &size, err) < 0)
		return err->code;
	self->instructions = (struct sock_filter *) (void *) data;
	self->count = size / sizeof(struct sock_filter);
	return 0;
}

static int build(scmp_filter_ctx context, const struct spec_seccomp *seccomp, uint32_t default_action, struct error *err)
{
	/* the container decides about privileges, not libseccomp; unknown architectures follow the default action */
	(void) seccomp_attr_set(context, SCMP_FLTATR_CTL_NNP, 0);
	(void) seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (add_architectures(context, &seccomp->architectures, err) < 0)
		return err->code;
	for (size_t i = 0; i < seccomp->rules.count; i++)
		if (add_rule(context, &seccomp->rules.items[i], default_action, err) < 0)
			return err->code;
	return 0;
}

int seccomp_begin(struct seccomp_filter *self, const struct spec_seccomp *seccomp, struct error *err)
{
	*self = (struct seccomp_filter){0};
	if (seccomp_check(seccomp, err) < 0)
		return err->code;
	self->flags = parse_flags(seccomp);
	return 0;
}

int seccomp_compile(struct seccomp_filter *self, const struct spec_seccomp *seccomp, struct error *err)
{
	uint32_t default_action;
	scmp_filter_ctx context;
	int r;

	default_action = parse_action(seccomp->default_action, &seccomp->default_errno);
	context = seccomp_init(default_action);
	if (context == NULL)
		return fail_because(err, EINVAL, "linux.seccomp.defaultAction: refused by libseccomp");
	r = build(context, seccomp, default_action, err);
	if (r == 0)
		r = export_filter(context, self, err);
	seccomp_release(context);
	return r;
}

void seccomp_filter_deinit(struct seccomp_filter *self)
{
	free(self->instructions);
	*self = (struct seccomp_filter){0};
}

int seccomp_install(const struct seccomp_filter *self, int *ret_listener_fd, struct error *err)
{
	struct sock_fprog program = {.len = (unsigned short) self->count, .filter = self->instructions};
	long r;

	if (self->count == 0)
		return 0;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, self->flags, &program);
	if (r < 0)
		return fail_errno(err, errno, "install the seccomp filter");
	*ret_listener_fd = (self->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0 ? (int) r : FD_NONE;
	return 0;
}
