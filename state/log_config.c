/* SPDX-License-Identifier: Apache-2.0 */
#include "state/log_config.h"

#include "base/text.h"

#include <string.h>

static const struct {
	Hydra__V1__LogFormat format;
	const char *name;
	const char *suffix;
} formats[] = {
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI, "cri", ""},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JSON_FILE, "json-file", ".json"},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_RAW, "raw", ".raw"},
	{HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JOURNALD, "journald", NULL},
};

static const struct {
	Hydra__V1__LogPolicy policy;
	const char *name;
} policies[] = {
	{HYDRA__V1__LOG_POLICY__LOG_POLICY_SPILL, "spill"},
	{HYDRA__V1__LOG_POLICY__LOG_POLICY_BLOCK, "block"},
	{HYDRA__V1__LOG_POLICY__LOG_POLICY_DROP_OLDEST, "drop-oldest"},
};

const Hydra__V1__LogFormat log_file_formats[] = {
	HYDRA__V1__LOG_FORMAT__LOG_FORMAT_CRI,
	HYDRA__V1__LOG_FORMAT__LOG_FORMAT_JSON_FILE,
	HYDRA__V1__LOG_FORMAT__LOG_FORMAT_RAW,
};
const size_t log_file_format_count = sizeof(log_file_formats) / sizeof(log_file_formats[0]);

bool log_format_parse(const char *name, Hydra__V1__LogFormat *ret_format)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(name, formats[i].name) == 0) {
			*ret_format = formats[i].format;
			return true;
		}
	}
	return false;
}

bool log_policy_parse(const char *name, Hydra__V1__LogPolicy *ret_policy)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (strcmp(name, policies[i].name) == 0) {
			*ret_policy = policies[i].policy;
			return true;
		}
	}
	return false;
}

const char *log_format_suffix(Hydra__V1__LogFormat format)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (format == formats[i].format)
			return formats[i].suffix;
	}
	return "";
}

bool log_rotated_path(char *buffer, size_t size, const char *path, unsigned number, Hydra__V1__LogFormat format)
{
	return text_fit(buffer, size, "%s.%u%s", path, number, log_format_suffix(format));
}
