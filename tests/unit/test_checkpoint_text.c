/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/owned.h"
#include "base/text.h"
#include "checkpoint/carried.h"
#include "checkpoint/criu_find.h"
#include "checkpoint/criu_log.h"
#include "checkpoint/facts.h"
#include "checkpoint/frames.h"
#include "checkpoint/layer.h"
#include "checkpoint/metadata.h"
#include "checkpoint/proc.h"
#include "checkpoint/progress.h"
#include "checkpoint/survey.h"
#include "tests/unit/harness.h"

TEST(versions_are_understood)
{
	int version = 0;

	CHECK(version_parse("4.2.1", &version) == 0 && version == 40201);
	CHECK(version_parse("6.18.44-fc-v445", &version) == 0 && version == 61844);
	CHECK(version_parse("4.1", &version) == 0 && version == 40100);
	CHECK(version_parse("five", &version) == -EINVAL);
}

TEST(newer_kernels_need_newer_criu)
{
	CHECK(criu_oldest_for_kernel(61500) == 40101);
	CHECK(criu_oldest_for_kernel(61600) == 40201);
}

TEST(the_first_error_of_a_log_is_the_reason)
{
	char reason[200];

	criu_log_reason("(00.1) Warn  (criu/x.c:1): fine\n(00.2) Error (criu/rlimit.c:3): rlimit: Can't setup\n"
			"(00.3) Error (criu/sk.c:700): inet: Can't dump socket 12\n(00.4) Error (criu/cr.c:9): Dumping FAILED.\n",
			reason, sizeof(reason));
	CHECK(strcmp(reason, "inet: Can't dump socket 12") == 0);
	criu_log_reason("all is well\n", reason, sizeof(reason));
	CHECK(reason[0] == '\0');
}

TEST(a_missing_cpu_feature_is_named)
{
	char word[32];

	CHECK(!facts_missing_word("sse avx", "avx  sse avx2", word, sizeof(word)));
	CHECK(facts_missing_word("sse avx512f", "avx sse avx512", word, sizeof(word)) && strcmp(word, "avx512f") == 0);
	CHECK(!facts_missing_word("", "", word, sizeof(word)));
}

TEST(paths_that_leave_the_layer_are_refused)
{
	CHECK(layer_path_is_safe(""));
	CHECK(layer_path_is_safe("a/b c/..d"));
	CHECK(!layer_path_is_safe("/a"));
	CHECK(!layer_path_is_safe("a//b"));
	CHECK(!layer_path_is_safe("a/"));
	CHECK(!layer_path_is_safe("a/../b"));
	CHECK(!layer_path_is_safe(".."));
	CHECK(!layer_path_is_safe("./a"));
}

TEST(a_file_changed_shortly_before_the_listing_is_sent_again)
{
	struct layer_entry old = {.status = {.st_ino = 7, .st_ctim = {.tv_sec = 100}, .st_mtim = {.tv_sec = 100}}}, new = old;

	CHECK(!layer_entry_changed(&new, &old, 200 * NS_PER_S));
	CHECK(layer_entry_changed(&new, &old, 101 * NS_PER_S));
	CHECK(layer_entry_changed(&new, NULL, 200 * NS_PER_S));
	new.status.st_ino = 8;
	CHECK(layer_entry_changed(&new, &old, 200 * NS_PER_S));
}

TEST(mounts_with_odd_names_are_read)
{
	struct proc_mounts mounts;
	struct error err;
	auto_free char *text = text_copy("22 21 0:40 / /a\\040b rw,nosuid shared:1 master:2 - tmpfs tmp\\011fs rw,size=1k\n"
					 "23 22 8:1 /x /y ro - ext4 /dev/sda1 rw\n");
	auto_free char *broken = text_copy("nonsense\n");

	CHECK(proc_mounts_parse(&mounts, text, &err) == 0 && mounts.count == 2);
	CHECK(strcmp(mounts.items[0].mountpoint, "/a b") == 0 && mounts.items[0].is_writable);
	CHECK(strcmp(mounts.items[1].root, "/x") == 0 && !mounts.items[1].is_writable);
	CHECK(strcmp(mounts.items[1].fstype, "ext4") == 0);
	CHECK(mounts.items[0].is_shared && !mounts.items[1].is_shared);
	proc_mounts_deinit(&mounts);
	CHECK(proc_mounts_parse(&mounts, broken, &err) == -EPROTO);
}

