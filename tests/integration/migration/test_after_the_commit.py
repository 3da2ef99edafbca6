# SPDX-License-Identifier: Apache-2.0
"""What cannot be undone any more: never two copies, never zeros in place of memory."""
import signal

from cluster import assert_counts_on, names, wait_for
from test_redis import Client, start_redis


def has_phase(host, phase):
    folder = host.path("/run/hydra/.migrations")
    return folder.exists() and any(f'"phase":"{phase}"' in path.read_text() for path in folder.iterdir())


def has_ended(host):
    """Nothing runs there; what there was may be about to be removed."""
    return all(item["state"] == "stopped" for item in host.json("ps", "-a"))


def events(host, name):
    return host.ctl("events", name).stdout


def migrate_redis(cluster, redis_rootfs, *options):
    """redis with 256 MiB that a client uses, about to be moved; returns the client and hydractl."""
    client = Client(cluster, start_redis(cluster, redis_rootfs))
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", *options, "redis", cluster.b.address])
    wait_for(lambda: has_phase(cluster.a, "paging"), "the copy to run at the target")
    return client, moving


def expect_moved(cluster, client, moving):
    assert moving.wait(60) == 0
    result = client.end()
    assert result["errors"] == 0 and cluster.b.inspect("redis")["state"] == "running"
    assert names(cluster.a) == set()


def test_the_targets_pager_dies_with_pages_missing(cluster, redis_rootfs):
    client, moving = migrate_redis(cluster, redis_rootfs)
    cluster.b.kill("hydra-pager")
    expect_moved(cluster, client, moving)
    assert "pager-replaced" in events(cluster.b, "redis") or "pages-complete" in events(cluster.b, "redis")


def test_pagers_that_die_again_and_again_do_not_leave_a_damaged_container(cluster, redis_rootfs):
    client = Client(cluster, start_redis(cluster, redis_rootfs))
    cluster.a.order_fault("send.committed", "stop")
    cluster.b.order_fault("receive.committed", "stop")
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "redis", cluster.b.address])
    wait_for(lambda: cluster.a.has_arrived("send.committed"), "the commit")
    cluster.a.kill("hydra-pager", signal.SIGCONT)
    wait_for(lambda: cluster.b.has_arrived("receive.committed"), "the target to hear of it")
    cluster.a.kill("hydra-pager", signal.SIGSTOP)  # no page comes any more
    cluster.b.kill("hydra-pager", signal.SIGCONT)

    def is_given_up():
        cluster.b.kill("hydra-pager")
        return "pages-lost" in events(cluster.b, "redis")

    wait_for(lambda: cluster.b.inspect("redis")["state"] == "running", "the copy to run")
    wait_for(is_given_up, "the shim to give up")
    wait_for(lambda: cluster.b.inspect("redis")["state"] == "stopped", "the copy to be stopped")
    assert cluster.b.inspect("redis")["exit"]["signal"] == signal.SIGKILL
    assert cluster.a.inspect("redis")["state"] == "migrating", "the source must not go on by itself"
    client.process.kill()
    client.process.communicate()
    cluster.a.kill("hydra-pager", signal.SIGCONT)
    assert moving.wait(60) == 125
    wait_for(lambda: "migration-in-doubt" in events(cluster.a, "redis"), "the shim to know")
    assert cluster.a.inspect("redis")["state"] == "migrating"
    cluster.a.ctl("rm", "-f", "redis")


def test_the_targets_shim_and_then_its_pager_die_with_pages_missing(cluster, redis_rootfs):
    """At that rate memory is on its way for four seconds: the shim's successor has what the next pager needs."""
    client = Client(cluster, start_redis(cluster, redis_rootfs))
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "--bandwidth", "64m", "--compress", "none", "redis",
                              cluster.b.address])
    wait_for(lambda: "migrated-in" in cluster.b.ctl("events", "redis", check=False).stdout, "the copy to run at the target")
    cluster.b.kill("hydra-shim")
    wait_for(lambda: "adopted" in events(cluster.b, "redis"), "the successor")
    assert not has_phase(cluster.a, "done")
    cluster.b.kill("hydra-pager")
    wait_for(lambda: "pager-replaced" in events(cluster.b, "redis"), "the next pager")
    expect_moved(cluster, client, moving)
    wait_for(lambda: "pages-complete" in events(cluster.b, "redis"), "the shim to let go")


def test_the_sources_pager_dies_with_pages_missing(cluster, redis_rootfs):
    client, moving = migrate_redis(cluster, redis_rootfs)
    cluster.a.kill("hydra-pager")
    expect_moved(cluster, client, moving)


def test_all_workers_of_the_source_die_with_pages_missing(cluster, redis_rootfs):
    client, moving = migrate_redis(cluster, redis_rootfs)
    cluster.a.kill("hydra-setup")
    cluster.a.kill("hydra-pager")
    moving.wait(60)
    wait_for(lambda: has_ended(cluster.a), "the source's shim to end it")
    assert client.end()["errors"] == 0
    assert cluster.b.inspect("redis")["state"] == "running"


def test_the_source_worker_dies_after_the_hand_over(counter):
    counter.a.order_fault("setup.migrate.moved")
    counter.a.ctl("--plain", "migrate", "counter", counter.b.address, check=False)
    assert counter.a.has_arrived("setup.migrate.moved")
    wait_for(lambda: names(counter.a) == set(), "its shim to remove it")
    assert counter.b.inspect("counter")["state"] == "running"
    assert_counts_on(counter.b)


def test_the_targets_shim_dies_when_the_tasks_are_about_to_run(counter):
    counter.b.order_fault("restore.claimed", "stop")
    moving = counter.a.popen([counter.a.program("hydractl"), "--plain", "migrate", "counter", counter.b.address])
    wait_for(lambda: counter.b.has_arrived("restore.claimed"), "the commit")
    counter.b.kill("hydra-shim")
    counter.b.kill("hydra-checkpoint", signal.SIGCONT)
    assert moving.wait(60) == 0
    wait_for(lambda: counter.b.inspect("counter")["state"] == "running", "the successor to take it into service")
    assert_counts_on(counter.b)
    assert names(counter.a) == set()


def test_the_targets_shim_dies_after_the_hand_over(counter):
    counter.b.order_fault("shim.restored")
    counter.a.ctl("--plain", "migrate", "counter", counter.b.address, check=False)
    assert counter.b.has_arrived("shim.restored")
    wait_for(lambda: counter.b.inspect("counter")["state"] == "running", "the successor to take it into service")
    assert_counts_on(counter.b)
    assert counter.b.ctl("exec", "counter", "echo", "hello").stdout == "hello\n"
    assert names(counter.a) == set()
