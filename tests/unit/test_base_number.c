/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/number.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <string.h>

TEST(a_number_is_the_whole_text)
{
	uint64_t value = 7;

	CHECK(number_parse_u64("42", &value) == 0 && value == 42);
	CHECK(number_parse_u64("18446744073709551615", &value) == 0 && value == UINT64_MAX);
	CHECK(number_parse_u64("", &value) == -EINVAL);
	CHECK(number_parse_u64("42x", &value) == -EINVAL);
	CHECK(number_parse_u64(" 42", &value) == -EINVAL);
	CHECK(number_parse_u64("-1", &value) == -EINVAL);
	CHECK(number_parse_u64("18446744073709551616", &value) == -ERANGE);
	CHECK(value == UINT64_MAX);
}

TEST(a_signed_number_has_both_ends_of_its_range)
{
	int64_t value = 0;
	int small = 0;

	CHECK(number_parse_i64("-9223372036854775808", &value) == 0 && value == INT64_MIN);
	CHECK(number_parse_i64("9223372036854775807", &value) == 0 && value == INT64_MAX);
	CHECK(number_parse_i64("9223372036854775808", &value) == -ERANGE);
	CHECK(number_parse_int("12", 0, 10, &small) == -ERANGE);
	CHECK(number_parse_int("-5", -10, 10, &small) == 0 && small == -5);
}

TEST(a_size_has_units_of_1024)
{
	uint64_t bytes = 0;

	CHECK(number_parse_size("512", &bytes) == 0 && bytes == 512);
	CHECK(number_parse_size("64k", &bytes) == 0 && bytes == 65536);
	CHECK(number_parse_size("1.5g", &bytes) == 0 && bytes == 1536ULL << 20);
	CHECK(number_parse_size("2GiB", &bytes) == 0 && bytes == 2ULL << 30);
	CHECK(number_parse_size("1mb", &bytes) == 0 && bytes == 1 << 20);
	CHECK(number_parse_size("1x", &bytes) == -EINVAL);
	CHECK(number_parse_size("99999999999t", &bytes) == -ERANGE);
}

TEST(a_duration_may_have_several_parts)
{
	uint64_t ns = 0;

	CHECK(number_parse_duration("10", &ns) == 0 && ns == 10 * NS_PER_S);
	CHECK(number_parse_duration("500ms", &ns) == 0 && ns == 500 * NS_PER_MS);
	CHECK(number_parse_duration("1m30s", &ns) == 0 && ns == 90 * NS_PER_S);
	CHECK(number_parse_duration("1.5s", &ns) == 0 && ns == 1500 * NS_PER_MS);
	CHECK(number_parse_duration("5 s", &ns) == -EINVAL);
	CHECK(number_parse_duration("s", &ns) == -EINVAL);
}

TEST(a_time_survives_its_text)
{
	char text[CLOCK_TEXT_SIZE];
	uint64_t ns = 0;

	clock_format(1700000000123456789ULL, text);
	CHECK(strcmp(text, "2023-11-14T22:13:20.123456789Z") == 0);
	CHECK(clock_parse(text, &ns) == 0 && ns == 1700000000123456789ULL);
	CHECK(clock_parse("yesterday", &ns) == -EINVAL);
}
