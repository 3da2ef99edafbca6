# SPDX-License-Identifier: Apache-2.0
"""What cannot be undone any more: never two copies, never zeros in place of memory."""
import signal

from cluster import wait_for
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
