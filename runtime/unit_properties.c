/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/unit_properties.h"

#include "base/text.h"
#include "runtime/cgroup_limits.h"
#include "runtime/device_rules.h"
#include "runtime/unit_limits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void unit_properties_of_unit(const struct systemd_unit *unit, const char *id, const char *mark, bool is_unified, struct unit_words *words)
{
	static const char *const accounted[] = {"CPUAccounting", "MemoryAccounting", "TasksAccounting"};

	unit_words_string(words, "Description", arena_format(words->arena, "container %s", id));
	unit_words_add(words, "Documentation");
	unit_words_add(words, "as");
	unit_words_add(words, "1");
	unit_words_add(words, mark);
	if (!unit->is_slice) {
		unit_words_string(words, "Slice", unit->slice);
		/* a slice can be delegated in old versions only */
		unit_words_bool(words, "Delegate", true);
	}
	unit_words_bool(words, "DefaultDependencies", false);
	unit_words_string(words, "CollectMode", "inactive-or-failed");
	for (size_t i = 0; i < sizeof(accounted) / sizeof(accounted[0]); i++)
		unit_words_bool(words, accounted[i], true);
	unit_words_bool(words, is_unified ? "IOAccounting" : "BlockIOAccounting", true);
}

static void add_memory(struct unit_words *words, const struct spec_memory *memory, bool is_unified)
{
	struct json_int swap = memory->swap;

	unit_limit_add(words, is_unified ? "MemoryMax" : "MemoryLimit", &memory->limit);
	if (!is_unified)
		return;
	unit_limit_add(words, "MemoryLow", &memory->reservation);
	/* the configuration counts both together; a sum below the limit is refused by who writes it to the cgroup */
	if (swap.is_set && swap.value > 0 && memory->limit.is_set && swap.value >= memory->limit.value) {
		swap.value -= memory->limit.value;
		unit_words_number(words, "MemorySwapMax", (uint64_t) swap.value);
	} else if (swap.is_set && swap.value < 0) {
		unit_limit_add(words, "MemorySwapMax", &swap);
	}
}

static int add_cpu(struct unit_words *words, const struct spec_cpu *cpu, bool is_unified, struct error *err)
{
	if (is_unified && cpu->idle.is_set && cpu->idle.value == 1)
		unit_words_number(words, "CPUWeight", 0);
	else if (cpu->shares.is_set && cpu->shares.value != 0)
		unit_words_number(words, is_unified ? "CPUWeight" : "CPUShares",
				  is_unified ? cgroup_weight_from_shares(cpu->shares.value) : cpu->shares.value);
	unit_limit_add_cpu(words, cpu->quota.value, cpu->period.value);
	if (!is_unified)
		return 0;
	if (unit_limit_add_set(words, "AllowedCPUs", cpu->cpus, "cpu.cpus", err) < 0)
		return err->code;
	return unit_limit_add_set(words, "AllowedMemoryNodes", cpu->mems, "cpu.mems", err);
}

static void add_throttles(struct unit_words *words, const char *name, const spec_throttle_list *list)
{
	if (list->count == 0)
		return;
	unit_words_add(words, name);
	unit_words_add(words, "a(st)");
	unit_words_addf(words, "%zu", list->count);
	for (size_t i = 0; i < list->count; i++) {
		unit_words_addf(words, "/dev/block/%" PRId64 ":%" PRId64, list->items[i].major.value, list->items[i].minor.value);
		unit_words_addf(words, "%" PRIu64, list->items[i].rate.value);
	}
}

static void add_io(struct unit_words *words, const struct spec_block_io *io, bool is_unified)
{
	if (io->weight.is_set && io->weight.value >= 10)
		unit_words_number(words, is_unified ? "IOWeight" : "BlockIOWeight",
				  is_unified ? cgroup_io_weight_from_blkio(io->weight.value) : io->weight.value);
	if (!is_unified)
		return;
	add_throttles(words, "IOReadBandwidthMax", &io->read_bps);
	add_throttles(words, "IOWriteBandwidthMax", &io->write_bps);
	add_throttles(words, "IOReadIOPSMax", &io->read_iops);
	add_throttles(words, "IOWriteIOPSMax", &io->write_iops);
}

