# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on disk, and back, also after the host was gone."""
import shutil

import pytest

from cluster import COUNT, lines, run, wait_for
from hosts import Host


@pytest.fixture
def host(tmp_path):
    with Host("disk") as made:
        made.start("hydra-monitor")
        wait_for(lambda: made.answers("hydrad.sock"), "hydrad")
        yield made
        for name in ("hydra-monitor", "hydrad"):
            made.kill(name)
            wait_for(lambda: not made.pids(name), "its end")  # noqa: B023
        wait_for(lambda: not made.answers("hydrad.sock"), "the end of hydrad's socket")
        for item in made.json("ps", "-a"):
            made.ctl("rm", "-f", item["id"])
        made.assert_clean()


def count(host, rootfs):
    run(host, rootfs, "counter", "sh", "-c", "echo kept >/data/note; " + COUNT)
    wait_for(lambda: len(lines(host, "counter")) > 3, "it to count")


def assert_goes_on(host, name, last):
    wait_for(lambda: len(lines(host, name)) > 3, "it to count on")
    seen = lines(host, name)
    assert seen[0] > last and seen == list(range(seen[0], seen[0] + len(seen)))
    assert host.ctl("exec", name, "cat", "/data/note").stdout == "kept\n"


def test_a_checkpoint_stops_and_a_restore_goes_on(host, rootfs, tmp_path):
    count(host, rootfs)
    host.ctl("checkpoint", "--images", str(tmp_path / "saved"), "counter")
    wait_for(lambda: host.inspect("counter")["state"] == "stopped", "it to stop")
    assert host.inspect("counter")["exit"]["reason"] == "checkpointed"
    last = lines(host, "counter")[-1]
    host.ctl("rm", "counter")
    host.ctl("restore", "--images", str(tmp_path / "saved"), "--name", "again")
    assert_goes_on(host, "again", last)
    host.ctl("stop", "again")
    assert host.inspect("again")["exit"]["exitCode"] == 7


def test_a_checkpoint_that_leaves_it_running(host, rootfs, tmp_path):
    count(host, rootfs)
    host.ctl("checkpoint", "--leave-running", "--images", str(tmp_path / "saved"), "counter")
    assert host.inspect("counter")["state"] == "running"
    before = len(lines(host, "counter"))
    wait_for(lambda: len(lines(host, "counter")) > before, "it to count on")
    host.ctl("restore", "--images", str(tmp_path / "saved"), "--name", "twin")
    assert_goes_on(host, "twin", 0)
    assert host.inspect("counter")["state"] == "running"


def test_a_restore_after_a_reboot(host, rootfs, tmp_path):
    count(host, rootfs)
    host.ctl("checkpoint", "--images", str(tmp_path / "saved"), "counter")
    last = lines(host, "counter")[-1]
    shutil.copytree(host.path("/var/lib/hydra"), tmp_path / "data", symlinks=True)
    with Host("reboot") as fresh:
        shutil.copytree(tmp_path / "data", fresh.path("/var/lib/hydra"), symlinks=True, dirs_exist_ok=True)
        fresh.ctl("restore", "--images", str(tmp_path / "saved"), "--name", "counter")
        assert_goes_on(fresh, "counter", last)
        fresh.ctl("rm", "-f", "counter")
        fresh.assert_clean()


def test_images_that_are_not_there(host, tmp_path):
    done = host.ctl("restore", "--images", str(tmp_path), "--name", "nothing", check=False)
    assert done.returncode == 125 and done.stderr
    host.assert_clean()
