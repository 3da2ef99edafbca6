# SPDX-License-Identifier: Apache-2.0
"""After the hand-over a worker of either side is killed, or the last word gets lost: another one goes on."""
import os
import re
import signal

import pytest

from conftest import DEADLINE, PAGER, is_running, wait_for
from migration import Worker
from test_migrate import faults, migrate, start  # noqa: F401 (a fixture)
from meddler import Meddler
from test_tls import certificates, listener  # noqa: F401 (fixtures)


class Network:
    """While it is slow, pages come only to who waits for them."""

    def __init__(self):
        self.is_slow, self.urgent = True, 0

    def decide(self, _, frame):
        self.urgent += frame.is_urgent
        return not frame.is_pages or frame.is_urgent or not self.is_slow


@pytest.fixture
def held(container, migrate, certificates, listener, tmp_path, kill_later):  # noqa: F811
    """A container that runs at the target, most of its memory still at the source; made with its size in megabytes."""
    network = Network()

    def make(megabytes, is_slow=True, source_args=(), **target_env):
        network.is_slow = is_slow
        one = start(container, megabytes)
        environment = faults(tmp_path / "faults", **target_env)
        move = migrate(one, listener=listener, source_args=[*certificates[0], *source_args], target_args=certificates[1],
                       target_env=environment)
        kill_later(move.pid())
        assert move.stdio.ask("count", "COUNT")
        return move, network

    with Meddler(listener, certificates, network.decide):
        yield make


def resume(move):
    migration = move.receiver.phase("prepare")["migration"]
    return Worker([PAGER, "send", "--resume", "--state", str(move.tmp / "state"), "--migration", migration])


def expect_moved(move, sender, pages):
    assert sender.wait() == 0, sender.stderr
    assert move.stdio.ask("verify", "VERIFY") == f"VERIFY bad=0 pages={pages}"
    wait_for(lambda: not is_running(move.container.pid), "the source's tasks to end")
    wait_for(lambda: not list((move.tmp / "works").iterdir()), "the target's folder to be gone")


def test_a_killed_source_worker_is_followed_by_another(held):
    move, network = held(64)
    move.sender.kill()
    move.sender.wait()
    move.receiver.phase("source-lost")
    network.is_slow = False
    sender = resume(move)
    expect_moved(move, sender, 16384)
    assert move.receiver.wait() == 0
    assert move.worker(2).wait() == 0
    assert not (move.tmp / "source-images").exists()


def test_a_source_that_ran_after_the_hand_over_gives_no_pages(held):
    move, _ = held(16)
    move.sender.kill()
    move.sender.wait()
    os.kill(move.container.pid, signal.SIGCONT)
    wait_for(lambda: open(f"/proc/{move.container.pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "Tt", "it to run")
    sender = resume(move)
    assert sender.wait() == 4
    assert "ran after the hand-over" in sender.stderr


def lose_memory(move):
    move.receiver.kill()
    move.receiver.wait()
    move.sender.phase("reconnecting")
    os.kill(move.container.pid, signal.SIGKILL)
    pager = move.take_over()
    assert move.sender.wait() == 4
    assert re.search("memory (is gone|at .* cannot be read)", move.sender.stderr)
    return pager


def test_when_the_source_has_lost_its_memory_the_keeper_is_told_to_end_the_tasks(held):
    move, _ = held(16)
    pager = lose_memory(move)
    assert pager.wait(60) == 4
    move.thread.join(DEADLINE)
    assert b"lost" in move.said
    assert not move.work.exists(), "the source has said all that it could ask"


def test_when_the_source_has_lost_its_memory_who_touches_it_gets_a_signal(held):
    move, _ = held(16, source_args=["--lost-pages", "poison"])
    pager = lose_memory(move)
    move.stdio.stdin.write("count\nverify\n")
    assert move.stdio.stdout.line("COUNT")  # it has all that it needs for that
    wait_for(lambda: not is_running(move.pid()), "it to touch what is missing")
    assert pager.wait(60) == 0
    assert b"poisoned" in move.said and b"lost" not in move.said


def test_nothing_is_resumed_without_a_hand_over(tmp_path):
    sender = Worker([PAGER, "send", "--resume", "--state", str(tmp_path), "--migration", "none"])
    assert sender.wait() == 1
    assert "handover" in sender.stderr


@pytest.mark.parametrize("command, answer", [("verify", "VERIFY bad=0 pages=8192"), ("fork", "FORK bad=0")])
def test_a_killed_target_worker_is_followed_by_another(held, command, answer):
    move, network = held(32)
    before = network.urgent
    move.stdio.stdin.write(command + "\n")
    wait_for(lambda: network.urgent > before + 50, "it to be in the middle of its memory")
    move.receiver.kill()
    move.receiver.wait()
    network.is_slow = False
    pager = move.take_over()
    assert move.stdio.stdout.line(answer[:4]) == answer
    assert move.sender.wait() == 0, move.sender.stderr
    assert pager.wait(60) == 0, pager.stderr.read()
    wait_for(lambda: not list((move.tmp / "works").iterdir()), "the target's folder to be gone")
    wait_for(lambda: not is_running(move.container.pid), "the source's tasks to end")


def test_events_that_workers_died_over_are_not_forgotten(held, tmp_path):
    """One dies over memory that is given back, the next over an unmapping, the third over memory that moves."""
    move, network = held(32)
    order, arrived = tmp_path / "faults" / "pager.events", tmp_path / "faults" / "pager.events.arrived"
    order.write_text("kill")
    move.stdio.stdin.write("mangle\n")
    assert move.receiver.wait() == -signal.SIGKILL
    for _ in range(2):
        arrived.unlink()
        order.write_text("kill")
        assert move.take_over({"HYDRA_FAULTS": str(order.parent)}).wait(60) == -signal.SIGKILL
    network.is_slow = False
    pager = move.take_over()
    assert move.stdio.stdout.line("MANGLE") == "MANGLE bad=0"
    assert pager.wait(60) == 0, pager.stderr.read()
    assert move.sender.wait() == 0, move.sender.stderr


def test_a_descriptor_that_a_worker_died_over_ends_it(held, tmp_path):
    move, _ = held(16)
    (tmp_path / "faults" / "pager.events").write_text("kill")
    move.stdio.stdin.write("fork\n")
    assert move.receiver.wait() == -signal.SIGKILL
    pager = move.take_over()
    assert pager.wait(60) == 4
    assert "got lost with the pager" in pager.stderr.read()


def test_the_source_hears_of_the_end_from_another_worker(held):
    move, _ = held(16, is_slow=False, receive__complete="kill")
    assert move.receiver.wait() == -signal.SIGKILL
    assert move.take_over().wait(60) == 0
    expect_moved(move, move.sender, 4096)
