# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong before the commit: the container runs on where it is, and the target is as it was."""
import os
import signal
import time

import pytest

from witness import Client, start_witness
from cluster import COUNT, DEADLINE, assert_counts_on, lines, make_certificates, names, run, wait_for


def assert_stayed(cluster):
    wait_for(lambda: cluster.a.inspect("counter")["state"] == "running", "it to be in service again")
    assert_counts_on(cluster.a)
    seen = lines(cluster.a, "counter")
    assert seen == list(range(len(seen)))
    assert cluster.a.ctl("exec", "counter", "echo", "hello").stdout == "hello\n"
    wait_for(lambda: not cluster.b.path("/run/hydra/default/counter").exists(), "the target to be empty")
    cluster.b.assert_clean()


def assert_can_still_move(cluster):
    cluster.b.forget_faults()
    cluster.migrate("counter", cluster.a)
    assert cluster.b.inspect("counter")["state"] == "running"


def migrate_in_vain(cluster, *options, address=None):
    done = cluster.a.ctl("--plain", "migrate", *options, "counter", address or cluster.b.address, check=False)
    assert done.returncode == 125, done.stdout + done.stderr
    return done.stderr


@pytest.mark.parametrize("point", ["setup.target.intent", "setup.target.network", "setup.target.launched", "setup.receive.made",
                                   "shim.before-restore", "receive.layer", "receive.before-images", "receive.images",
                                   "receive.prepared", "restore.before-vote", "restore.voted"])
def test_something_at_the_target_is_killed(counter, point):
    counter.b.order_fault(point)
    migrate_in_vain(counter)
    assert counter.b.has_arrived(point)
    if point.startswith("setup"):
        counter.b.json("ps", "-a")  # hydrad finds what nobody finishes
    assert_stayed(counter)
    assert_can_still_move(counter)


@pytest.mark.parametrize("point", ["send.before-freeze", "send.frozen", "send.after-images", "send.prepared", "setup.migrate.begun"])
def test_something_at_the_source_is_killed(counter, point):
    counter.a.order_fault(point)
    migrate_in_vain(counter)
    assert counter.a.has_arrived(point)
    counter.a.forget_faults()
    assert_stayed(counter)
    assert_can_still_move(counter)


def test_the_worker_is_killed_while_criu_is_in_the_tasks(cluster, rootfs):
    """CRIU has begun with the tasks, and cannot go on before its worker is dead: it undoes its work, and no connection is lost."""
    client = Client(cluster, start_witness(cluster, cluster.a, rootfs))
    cluster.a.order_fault("phase.source.freeze", "stop")
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "witness", cluster.b.address])
    wait_for(lambda: cluster.a.has_arrived("phase.source.freeze"), "the freeze")
    criu, = wait_for(lambda: cluster.a.pids("criu"), "CRIU")
    status = cluster.a.path(f"/proc/{cluster.a.inspect('witness')['pid']}/status")
    end = time.monotonic() + DEADLINE
    cluster.a.kill("hydra-pager", signal.SIGCONT)
    while "TracerPid:\t0\n" in status.read_text():
        assert time.monotonic() < end, "CRIU did not begin"
    os.kill(criu, signal.SIGSTOP)
    cluster.a.kill("hydra-pager")
    cluster.a.kill("criu", signal.SIGCONT)
    assert moving.wait(60) == 125
    wait_for(lambda: cluster.a.inspect("witness")["state"] == "running", "it to be in service again")
    client.check()
    cluster.migrate("witness", cluster.a)
    client.end()


def test_it_is_cancelled(counter):
    counter.b.order_fault("receive.images", "stop")
    moving = counter.a.popen([counter.a.program("hydractl"), "--plain", "migrate", "counter", counter.b.address])
    wait_for(lambda: counter.b.has_arrived("receive.images"), "the images to be there")
    for pid in counter.a.pids("hydractl"):
        os.kill(pid, signal.SIGINT)
    counter.b.kill("hydra-pager", signal.SIGCONT)
    assert moving.wait(60) == 130
    assert_stayed(counter)
    assert_can_still_move(counter)


def test_certificates_of_somebody_else(counter, tmp_path):
    other = make_certificates(tmp_path / "bad", "a")
    migrate_in_vain(counter, "--certificates", str(other / "a"))
    assert_stayed(counter)


def test_nobody_is_there(counter):
    assert "refused" in migrate_in_vain(counter, address="10.88.0.12:1")
    assert_stayed(counter)


