/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/images.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct page_set set = {0};
	struct error err;

	(void) pagemap_parse(data, size, 1 << 20, &set, &err);
	page_set_deinit(&set);
	return 0;
}
