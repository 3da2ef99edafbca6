# SPDX-License-Identifier: Apache-2.0
"""A host is emptied; proposals for moves."""
import json
import os
import signal

import pytest

from cluster import names, run, wait_for


@pytest.fixture
def three(cluster, rootfs):
    """The cluster, where b has a name at a, with three containers at a; the middle one by name has most memory."""
    cluster.a.ctl("host", "add", "b", cluster.b.address)
    for name, size in (("c1", 20), ("c2", 60), ("c3", 40)):
        run(cluster.a, rootfs, name, "sh", "-c", f"x=$(head -c {size}000000 /dev/zero | tr '\\0' x); echo ready; while true; do sleep 1; done")
    for name in ("c1", "c2", "c3"):
        wait_for(lambda: cluster.a.ctl("logs", name).stdout == "ready\n", "its memory")  # noqa: B023
    return cluster


def drain(cluster, *arguments, check=True):
    """What happened, as (event, container), and the exit status."""
    done = cluster.a.ctl("--format", "json", "drain", *arguments, check=check, timeout=60)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return [(item["event"], item["container"]) for item in said], done


def running(host):
    return {item["id"] for item in host.json("ps")}


def test_all_containers_go_the_smallest_first(three):
    said, _ = drain(three, "--to", "b", "--dry-run")
    assert said == [("would be moved", name) for name in ("c1", "c3", "c2")] and running(three.a) == {"c1", "c2", "c3"}
    said, _ = drain(three, "--to", "b", "--dry-run", "--order", "largest")
    assert [name for _, name in said] == ["c2", "c3", "c1"]
    said, done = drain(three, "--to", "b")
    assert said == [(event, name) for name in ("c1", "c3", "c2") for event in ("moving", "moved")] and done.returncode == 0
    assert names(three.a) == set() and running(three.b) == {"c1", "c2", "c3"}
    assert three.a.ctl("drain", "--to", "b").stdout == "moved 0 of 0 containers\n"


def test_several_at_a_time_and_to_an_address(three):
    said, _ = drain(three, "--to", three.b.address, "--parallel", "3", "--order", "name")
    assert said[:3] == [("moving", "c1"), ("moving", "c2"), ("moving", "c3")]
    assert sorted(said[3:]) == [("moved", "c1"), ("moved", "c2"), ("moved", "c3")]
    assert names(three.a) == set() and running(three.b) == {"c1", "c2", "c3"}


def test_what_cannot_move_is_named_before_anything_moves(three, rootfs):
    run(three.a, rootfs, "fixed", "sleep", "1000", options=("--network", "host"))
    run(three.b, rootfs, "c2", "sleep", "1000")
    for options in (("--dry-run",), ()):
        said, done = drain(three, "--to", "b", *options, check=False)
        assert done.returncode == 1 and sorted(said[:2]) == [("can't be moved", "c2"), ("can't be moved", "fixed")]
    assert running(three.a) == {"c1", "c2", "c3", "fixed"} and "--keep-going" in done.stderr
    said, done = drain(three, "--to", "b", "--keep-going", check=False)
    assert done.returncode == 1 and sorted(said[2:]) == [("moved", "c1"), ("moved", "c3"), ("moving", "c1"), ("moving", "c3")]
    assert names(three.a) == {"c2", "fixed"}
    assert "network of its host" in three.a.ctl("drain", "--to", "b", "--dry-run", check=False).stdout


def test_it_stops_at_a_failure_and_goes_on_when_it_is_called_again(three):
    three.b.order_fault("receive.images")
    said, done = drain(three, "--to", "b", check=False)
    assert done.returncode == 1 and said == [("moving", "c1"), ("not moved", "c1"), ("left here", "c3"), ("left here", "c2")]
    wait_for(lambda: running(three.a) == {"c1", "c2", "c3"} and names(three.b) == set(), "all to be as it was")
    three.b.forget_faults()
    three.b.order_fault("receive.images")
    said, done = drain(three, "--to", "b", "--keep-going", check=False)
    assert done.returncode == 1 and [item for item in said if item[0] != "moving"] == [("not moved", "c1"), ("moved", "c3"), ("moved", "c2")]
    wait_for(lambda: running(three.a) == {"c1"} and names(three.b) == {"c2", "c3"}, "the rest to be as it was")
    said, done = drain(three, "--to", "b")
    assert done.returncode == 0 and said == [("moving", "c1"), ("moved", "c1")]
    assert names(three.a) == set() and running(three.b) == {"c1", "c2", "c3"}


def test_an_interrupted_one_cancels_what_has_not_been_handed_over(three):
    three.b.order_fault("receive.images", "stop")
    draining = three.a.popen([three.a.program("hydractl"), "drain", "--to", "b", "--order", "name"], stdout=-1, stderr=-1, text=True)
    wait_for(lambda: three.b.has_arrived("receive.images"), "the images to be there")
    for pid in three.a.pids("hydractl"):
        os.kill(pid, signal.SIGINT)
    wait_for(lambda: draining.stderr.readline().startswith("cancelling"), "it to notice")
    three.b.forget_faults()
    three.b.kill("hydra-pager", signal.SIGCONT)
    said, complaint = draining.communicate(timeout=60)
    assert draining.returncode == 130 and "interrupted: 0 moved" in complaint, said + complaint
    assert "c2: left here" in said and "c1: not moved" in said
    wait_for(lambda: running(three.a) == {"c1", "c2", "c3"}, "all to be in service again")
    wait_for(lambda: names(three.b) == set(), "nothing to be there")


def test_wrong_options_are_refused(three):
    for options, complaint in (((), "--to"), (("--to", "nobody"), "hydractl host list"), (("--to", "b", "--order", "age"), "expected smallest"),
                               (("--to", "b", "--parallel", "100"), "1 to 64")):
        done = three.a.ctl("drain", *options, check=False)
        assert done.returncode == 125 and complaint in done.stderr


def test_rebalance_makes_proposals_and_nothing_else(three):
    done = three.a.ctl("rebalance", check=False)
    assert done.returncode == 2 and "only makes proposals" in done.stderr and done.stdout == ""
    three.a.ctl("host", "add", "nobody", "10.88.0.12:1")
    said = three.a.json("rebalance", "--dry-run")
    _, there, nobody = said["hosts"]
    assert there["name"] == "b" and there["problem"] == "" and there["memoryAvailableBytes"] > 0 and there["containers"] == 0
    assert said["hosts"][0]["containers"] == 3 and "refused" in nobody["problem"] and isinstance(said["moves"], list)
    assert "nobody is left out" in three.a.ctl("rebalance", "--dry-run").stdout
    assert running(three.a) == {"c1", "c2", "c3"}
