# SPDX-License-Identifier: Apache-2.0
"""Post-copy migration on one host: memory, events during paging, and everything that may go wrong."""
import os
import signal
import socket
import struct

import pytest

from conftest import PAGER, is_running, wait_for
from migration import Migration, Worker


@pytest.fixture
def migrate(tmp_path, kill_later):
    made = []

    def make(container, **options):
        folder = tmp_path / f"migration{len(made)}"
        folder.mkdir()
        made.append(Migration(container, folder, **options))
        return made[-1]

    yield make
    for one in made:
        if one.restore is not None:
            for line in one.receiver.lines:
                if "pid" in line:
                    kill_later(line["pid"])
        one.finish()


def start(container, megabytes):
    one = container("/bin/ticker", str(megabytes))
    one.stdio.stdout.line("START")
    return one


def expect_stayed(one, migration, pages):
    """The container runs at the source and nothing is left of the attempt."""
    assert migration.sender.wait() == 1
    migration.receiver.wait()
    assert one.stdio.ask("verify", "VERIFY") == f"VERIFY bad=0 pages={pages}"
    if migration.restore is not None:
        migration.restore.communicate(timeout=60)


def test_every_page_arrives(container, migrate):
    one = start(container, 64)
    move = migrate(one)
    pid = move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=16384"
    wait_for(lambda: not is_running(one.pid), "the source's tasks to end")
    assert move.sender.phases() == ["preflight", "sync", "freeze", "images", "vote", "committed", "paging", "done"]
    move.stdio.stdin.write("exit 3\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3, "init became the shim's child"


@pytest.mark.parametrize("command, answer", [("fork", "FORK bad=0"), ("mangle", "MANGLE bad=0"), ("random 3000", "RANDOM bad=0")])
def test_memory_is_used_while_pages_are_on_their_way(container, migrate, command, answer):
    one = start(container, 48)
    move = migrate(one)
    move.stdio.stdin.write(command + "\n")
    assert move.stdio.stdout.line(answer[:4]) == answer
    move.expect_moved()


def test_a_tree_of_tasks(container, migrate):
    script = "x=kept; (while read -t 100 y </dev/zero; do :; done) & /bin/ticker 8 & sleep 1000 & while read line; do echo $x$line; done"
    one = container("/bin/sh", "-c", script)
    one.stdio.stdout.line("START")
    move = migrate(one)
    move.expect_moved()
    assert move.stdio.ask("on", "kept") == "kepton"


def test_three_times_over(container, migrate):
    one = start(container, 8)
    for _ in range(3):
        move = migrate(one)
        one.pid = move.expect_moved()
        one.stdio.close()
        one.stdio = move.stdio
        assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=2048"


def faults(folder, **points):
    """A folder for HYDRA_FAULTS: point names with _ for . and -."""
    folder.mkdir()
    for name, order in points.items():
        (folder / name.replace("__", ".").replace("_", "-")).write_text(order)
    return {"HYDRA_FAULTS": str(folder)}


@pytest.mark.parametrize("point", ["receive__layer", "receive__before_images", "receive__images", "receive__prepared"])
def test_a_target_that_dies_before_the_commit_changes_nothing(container, migrate, tmp_path, point):
    one = start(container, 16)
    move = migrate(one, target_env=faults(tmp_path / "faults", **{point: "kill"}))
    expect_stayed(one, move, 4096)


def test_a_restore_that_dies_before_its_vote_changes_nothing(container, migrate, tmp_path):
    one = start(container, 16)
    move = migrate(one, restore_env=faults(tmp_path / "faults", restore__before_vote="kill"))
    expect_stayed(one, move, 4096)
    assert "restore process died" in move.sender.stderr


def test_a_restore_that_fails_changes_nothing_and_says_why(container, migrate, tmp_path):
    one = start(container, 16)
    move = migrate(one, rootfs=tmp_path / "nowhere")
    expect_stayed(one, move, 4096)
    assert "nowhere" in move.sender.stderr


def test_nobody_restores(container, migrate):
    one = start(container, 16)
    move = migrate(one, restores=False, target_args=["--restore-timeout", "1"])
    expect_stayed(one, move, 4096)
    assert "nobody restored" in move.sender.stderr


@pytest.mark.parametrize("point", ["send__before_freeze", "send__frozen", "send__after_images", "send__prepared"])
def test_a_source_worker_that_dies_before_the_commit(container, migrate, tmp_path, point):
    one = start(container, 16)
    move = migrate(one, source_env=faults(tmp_path / "faults", **{point: "kill"}))
    assert move.sender.wait() == -signal.SIGKILL
    assert move.receiver.wait() == 1
    assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=4096"
    assert not list((move.tmp / "works").iterdir())


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_cancelled_while_frozen(container, migrate, tmp_path, side):
    one = start(container, 16)
    folder = tmp_path / "faults"
    move = migrate(one, restore_env=faults(folder, restore__before_vote="stop"))
    wait_for(lambda: (folder / "restore.before-vote.arrived").exists(), "the vote")
    getattr(move, side).kill(signal.SIGTERM)
    wait_for(lambda: any(line["phase"] == "failed" for line in move.sender.lines), "the source to give up")
    assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=4096"
    move.restore.send_signal(signal.SIGCONT)
    expect_stayed(one, move, 4096)


def test_a_stopped_container_stays_stopped_when_the_source_worker_dies_after_the_commit(container, migrate, tmp_path):
    one = start(container, 16)
    move = migrate(one, source_env=faults(tmp_path / "faults", send__committed="kill"))
    assert move.sender.wait() == -signal.SIGKILL
    assert move.receiver.wait() == 1, "the target never heard GO"
    assert (move.tmp / "state" / "handover").exists()
    state = wait_for(lambda: (lambda s: s if s in "Tt" else None)(
        open(f"/proc/{one.pid}/stat").read().rsplit(")", 1)[1].split()[0]), "the tasks to be stopped")
    assert state == "T"


def test_a_lost_source_blocks_but_never_zero_fills(container, migrate, tmp_path):
    one = start(container, 64)
    move = migrate(one, target_env=faults(tmp_path / "faults", receive__committed="stop"))
    wait_for(lambda: (tmp_path / "faults" / "receive.committed.arrived").exists(), "the commit")
    move.sender.kill()
    move.sender.wait()
    move.receiver.kill(signal.SIGCONT)
    lost = move.receiver.phase("source-lost")
    pid = move.pid()
    assert lost["message"]
    move.stdio.stdin.write("verify\n")
    with pytest.raises(AssertionError, match="no line"):
        move.stdio.stdout.line("VERIFY", 1)
    assert is_running(pid) and move.receiver.process.poll() is None
    assert open(f"/proc/{one.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T", "the source was not thawed"


def hello(version):
    """A HELLO frame as another version of hydra-pager would send it."""
    message = bytes([0x08, version]) + b"\x12\x01m" + b"\x22\x049.99"
    return struct.pack("<II", len(message), 1) + message


@pytest.mark.parametrize("greeting, reason", [
    (hello(99), "the target speaks version 99, we speak 1"), (hello(0), "greeting is not understood"),
    (struct.pack("<II", 5, 1) + b"\xff\xff\xff\xff\xff", "greeting is not understood"),
    (struct.pack("<II", 1 << 30, 1), "a frame of type 1 with 1073741824 bytes"), (b"", "closed the connection")], ids=["newer", "none", "garbage", "too long", "nothing"])
def test_a_target_that_speaks_something_else(container, tmp_path, greeting, reason):
    one = start(container, 16)
    here, there = socket.socketpair()
    (tmp_path / "state").mkdir()
    sender = Worker([PAGER, "send", "--connection-fd", str(here.fileno()), "--id", one.name, "--pid", str(one.pid), "--work",
                     str(tmp_path / "work"), "--state", str(tmp_path / "state")], [here.fileno()])
    here.close()
    assert there.recv(65536)
    there.sendall(greeting)
    there.shutdown(socket.SHUT_WR)
    assert sender.wait() == 1
    there.close()
    assert reason in sender.stderr and not (tmp_path / "work").exists()
    assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=4096"
