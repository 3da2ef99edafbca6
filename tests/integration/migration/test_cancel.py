# SPDX-License-Identifier: Apache-2.0
"""A migration that is called off while CRIU is at work in the container's tasks."""
import os
import signal
import time

from cluster import names, run, wait_for


def call_off(cluster, delay):
    """Begins to freeze the container, and thinks better of it after a while."""
    cluster.a.order_fault("send.before-freeze", "stop")
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "large", cluster.b.address], stdout=-3, stderr=-3)
    wait_for(lambda: cluster.a.has_arrived("send.before-freeze"), "the freeze to be next")
    cluster.a.forget_faults()
    pids = cluster.a.pids("hydra-pager")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    end = time.monotonic() + delay  # there is nothing to wait for: any moment may be the one
    while time.monotonic() < end:
        pass
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    assert moving.wait(60) != 0


def test_called_off_at_any_moment_of_the_freeze(cluster, rootfs):
    """CRIU that is killed with its own code in a task leaves it there, and the task dies of it."""
    run(cluster.a, rootfs, "large", "sh", "-c", "x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo ready; while true; do sleep 0.01; echo alive; done")
    wait_for(lambda: "ready" in cluster.a.ctl("logs", "large").stdout, "its memory")
    for step in range(16):
        call_off(cluster, step * 0.0015)
        wait_for(lambda: cluster.a.inspect("large")["state"] != "migrating", "it to be in service again")
        before = cluster.a.ctl("logs", "large").stdout.count("alive")
        wait_for(lambda: cluster.a.ctl("logs", "large").stdout.count("alive") > before, "it to go on")  # noqa: B023
        wait_for(lambda: names(cluster.b) == set() and not cluster.b.path("/run/hydra/default/large").exists(), "the target to be empty")
