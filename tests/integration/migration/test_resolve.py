# SPDX-License-Identifier: Apache-2.0
"""A container in doubt: it waits, says so, and an administrator can decide; never against the target's word."""
import contextlib
import signal

import pytest

from cluster import assert_counts_on, lines, names, wait_for
from test_after_the_commit import events, has_phase, migrate_redis


def state(host, name):
    return next((line for line in host.ctl("ps", "-a").stdout.splitlines() if line.startswith(name)), "")


@contextlib.contextmanager
def silence(host):
    """Nobody answers there until this is over."""
    host.kill("hydra-monitor", signal.SIGSTOP)
    host.kill("hydrad")
    yield
    host.kill("hydra-monitor", signal.SIGCONT)
    wait_for(lambda: host.answers("hydrad.sock"), "the next hydrad")


def leave_in_doubt(cluster):
    """The source has given it away, the target never heard of it, and cannot be asked."""
    cluster.a.order_fault("send.committed", "stop")
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "counter", cluster.b.address])
    wait_for(lambda: cluster.a.has_arrived("send.committed"), "the commit")
    stack = contextlib.ExitStack()
    stack.enter_context(silence(cluster.b))
    for name in ("hydra-setup", "hydra-pager"):
        cluster.a.kill(name)
    assert moving.wait(60) == 125
    wait_for(lambda: f"waiting for {cluster.b.address} to confirm" in state(cluster.a, "counter"), "it to say so")
    return stack


def resolve(host, side, *options, name="counter"):
    return host.ctl("migrate", "--resolve", side, *options, name, check=False)


def test_it_waits_says_so_and_goes_on_when_the_target_can_be_asked(counter):
    with leave_in_doubt(counter):
        before = len(lines(counter.a, "counter"))
    wait_for(lambda: counter.a.inspect("counter")["state"] == "running", "the target's word")
    assert_counts_on(counter.a)
    seen = lines(counter.a, "counter")
    assert seen == list(range(len(seen))) and len(seen) > before


def test_nothing_is_decided_without_force(counter):
    with leave_in_doubt(counter):
        done = resolve(counter.a, "source")
        assert done.returncode != 0 and "two of it" in done.stderr and "--force" in done.stderr
        assert counter.a.inspect("counter")["state"] == "migrating"
    wait_for(lambda: counter.a.inspect("counter")["state"] == "running", "the target's word")


def test_an_administrator_decides_for_the_source(counter):
    with leave_in_doubt(counter):
        done = resolve(counter.a, "source", "--force")
        assert done.returncode == 0, done.stderr
        wait_for(lambda: counter.a.inspect("counter")["state"] == "running", "it to run")
        assert_counts_on(counter.a)
        seen = lines(counter.a, "counter")
        assert seen == list(range(len(seen)))
    assert names(counter.b) == set()
    counter.migrate("counter", counter.a)
    assert_counts_on(counter.b)


def test_an_administrator_decides_for_the_target(counter):
    with leave_in_doubt(counter):
        done = resolve(counter.a, "target", "--force")
        assert done.returncode == 0, done.stderr
        assert names(counter.a) == set()
    wait_for(lambda: names(counter.b) == set(), "the target to have nothing")
    wait_for(lambda: not counter.a.pids("hydra-pager"), "the source to have told it")


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_is_not_in_doubt_is_left_alone(counter, side):
    done = resolve(counter.a, side, "--force")
    assert done.returncode != 0 and "not in doubt" in done.stderr
    assert_counts_on(counter.a)
    counter.migrate("counter", counter.a)
    done = resolve(counter.b, side, "--force")
    assert done.returncode != 0 and "not in doubt" in done.stderr
    assert_counts_on(counter.b)


def test_the_side_must_be_one(counter):
    done = resolve(counter.a, "nowhere", "--force")
    assert done.returncode != 0 and "'nowhere': expected source or target" in done.stderr


@pytest.fixture
def held(cluster, redis_rootfs):
    """redis runs at the target, and no more of its memory comes."""
    client, moving = migrate_redis(cluster, redis_rootfs, "--bandwidth", "16m", "--compress", "none")
    for name in ("hydra-setup", "hydra-pager"):
        cluster.a.kill(name, signal.SIGSTOP)
    yield cluster
    client.process.kill()
    client.process.communicate()
    moving.wait(60)
    for host in (cluster.a, cluster.b):
        for name in names(host):
            host.ctl("rm", "-f", name)
    # who has lost memory tells the target so, as long as that can hear it
    wait_for(lambda: not cluster.a.pids("hydra-pager"), "the source to have told the target")


def go_on(host):
    for name in ("hydra-pager", "hydra-setup"):
        host.kill(name, signal.SIGCONT)


def test_the_targets_word_counts_more(held):
    done = resolve(held.a, "source", "--force", name="redis")
    assert done.returncode != 0 and "runs there" in done.stderr, done.stderr
    go_on(held.a)
    wait_for(lambda: names(held.a) == set(), "the rest of its memory to move")
    assert held.b.inspect("redis")["state"] == "running"


def test_at_the_target_the_source_is_given_up(held):
    done = resolve(held.b, "target", "--force", name="redis")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: held.b.inspect("redis")["state"] == "stopped", "the copy without memory to end")
    assert "pages-lost" in events(held.b, "redis")
    go_on(held.a)
    wait_for(lambda: "migration-in-doubt" in events(held.a, "redis"), "the source to hear of it")
    done = resolve(held.a, "source", "--force", name="redis")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: held.a.inspect("redis")["state"] == "running", "it to run here as it was")


def test_at_the_target_the_copy_is_given_up(held):
    done = resolve(held.b, "source", "--force", name="redis")
    assert done.returncode == 0, done.stderr
    assert names(held.b) == set()
    go_on(held.a)
    wait_for(lambda: "migration-in-doubt" in events(held.a, "redis"), "the source to hear of it")
    assert resolve(held.a, "source", "--force", name="redis").returncode == 0
    wait_for(lambda: held.a.inspect("redis")["state"] == "running", "it to run here as it was")


def test_who_gave_up_goes_on_later(cluster, redis_rootfs):
    client, moving = migrate_redis(cluster, redis_rootfs, "--bandwidth", "16m", "--compress", "none")
    with silence(cluster.b):
        cluster.b.kill("hydra-pager", signal.SIGSTOP)
        cluster.a.run("ss", "-K", "dst", cluster.b.address.split(":")[0], check=False)
        wait_for(lambda: has_phase(cluster.a, "reconnecting"), "the source to notice")
        cluster.a.kill("hydra-setup", signal.SIGTERM)
        assert moving.wait(60) == 125
        cluster.b.kill("hydra-pager", signal.SIGCONT)
    assert "waiting for" in state(cluster.a, "redis")
    cluster.a.ctl("migrate", "--resume", "redis", timeout=60)
    assert client.end()["errors"] == 0
    assert names(cluster.a) == set() and cluster.b.inspect("redis")["state"] == "running"
