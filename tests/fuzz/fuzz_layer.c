/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a layer from another host, carried out in a folder of their own: nothing outside may change. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "checkpoint/layer.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static int layer_fd(void)
{
	static char folder[] = "/tmp/fuzz-layer-XXXXXX";
	static int fd = -1;

	if (fd < 0 && mkdtemp(folder) != NULL)
		fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct layer_sink sink;
	struct error err;

	layer_sink_init(&sink, layer_fd());
	while (size > 2) {
		size_t length = (size_t) (data[0] | data[1] << 8);
		struct frame frame = {.type = FRAME_LAYER_ENTRY, .data = (unsigned char *) (uintptr_t) data + 2};

		frame.size = length < size - 2 ? length : size - 2;
		if ((data[0] & 1) == 0)
			(void) layer_sink_frame(&sink, &frame, &err);
		else
			(void) layer_sink_data(&sink, frame.data, frame.size, &err);
		data += 2 + frame.size;
		size -= 2 + frame.size;
	}
	(void) layer_sink_done(&sink, &err);
	layer_sink_deinit(&sink);
	return 0;
}
