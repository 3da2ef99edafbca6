/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/owned.h"
#include "proto/message.h"
#include "state/exit_record.h"
#include "state/record.h"
#include "state/run_dir.h"
#include "tests/unit/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[32];

static void root_make(void)
{
	(void) snprintf(root, sizeof(root), "/tmp/hydra-XXXXXX");
	CHECK(mkdtemp(root) != NULL);
}

static void root_remove(void)
{
	struct error err;

	CHECK(dir_remove_all(AT_FDCWD, root, &err) == 0);
}

TEST(a_record_survives_its_file)
{
	struct run_dir dir;
	record written = HYDRA__V1__CONTAINER_RECORD__INIT;
	auto_record *loaded = NULL;
	struct error err;
	char id[] = "web";

	root_make();
	CHECK(run_dir_create(&dir, root, "default", "web", &err) == 0);
	written.version = RECORD_VERSION;
	written.id = id;
	written.state = HYDRA__V1__CONTAINER_STATE__STATE_RUNNING;
	written.pid = getpid();
	written.start_time = process_start_time(getpid());
	CHECK(record_save(dir.fd, &written, &err) == 0);
	CHECK(record_load(dir.fd, &loaded, &err) == 0);
	CHECK(strcmp(loaded->id, "web") == 0 && record_init_is_alive(loaded));
	CHECK(strcmp(state_name(loaded->state), "running") == 0);
	loaded->start_time++;
	CHECK(!record_init_is_alive(loaded));
	CHECK(run_dir_remove(&dir, &err) == 0);
	root_remove();
}

TEST(a_record_of_a_later_version_is_refused)
{
	record written = HYDRA__V1__CONTAINER_RECORD__INIT;
	auto_free uint8_t *data = NULL;
	record *loaded = NULL;
	struct error err;
	size_t size;
	char id[] = "web";

	written.version = RECORD_VERSION + 1;
	written.id = id;
	CHECK(message_encode(&written.base, &data, &size, &err) == 0);
	CHECK(record_decode(data, size, &loaded, &err) == -EPROTO);
	CHECK(strstr(err.message, "version 2") != NULL && loaded == NULL);
}

TEST(a_field_number_of_zero_is_refused_at_any_depth)
{
	/* version 1, id "a", and: a field 0; a log (12) with a field 0 in it */
	static const uint8_t outer[] = {0x08, 1, 0x12, 1, 'a', 0x00, 'b'};
	static const uint8_t inner[] = {0x08, 1, 0x12, 1, 'a', 0x62, 2, 0x00, 'b'};
	record *loaded = NULL;
	struct error err;

	CHECK(record_decode(outer, sizeof(outer), &loaded, &err) == -EPROTO);
	CHECK(record_decode(inner, sizeof(inner), &loaded, &err) == -EPROTO);
	CHECK(loaded == NULL);
}

TEST(a_name_is_taken_once_and_a_living_owner_is_seen)
{
	struct run_dir first;
	struct run_dir second = RUN_DIR_CLOSED;
	struct error err;

	root_make();
	CHECK(run_dir_create(&first, root, "default", "web", &err) == 0);
	CHECK(run_dir_create(&second, root, "default", "web", &err) == -EEXIST);
	CHECK(run_dir_open(&second, root, "default", "web", &err) == 0);
	CHECK(run_dir_is_locked(&second, LOCK_SETUP));
	CHECK(run_dir_lock(&second, LOCK_SETUP, &err) == RUN_DIR_LOCKED_BY_OTHER);
	run_dir_close(&first);
	CHECK(!run_dir_is_locked(&second, LOCK_SETUP));
	CHECK(run_dir_lock(&second, LOCK_SETUP, &err) == 0);
	CHECK(run_dir_remove(&second, &err) == 0);
	CHECK(run_dir_open(&second, root, "default", "web", &err) == -ENOENT);
	root_remove();
}

TEST(a_name_that_could_be_a_path_is_refused)
{
	struct error err;

	CHECK(id_check("name", "web-1.example_com+x", &err) == 0);
	CHECK(id_check("name", "", &err) == -EINVAL);
	CHECK(id_check("name", "..", &err) == -EINVAL);
	CHECK(id_check("name", "a/b", &err) == -EINVAL);
	CHECK(id_check("name", "-rf", &err) == -EINVAL);
	CHECK(strstr(err.message, "'-rf'") != NULL);
}

TEST(an_exit_status_is_what_wait_said)
{
	exit_record exit_status = HYDRA__V1__EXIT_RECORD__INIT;

	CHECK(!exit_status.is_known);
	exit_record_set_status(&exit_status, 7 << 8);
	CHECK(exit_status.is_known && exit_status.exit_code == 7 && exit_status.signal == 0);
	exit_record_set_status(&exit_status, SIGKILL);
	CHECK(exit_status.exit_code == 137 && exit_status.signal == 9);
}
