# SPDX-License-Identifier: Apache-2.0
"""A host is emptied; proposals for moves."""
import json
import os
import pathlib
import re
import shutil
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


def test_what_several_are_based_on_is_sent_once(three, rootfs, tmp_path):
    """The second one waits for the first one that brings it; others do not."""
    image = tmp_path / "images" / "web"
    shutil.copytree(rootfs, image, symlinks=True)
    (image / "big").write_bytes(os.urandom(5_000_000))
    three.b.run("mount", "-t", "tmpfs", "tmpfs", str(image.parent))
    for name in ("web1", "web2", "web3"):
        run(three.a, str(image), name, "sleep", "1000")
    said, _ = drain(three, "--to", "b", "--parallel", "6", "--order", "name")
    assert said[:4] == [("moving", name) for name in ("c1", "c2", "c3", "web1")]
    assert said.index(("moved", "web1")) < said.index(("moving", "web2")) < said.index(("moving", "web3")) < said.index(("moved", "web2"))
    assert running(three.b) == {"c1", "c2", "c3", "web1", "web2", "web3"}
    sent = {item["containerId"]: item["bytesSent"] for item in three.a.json("migrations", "--all")}
    assert sent["web1"] > 5_000_000 > max(sent["web2"], sent["web3"]), sent


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


def test_the_hosts_are_asked_before_anything_moves(three, rootfs, tmp_path):
    """What only they can know, as migrate --dry-run tells it; the options are those of migrate."""
    (tmp_path / "data").mkdir()
    run(three.a, rootfs, "bound", "sleep", "1000", options=("-v", f"{tmp_path}/data:/data"))
    three.b.run("mount", "-t", "tmpfs", "tmpfs", str(tmp_path))
    done = three.a.ctl("drain", "--to", "b", check=False)
    assert done.returncode == 1 and f"'{tmp_path}/data' is missing" in done.stdout and "nothing was moved" in done.stderr
    assert running(three.a) == {"c1", "c2", "c3", "bound"}
    three.b.run("mkdir", str(tmp_path / "data"))
    session = three.a.popen([three.a.program("hydractl"), "exec", "c1", "sleep", "1000"])
    try:
        wait_for(lambda: three.a.inspect("c1").get("execs"), "the exec")
        said, _ = drain(three, "--to", "b", "--mode", "cold", check=False)
        assert said == [("can't be moved", "c1")]
        said, _ = drain(three, "--to", "b", "--mode", "cold", "--exec-sessions", "end")
    finally:
        session.kill()
        session.wait()
    assert sorted(name for event, name in said if event == "moved") == ["bound", "c1", "c2", "c3"]
    assert {item["mode"] for item in three.a.json("migrations", "--all")} == {"cold"}


def test_one_goes_where_it_can(ring, rootfs, tmp_path):
    """What the first target can't have the second one may."""
    (tmp_path / "data").mkdir()
    run(ring.a, rootfs, "bound", "sleep", "1000", options=("-v", f"{tmp_path}/data:/data"))
    ring.b.run("mount", "-t", "tmpfs", "tmpfs", str(tmp_path))
    ring.a.ctl("drain", "--to", f"{ring.b.address},{ring.hosts[2].address}")
    assert names(ring.a) == names(ring.b) == set() and running(ring.hosts[2]) == {"bound"}


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


def tell(host, folder, what, text):
    """What the host hears of itself from then on."""
    path = folder / f"{host.name}-{what.replace('/', '-')}"
    path.write_text(text)
    host.run("mount", "--bind", str(path), f"/proc/{what}")


def test_rebalance_relieves_a_host_that_is_short_of_memory(three, tmp_path):
    """A host with a twentieth of its memory left, and one that has nothing to do; the proposal can be carried out as it stands."""
    told = re.sub(r"MemTotal:.*\nMemFree:.*\nMemAvailable:.*\n", "MemTotal: 1000000 kB\nMemFree: 50000 kB\nMemAvailable: 50000 kB\n",
                  pathlib.Path("/proc/meminfo").read_text())
    tell(three.a, tmp_path, "meminfo", told)
    for host in (three.a, three.b):
        tell(host, tmp_path, "loadavg", "0.10 0.10 0.10 1/100 1000\n")
        for what in ("cpu", "memory"):
            tell(host, tmp_path, f"pressure/{what}", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    said = three.a.json("rebalance", "--dry-run")
    assert said["moves"], said
    for move in said["moves"]:
        assert (move["from"], move["to"], move["reason"]) == (said["hosts"][0]["name"], "b", "memory") and "%" in move["words"] and move["memoryBytes"] > 0
    three.a.ctl("migrate", said["moves"][0]["container"], said["moves"][0]["to"])
    assert running(three.b) == {said["moves"][0]["container"]}
    assert three.b.json("rebalance", "--dry-run")["moves"] == []