/* From the section "Character devices:" or "Block devices:" of /proc/devices. */
static bool find_major(const char *majors, char type, int64_t major, char *ret_name, size_t size)
{
	const char *line = strstr(majors, type == 'b' ? "Block devices:" : "Character devices:");
	char *end;

	for (line = line != NULL ? strchr(line, '\n') : NULL; line != NULL && line[1] != '\n' && line[1] != '\0'; line = strchr(line + 1, '\n')) {
		if (strtoll(line + 1, &end, 10) != major || *end != ' ')
			continue;
		return text_fit(ret_name, size, "%.*s", (int) strcspn(end + 1, "\n"), end + 1);
	}
	return false;
}

/* false: systemd has no words for it. */
static bool device_name(const struct device_rule *rule, const char *majors, char *ret_name, size_t size)
{
	const char *kind = rule->type == 'b' ? "block" : "char";
	char driver[64];

	if (rule->major == DEVICE_ANY)
		return rule->minor == DEVICE_ANY && text_fit(ret_name, size, "%s-*", kind);
	if (rule->minor != DEVICE_ANY)
		return text_fit(ret_name, size, "/dev/%s/%" PRId64 ":%" PRId64, kind, rule->major, rule->minor);
	return find_major(majors, rule->type, rule->major, driver, sizeof(driver)) && text_fit(ret_name, size, "%s-%s", kind, driver);
}

/* systemd can only allow: what is denied again after that, our own rules deny, which stay in force beside its. */
static int add_devices(struct unit_words *words, const struct spec_resources *resources, const char *majors, struct error *err)
{
	struct device_rules rules;
	size_t counter, count = 0;
	char name[80];

	if (device_rules_init(&rules, resources, err) < 0)
		return err->code;
	unit_words_string(words, "DevicePolicy", rules.allows_by_default ? "auto" : "strict");
	/* setting none takes away those there were */
	unit_words_add(words, "DeviceAllow");
	unit_words_add(words, "a(ss)");
	unit_words_add(words, "0");
	if (rules.allows_by_default)
		return 0;
	unit_words_add(words, "DeviceAllow");
	unit_words_add(words, "a(ss)");
	counter = words->count;
	unit_words_add(words, "0");
	for (size_t i = 0; i < rules.count; i++) {
		const struct device_rule *rule = &rules.items[i];

		if (!rule->is_allowed || rule->access == 0 || !device_name(rule, majors, name, sizeof(name)))
			continue;
		unit_words_addf(words, "%s", name);
		unit_words_addf(words, "%s%s%s", (rule->access & DEVICE_READ) != 0 ? "r" : "", (rule->access & DEVICE_WRITE) != 0 ? "w" : "",
				(rule->access & DEVICE_MKNOD) != 0 ? "m" : "");
		count++;
	}
	words->items[counter] = arena_format(words->arena, "%zu", count);
	return 0;
}

int unit_properties_of_resources(const struct spec_resources *resources, const char *device_majors, bool is_unified, bool is_new,
				 struct unit_words *words, struct error *err)
{
	add_memory(words, &resources->memory, is_unified);
	add_io(words, &resources->block_io, is_unified);
	unit_limit_add(words, "TasksMax", &resources->pids.limit);
	if (add_cpu(words, &resources->cpu, is_unified, err) < 0)
		return err->code;
	if (is_unified && unit_limits_of_unified(&resources->unified, words, err) < 0)
		return err->code;
	return is_new || resources->devices.count > 0 ? add_devices(words, resources, device_majors, err) : 0;
}
