# SPDX-License-Identifier: Apache-2.0
"""What cannot be undone any more: never two copies, never zeros in place of memory."""
import signal

from cluster import assert_counts_on, names, wait_for
from test_redis import Client, start_redis


def is_paging(host):
    folder = host.path("/run/hydra/.migrations")
    return folder.exists() and any('"phase":"paging"' in path.read_text() for path in folder.iterdir())


def test_the_pager_dies_with_pages_missing(cluster, redis_rootfs):
    client = Client(cluster, start_redis(cluster, redis_rootfs))
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "redis", cluster.b.address])
    wait_for(lambda: is_paging(cluster.a), "the copy to run at the target")
    cluster.b.kill("hydra-pager")
    wait_for(lambda: cluster.b.json("ps", "-a") and cluster.b.inspect("redis")["state"] == "stopped", "the copy to be stopped")
    assert "pages-lost" in cluster.b.ctl("events", "redis").stdout
    assert cluster.b.inspect("redis")["exit"]["signal"] == signal.SIGKILL
    assert cluster.a.inspect("redis")["state"] == "migrating", "the source must not go on by itself"
    client.process.kill()
    client.process.communicate()
    cluster.a.kill("hydra-pager")
    assert moving.wait(60) == 125
    wait_for(lambda: "migration-in-doubt" in cluster.a.ctl("events", "redis").stdout, "the shim to know")
    assert cluster.a.inspect("redis")["state"] == "migrating"
    cluster.a.ctl("rm", "-f", "redis")


def test_the_source_worker_dies_after_the_hand_over(counter):
    counter.a.order_fault("setup.migrate.moved")
    counter.a.ctl("--plain", "migrate", "counter", counter.b.address, check=False)
    assert counter.a.has_arrived("setup.migrate.moved")
    # nobody is left to remove it; its shim knows why it ended, or could remove it itself
    wait_for(lambda: names(counter.a) == set() or counter.a.inspect("counter")["state"] == "stopped", "the source to have ended")
    assert all("migrated to" in counter.a.inspect(name)["exit"]["reason"] for name in names(counter.a))
    assert counter.b.inspect("counter")["state"] == "running"
    assert_counts_on(counter.b)


def test_the_targets_shim_dies_after_the_hand_over(counter):
    counter.b.order_fault("shim.restored")
    counter.a.ctl("--plain", "migrate", "counter", counter.b.address, check=False)
    assert counter.b.has_arrived("shim.restored")
    wait_for(lambda: counter.b.inspect("counter")["state"] == "running", "the successor to take it into service")
    assert_counts_on(counter.b)
    assert counter.b.ctl("exec", "counter", "echo", "hello").stdout == "hello\n"
    assert names(counter.a) == set()
