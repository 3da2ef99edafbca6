/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as config.json: parsed or refused, never more. What was read as JSON can be written and read again.
 */
#include "base/owned.h"
#include "runtime/json.h"
#include "runtime/spec.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read(const char *data, size_t size)
{
	auto_json *value = NULL;
	auto_json *again = NULL;
	auto_free char *text = NULL;
	struct error err;

	if (json_parse(data, size, "document", &value, &err) < 0 || value == NULL)
		return;
	text = json_text(value, size % 2 == 0);
	assert(json_parse(text, strlen(text), "what was written", &again, &err) == 0);
	assert(json_object_equal(value, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_NONE;
	struct spec spec;

	if (spec_parse(&spec, (const char *) data, size, "config.json", &err) == 0)
		spec_deinit(&spec);
	write_and_read((const char *) data, size);
	return 0;
}
