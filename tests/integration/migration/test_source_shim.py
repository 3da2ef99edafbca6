# SPDX-License-Identifier: Apache-2.0
"""The source's shim dies while its container migrates: its successor acts as docs/migration.md says."""
import signal

import pytest

from cluster import assert_counts_on, lines, names, wait_for
from test_rollback import assert_can_still_move, assert_stayed


def begin_to_migrate(cluster):
    return cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "counter", cluster.b.address])


def kill_shim(host):
    before = host.inspect("counter")["shimPid"]
    host.run("kill", "-9", str(before))
    wait_for(lambda: (seen := host.inspect("counter"))["isReachable"] and seen["shimPid"] != before, "the successor")


def assert_moved(cluster):
    wait_for(lambda: names(cluster.a) == set(), "the source to be empty")
    assert cluster.b.inspect("counter")["state"] == "running"
    assert_counts_on(cluster.b)


def kill_all_workers(host):
    for name in ("hydra-setup", "hydra-pager"):
        host.kill(name)


def test_the_successor_grants_what_was_asked_and_it_moves(counter):
    counter.a.order_fault("shim.migration-begun")
    assert begin_to_migrate(counter).wait(60) == 0
    assert counter.a.has_arrived("shim.migration-begun")
    assert_moved(counter)


def test_who_asked_died_too_and_it_stays(counter):
    counter.a.order_fault("shim.migration-begun", "stop")
    moving = begin_to_migrate(counter)
    wait_for(lambda: counter.a.has_arrived("shim.migration-begun"), "the fault")
    kill_all_workers(counter.a)
    counter.a.forget_faults()
    counter.a.kill("hydra-shim")
    assert moving.wait(60) == 125
    assert_stayed(counter)
    assert counter.a.ctl("events", "counter").stdout.count("migration-undone") == 1
    assert_can_still_move(counter)


@pytest.mark.parametrize("point", ["receive.before-images", "receive.images", "receive.committed"])
def test_it_moves_on_without_the_shim(counter, point):
    counter.b.order_fault(point, "stop")
    moving = begin_to_migrate(counter)
    wait_for(lambda: counter.b.has_arrived(point), "the middle")
    kill_shim(counter.a)
    assert counter.a.inspect("counter")["state"] == "migrating"
    counter.b.kill("hydra-pager", signal.SIGCONT)
    assert moving.wait(60) == 0
    assert_moved(counter)


@pytest.mark.parametrize("point", ["send.frozen", "send.prepared"])
def test_before_the_commit_the_successor_gives_it_back_when_the_workers_die(counter, point):
    counter.a.order_fault(point, "stop")
    moving = begin_to_migrate(counter)
    wait_for(lambda: counter.a.has_arrived(point), "the middle")
    kill_shim(counter.a)
    assert counter.a.inspect("counter")["state"] == "migrating"
    kill_all_workers(counter.a)
    assert moving.wait(60) == 125
    counter.a.forget_faults()
    assert_stayed(counter)
    assert_can_still_move(counter)


def test_after_the_commit_the_successor_asks_the_target_and_gives_it_back_when_that_says_so(counter):
    counter.a.order_fault("send.committed", "stop")
    moving = begin_to_migrate(counter)
    wait_for(lambda: counter.a.has_arrived("send.committed"), "the commit")
    kill_shim(counter.a)
    kill_all_workers(counter.a)
    assert moving.wait(60) == 125
    counter.a.forget_faults()
    assert_stayed(counter)
    assert_can_still_move(counter)


def test_after_the_commit_the_successor_waits_while_the_target_cannot_be_asked(counter):
    counter.a.order_fault("send.committed", "stop")
    moving = begin_to_migrate(counter)
    wait_for(lambda: counter.a.has_arrived("send.committed"), "the commit")
    kill_shim(counter.a)
    counter.b.kill("hydra-monitor", signal.SIGSTOP)  # or it would start hydrad again
    counter.b.kill("hydrad")
    kill_all_workers(counter.a)
    assert moving.wait(60) == 125
    before = len(lines(counter.a, "counter"))
    wait_for(lambda: counter.a.pids("hydra-pager"), "the successor to ask")
    first = counter.a.pids("hydra-pager")
    counter.a.kill("hydra-pager")
    wait_for(lambda: set(counter.a.pids("hydra-pager")) - set(first), "another worker to ask")
    kill_shim(counter.a)  # and the one after it asks, too
    assert counter.a.inspect("counter")["state"] == "migrating"
    assert len(lines(counter.a, "counter")) == before, "the source must not go on by itself"
    counter.b.kill("hydra-monitor", signal.SIGCONT)
    wait_for(lambda: counter.b.answers("hydrad.sock"), "the next hydrad")
    assert_stayed(counter)


@pytest.mark.parametrize("dies", ["with who moved it", "before who moved it"])
def test_when_all_is_done_it_is_removed(counter, dies):
    counter.a.order_fault("setup.migrate.moved", "stop")
    counter.b.order_fault("receive.committed", "stop")
    moving = begin_to_migrate(counter)
    wait_for(lambda: counter.b.has_arrived("receive.committed"), "the commit")
    counter.a.kill("hydra-shim", signal.SIGSTOP)  # so that it does not see the end
    counter.b.kill("hydra-pager", signal.SIGCONT)
    wait_for(lambda: counter.a.has_arrived("setup.migrate.moved"), "the end of the worker")
    if dies == "with who moved it":
        counter.a.kill("hydra-setup")
    counter.a.kill("hydra-shim")
    counter.a.kill("hydra-setup", signal.SIGCONT)
    assert moving.wait(60) == 0  # it was moved, whoever did not live to say so
    assert_moved(counter)
