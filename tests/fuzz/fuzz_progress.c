/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The progress of a migration: lines, of which a part is a peer's words.
 */
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "state/migration_file.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char root[] = "/tmp/fuzz-progress";
	auto_free char *folder = migration_folder(root);
	auto_free char *path = text_format("%s/m", folder);
	auto_message Hydra__V1__MigrationStatus *status = NULL;
	struct error err;

	if (file_replace_fast(AT_FDCWD, path, data, size, 0600, &err) == 0)
		(void) migration_file_read(root, "m", &status, NULL, &err);
	return 0;
}
