/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "state/crc32c.h"
#include "tests/unit/harness.h"

TEST(the_checksum_is_the_one_of_the_standard)
{
	static const uint8_t zeros[32];
	uint8_t ones[32];

	memset(ones, 0xff, sizeof(ones));
	CHECK(crc32c("123456789", 9) == 0xe3069283);
	CHECK(crc32c(zeros, sizeof(zeros)) == 0x8a9136aa); /* RFC 3720, B.4 */
	CHECK(crc32c(ones, sizeof(ones)) == 0x62a8ab43);
	CHECK(crc32c(NULL, 0) == 0);
}

TEST(the_fast_way_gives_what_the_portable_one_does)
{
	uint8_t data[300];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) (i * 167 + 13);
	for (size_t from = 0; from < 9; from++) {
		for (size_t size = 0; size < sizeof(data) - from; size++)
			CHECK(crc32c_fast(~0U, data + from, size) == crc32c_portable(~0U, data + from, size));
	}
}

TEST(every_flipped_bit_is_noticed)
{
	uint8_t data[4096] = {1, 2, 3};
	uint32_t right = crc32c(data, sizeof(data));

	for (size_t bit = 0; bit < sizeof(data) * 8; bit += 7) {
		data[bit / 8] ^= (uint8_t) (1U << bit % 8);
		CHECK(crc32c(data, sizeof(data)) != right);
		data[bit / 8] ^= (uint8_t) (1U << bit % 8);
	}
}