def test_a_shared_volume_is_missing_at_the_target(cluster, rootfs, tmp_path):
    (tmp_path / "only" / "volume").mkdir(parents=True)
    cluster.b.run("mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "only"))
    run(cluster.a, rootfs, "counter", "sh", "-c", COUNT, options=("-v", f"{tmp_path}/only/volume:/data"))
    wait_for(lambda: len(lines(cluster.a, "counter")) > 3, "it to count")
    assert "missing" in migrate_in_vain(cluster)
    assert_stayed(cluster)


def assert_the_next_one_waits(cluster):
    """For the name at the target, where somebody who removes the last one is stopped."""
    cluster.b.order_fault("receive.waits-for-name", "stop")
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "counter", cluster.b.address])
    wait_for(lambda: cluster.b.has_arrived("receive.waits-for-name"), "the next one to wait")
    cluster.b.forget_faults()
    cluster.b.kill("hydra-pager", signal.SIGCONT)
    cluster.b.kill("hydra-setup", signal.SIGCONT)
    assert moving.wait(DEADLINE) == 0
    assert_counts_on(cluster.b)


@pytest.mark.parametrize("stopped_at", ["setup.remove.runtime", "setup.remove.network"])
def test_it_is_tried_again_before_the_last_of_it_is_gone_at_the_target(counter, stopped_at):
    """The source goes on as soon as it is certain that nothing runs there, and may come again at once."""
    counter.b.order_fault("receive.images")
    counter.b.order_fault(stopped_at, "stop")
    migrate_in_vain(counter)
    wait_for(lambda: counter.b.has_arrived(stopped_at), "the target to be about to remove it")
    assert_the_next_one_waits(counter)


def test_it_is_tried_again_before_the_target_has_begun_to_remove_it(counter):
    counter.b.order_fault("receive.images", "stop")
    moving = counter.a.popen([counter.a.program("hydractl"), "--plain", "migrate", "counter", counter.b.address])
    wait_for(lambda: counter.b.has_arrived("receive.images"), "the images to be there")
    counter.b.order_fault("phase.target.failed", "stop")
    for pid in counter.a.pids("hydractl"):
        os.kill(pid, signal.SIGINT)
    counter.b.kill("hydra-pager", signal.SIGCONT)
    assert moving.wait(DEADLINE) == 130
    wait_for(lambda: counter.b.has_arrived("phase.target.failed"), "the target to be about to remove it")
    assert_the_next_one_waits(counter)


def test_a_name_that_does_not_become_free_is_told(counter):
    counter.b.order_fault("receive.images")
    counter.b.order_fault("setup.remove.network", "stop")
    migrate_in_vain(counter)
    wait_for(lambda: counter.b.has_arrived("setup.remove.network"), "the target to be about to remove it")
    assert "here already" in migrate_in_vain(counter)
    counter.b.kill("hydra-setup", signal.SIGCONT)
    assert_stayed(counter)
    assert_can_still_move(counter)


def test_the_name_is_in_use_at_the_target(counter, rootfs):
    run(counter.b, rootfs, "counter", "sleep", "1000")
    assert "here already" in migrate_in_vain(counter)
    assert counter.b.inspect("counter")["state"] == "running"
    counter.b.ctl("rm", "-f", "counter")
    assert_stayed(counter)


def test_an_exec_is_in_the_way(counter):
    session = counter.a.popen([counter.a.program("hydractl"), "exec", "counter", "sh", "-c", "touch /data/here; sleep 1000"])
    wait_for(counter.a.path("/var/lib/hydra/default/counter/upper/data/here").exists, "the exec")
    assert "can't be moved" in migrate_in_vain(counter)
    session.kill()
    session.wait()


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("point", ["receive.before-images", "receive.committed"])
def test_hydrad_is_killed_in_the_middle_and_it_moves_all_the_same(counter, side, point):
    counter.b.order_fault(point, "stop")
    moving = counter.a.popen([counter.a.program("hydractl"), "--plain", "migrate", "counter", counter.b.address])
    wait_for(lambda: counter.b.has_arrived(point), "the middle")
    host = counter.a if side == "source" else counter.b
    host.kill("hydrad")
    wait_for(lambda: host.answers("hydrad.sock"), "the next hydrad")
    counter.b.kill("hydra-pager", signal.SIGCONT)
    assert moving.wait(60) == 0
    assert names(counter.a) == set()
    assert counter.b.inspect("counter")["state"] == "running"
    assert_counts_on(counter.b)
