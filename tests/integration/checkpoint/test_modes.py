# SPDX-License-Identifier: Apache-2.0
"""Modes of migration, on one host: when the memory moves, and that none of it is lost whatever fails."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import CHECKPOINT, is_running, wait_for
from test_migrate import expect_stayed, faults, migrate, start  # noqa: F401 (a fixture)
from test_tls import certificates, listener  # noqa: F401 (fixtures)


def can_track_writes():
    done = subprocess.run([CHECKPOINT, "check", "--format", "json"], capture_output=True, text=True)
    return json.loads(done.stdout)["memDirtyTrack"]


TRACKS_WRITES = can_track_writes()
needs_tracking = pytest.mark.skipif(not TRACKS_WRITES, reason="the kernel does not track written pages")
WITH_TRACKING = ["cold", pytest.param("pre-copy", marks=needs_tracking), pytest.param("hybrid", marks=needs_tracking)]


def mode(name):
    return ["--mode", name]


@pytest.mark.parametrize("name", WITH_TRACKING)
def test_every_page_arrives(container, migrate, name):
    one = start(container, 32)
    move = migrate(one, source_args=mode(name))
    pid = move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"
    wait_for(lambda: not is_running(one.pid), "the source's tasks to end")
    assert ("pre-copy" in move.sender.phases()) == (name != "cold")
    move.stdio.stdin.write("exit 3\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3, "init became the shim's child"


@pytest.mark.parametrize("name", ["post-copy", *WITH_TRACKING])
def test_memory_that_changes_all_the_time_arrives_as_it_is(container, migrate, name):
    """Every page knows what was last written to it."""
    one = container("/bin/writer", "24", "64")
    one.stdio.stdout.line("START")
    for _ in range(2):
        move = migrate(one, source_args=mode(name))
        one.pid = move.expect_moved()
        one.stdio.close()
        one.stdio = move.stdio
        assert one.stdio.ask("verify", "VERIFY").startswith("VERIFY bad=0 pages=6144 ")


@needs_tracking
@pytest.mark.parametrize("pages, last", [("1", "small enough"), ("20000", "as fast as it is sent")])
def test_pre_copy_ends_when_it_has_come_far_enough(container, migrate, pages, last):
    one = container("/bin/writer", "48", pages)
    one.stdio.stdout.line("START")
    move = migrate(one, source_args=[*mode("pre-copy"), "--downtime", "1ms" if pages != "1" else "10s"])
    move.expect_moved()
    rounds = [line["message"] for line in move.sender.lines if "round" in line.get("message", "")]
    assert rounds and last in rounds[-1], rounds
    assert move.stdio.ask("verify", "VERIFY").startswith("VERIFY bad=0 pages=12288 ")


@needs_tracking
@pytest.mark.parametrize("name", ["pre-copy", "hybrid"])
def test_a_source_worker_that_dies_in_a_round(container, migrate, tmp_path, name):
    one = start(container, 16)
    move = migrate(one, source_args=mode(name), source_env=faults(tmp_path / "faults", send__round="kill"))
    assert move.sender.wait() == -signal.SIGKILL
    assert move.receiver.wait() == 1
    assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=4096"


@needs_tracking
def test_a_target_that_dies_in_a_round_changes_nothing(container, migrate, tmp_path):
    one = start(container, 16)
    move = migrate(one, source_args=mode("pre-copy"), target_env=faults(tmp_path / "faults", receive__round="kill"))
    expect_stayed(one, move, 4096)


@needs_tracking
def test_a_hybrid_migration_has_little_left_for_after_the_commit(container, migrate):
    one = start(container, 32)
    move = migrate(one, source_args=mode("hybrid"))
    move.expect_moved()
    assert move.receiver.phase("done")["pages_total"] < 2000
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"


@needs_tracking
def test_a_worker_that_dies_while_it_places_what_came_in_the_round(container, migrate, tmp_path):
    """The next one finds the pages where they are, also of memory that was moved or given back meanwhile."""
    one = start(container, 16)
    move = migrate(one, source_args=mode("hybrid"), target_env=faults(tmp_path / "faults", pager__local="kill"))
    move.stdio.stdin.write("mangle\n")
    assert move.receiver.wait() == -signal.SIGKILL
    (tmp_path / "faults" / "pager.local.arrived").unlink()
    (tmp_path / "faults" / "pager.local").write_text("kill")
    assert move.take_over({"HYDRA_FAULTS": str(tmp_path / "faults")}).wait(60) == -signal.SIGKILL
    pager = move.take_over()
    assert move.stdio.stdout.line("MANGLE") == "MANGLE bad=0"
    pager.kill()
    pager.wait()


@needs_tracking
def test_what_came_in_the_round_is_not_lost_with_the_source(container, migrate, certificates, listener, tmp_path):  # noqa: F811
    one = start(container, 16)
    move = migrate(one, listener=listener, source_args=[*certificates[0], *mode("hybrid"), "--lost-pages", "poison"], target_args=certificates[1],
                   target_env=faults(tmp_path / "faults", pager__local="kill"))
    assert move.receiver.wait() == -signal.SIGKILL
    move.sender.phase("reconnecting")
    os.kill(one.pid, signal.SIGKILL)
    pager = move.take_over()
    assert move.sender.wait() == 4
    assert pager.wait(60) == 0, pager.stderr.read()
    lost = re.search(rb"poisoned (\d+)", move.said)
    assert lost is None or int(lost[1]) < 2000, "of 4096 pages only those that it wrote after the round"


@pytest.mark.parametrize("name", WITH_TRACKING)
def test_three_times_over(container, migrate, name):
    one = start(container, 8)
    for _ in range(3):
        move = migrate(one, source_args=mode(name))
        one.pid = move.expect_moved()
        one.stdio.close()
        one.stdio = move.stdio
        assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=2048"


@pytest.mark.parametrize("name", WITH_TRACKING)
def test_a_tree_of_tasks(container, migrate, name):
    script = "x=kept; /bin/ticker 8 & sleep 1000 & while read line; do echo $x$line; done"
    one = container("/bin/sh", "-c", script)
    one.stdio.stdout.line("START")
    move = migrate(one, source_args=mode(name))
    move.expect_moved()
    assert move.stdio.ask("on", "kept") == "kepton"


@pytest.mark.parametrize("point", ["receive__images", "receive__prepared"])
@pytest.mark.parametrize("name", WITH_TRACKING)
def test_a_target_that_dies_before_the_commit_changes_nothing(container, migrate, tmp_path, name, point):
    one = start(container, 16)
    move = migrate(one, source_args=mode(name), target_env=faults(tmp_path / "faults", **{point: "kill"}))
    expect_stayed(one, move, 4096)


@pytest.mark.parametrize("name", WITH_TRACKING)
def test_a_restore_that_dies_before_its_vote_changes_nothing(container, migrate, tmp_path, name):
    one = start(container, 16)
    move = migrate(one, source_args=mode(name), restore_env=faults(tmp_path / "faults", restore__before_vote="kill"))
    expect_stayed(one, move, 4096)


@pytest.mark.parametrize("point", ["send__before_freeze", "send__frozen", "send__after_images", "send__prepared"])
@pytest.mark.parametrize("name", WITH_TRACKING)
def test_a_source_worker_that_dies_before_the_commit(container, migrate, tmp_path, name, point):
    one = start(container, 16)
    move = migrate(one, source_args=mode(name), source_env=faults(tmp_path / "faults", **{point: "kill"}))
    assert move.sender.wait() == -signal.SIGKILL
    assert move.receiver.wait() == 1
    assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=4096"
    assert not list((move.tmp / "works").iterdir())


@pytest.mark.parametrize("name", WITH_TRACKING)
def test_cancelled_while_frozen(container, migrate, tmp_path, name):
    one = start(container, 16)
    folder = tmp_path / "faults"
    move = migrate(one, source_args=mode(name), restore_env=faults(folder, restore__before_vote="stop"))
    wait_for(lambda: (folder / "restore.before-vote.arrived").exists(), "the vote")
    move.sender.kill(signal.SIGTERM)
    wait_for(lambda: any(line["phase"] == "failed" for line in move.sender.lines), "the source to give up")
    assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=4096"
    move.restore.send_signal(signal.SIGCONT)
    expect_stayed(one, move, 4096)


@pytest.mark.parametrize("name", WITH_TRACKING)
def test_a_stopped_container_stays_stopped_when_the_source_worker_dies_after_the_commit(container, migrate, tmp_path, name):
    one = start(container, 16)
    move = migrate(one, source_args=mode(name), source_env=faults(tmp_path / "faults", send__committed="kill"))
    assert move.sender.wait() == -signal.SIGKILL
    assert move.receiver.wait() == 1, "the target never heard GO"
    state = open(f"/proc/{one.pid}/stat").read().rsplit(")", 1)[1].split()[0]
    assert state in "Tt"


def test_automatic_is_post_copy_where_the_kernel_can(container, migrate):
    one = start(container, 8)
    move = migrate(one, source_args=mode("auto"))
    move.expect_moved()
    assert "pre-copy" not in move.sender.phases()
    assert move.receiver.phase("done")["pages_total"] > 1000, "pages came after the commit"


@pytest.mark.skipif(TRACKS_WRITES, reason="the kernel tracks written pages")
@pytest.mark.parametrize("name", ["pre-copy", "hybrid"])
def test_without_soft_dirty_it_is_refused_with_the_reason(container, migrate, name):
    one = start(container, 8)
    move = migrate(one, source_args=mode(name))
    expect_stayed(one, move, 2048)
    said = move.sender.stderr
    assert "soft-dirty" in said and "choose another mode" in said
    assert "freeze" not in move.sender.phases()


@pytest.fixture
def userfaultfd_for_all():
    """Sets vm.unprivileged_userfaultfd."""
    setting = pathlib.Path("/proc/sys/vm/unprivileged_userfaultfd")
    before = setting.read_text()
    yield lambda value: setting.write_text(value)
    setting.write_text(before)


def start_with_ids(container, tmp_path):
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    one = container("/bin/ticker", "8", ids=100000)
    one.stdio.stdout.line("START")
    return one


@pytest.mark.parametrize("asked, is_allowed", [("cold", "0"), ("auto", "0"), ("post-copy", "1")])
def test_a_container_with_a_user_namespace(container, migrate, userfaultfd_for_all, tmp_path, asked, is_allowed):
    """Memory can be served later only where that is allowed; other modes need nothing."""
    userfaultfd_for_all(is_allowed)
    one = start_with_ids(container, tmp_path)
    move = migrate(one, source_args=mode(asked))
    pid = move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=2048"
    assert pathlib.Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "100000", "65536"]


def test_post_copy_of_a_user_namespace_is_refused_where_it_is_not_allowed(container, migrate, userfaultfd_for_all, tmp_path):
    userfaultfd_for_all("0")
    one = start_with_ids(container, tmp_path)
    move = migrate(one, source_args=mode("post-copy"))
    expect_stayed(one, move, 2048)
    assert "vm.unprivileged_userfaultfd=1" in move.sender.stderr