TEST(a_tmpfs_is_made_anew_with_its_options_or_not_at_all)
{
	static const char *const cases[][2] = {
		{"rw", ""},
		{"rw,size=65536k,mode=755,inode64", "size=65536k,mode=755,inode64"},
		{"rw,seclabel,nr_inodes=10,uid=1,gid=2", "nr_inodes=10,uid=1,gid=2"},
		{"ro,size=4k", NULL},
		{"rw,size=4k,mpol=bind:0", NULL},
		{"rw,usrquota", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_free char *options = carried_options(cases[i][0]);

		CHECK((options == NULL) == (cases[i][1] == NULL));
		CHECK(options == NULL || strcmp(options, cases[i][1]) == 0);
	}
}

TEST(what_cannot_be_saved_has_a_name)
{
	CHECK(survey_link("anon_inode:[io_uring]") != NULL);
	CHECK(survey_link("anon_inode:kvm-vm") != NULL);
	CHECK(survey_link("anon_inode:[eventpoll]") == NULL);
	CHECK(survey_link("/etc/passwd") == NULL);
}

TEST(quotes_cannot_break_a_progress_line)
{
	auto_free char *quoted = progress_quote("a\"b\\c\n");

	CHECK(strcmp(quoted, "\"a\\\"b\\\\c\\u000a\"") == 0);
}

static void open_pair(struct link *here, struct link *there)
{
	struct error err;
	int pair[2];
	struct transport transport;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(transport_open(&transport, &pair[0], false, NULL, 1000, &err) == 0);
	link_init(here, &transport);
	CHECK(transport_open(&transport, &pair[1], true, NULL, 1000, &err) == 0);
	link_init(there, &transport);
}

TEST(frames_arrive_as_they_were_sent)
{
	struct link here, there;
	struct frame frame;
	struct error err;

	open_pair(&here, &there);
	CHECK(link_queue(&here, FRAME_LAYER_DONE, NULL, 0, &err) == 0 && link_queue(&here, FRAME_IMAGE_DATA, "abc", 3, &err) == 0);
	CHECK(link_flush(&here, &err) == 0);
	CHECK(link_next(&there, &frame, &err) == 1 && frame.type == FRAME_LAYER_DONE && frame.size == 0);
	CHECK(link_next(&there, &frame, &err) == 1 && frame.size == 3 && memcmp(frame.data, "abc", 3) == 0);
	CHECK(link_next(&there, &frame, &err) == 0);
	link_deinit(&here);
	CHECK(link_next(&there, &frame, &err) == -EPIPE);
	link_deinit(&there);
}

TEST(frames_that_are_too_long_or_unknown_are_refused)
{
	struct link here, there;
	struct frame frame;
	struct error err;

	open_pair(&here, &there);
	CHECK(write(here.transport.fd, "\xff\xff\xff\x7f\x01\0\0\0", 8) == 8);
	CHECK(link_next(&there, &frame, &err) == -EPROTO);
	link_deinit(&here);
	link_deinit(&there);
	open_pair(&here, &there);
	CHECK(write(here.transport.fd, "\0\0\0\0\x63\0\0\0", 8) == 8);
	CHECK(link_next(&there, &frame, &err) == -EPROTO);
	link_deinit(&here);
	link_deinit(&there);
}

TEST(a_checkpoint_of_a_later_version_is_refused)
{
	static const uint8_t bytes[] = {0x08, METADATA_VERSION + 1, 0x2a, 0, 0x2a, 0, 0x2a, 0}; /* version; three stdio */
	Hydra__V1__CheckpointMetadata *metadata = NULL;
	struct error err;

	CHECK(metadata_unpack(&metadata, bytes, sizeof(bytes), &err) == -EPROTO && metadata == NULL);
	CHECK(strcmp(err.message, "the checkpoint's description has version 2, this program knows up to 1") == 0);
}
