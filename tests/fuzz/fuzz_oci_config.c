/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as config.json: parsed or refused, never more.
 */
#include "runtime/spec.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_NONE;
	struct spec spec;

	if (spec_parse(&spec, (const char *) data, size, "config.json", &err) == 0)
		spec_deinit(&spec);
	return 0;
}
