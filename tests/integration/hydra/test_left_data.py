# SPDX-License-Identifier: Apache-2.0
"""What is on the disk of containers that a restart of the host ended."""
from hosts import wait_for


def crash_with_data(host, rootfs):
    """A container wrote something, and the host was restarted. Its disk stays."""
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sh", "-c", "echo old > /old; sleep 1000")
    wait_for(lambda: host.path("/var/lib/hydra/default/web/upper/old").exists(), "the file")
    host.run("cp", "-a", "/var/lib/hydra/default", "/var/lib/hydra/.copy")
    host.crash()
    host.run("mv", "/var/lib/hydra/.copy", "/var/lib/hydra/default")
    host.start("hydra-monitor")
    wait_for(lambda: host.answers("hydrad.sock"), "hydrad")


def test_a_new_container_never_finds_what_one_of_its_name_left(daemon_host, rootfs):
    host = daemon_host
    crash_with_data(host, rootfs)
    assert host.json("ps", "-a") == [] and host.path("/var/lib/hydra/default/web/upper/old").exists()
    done = host.ctl("run", "--name", "web", "--rootfs", rootfs, "sh", "-c", "ls /old", check=False)
    assert done.returncode != 0 and "No such file" in done.stdout + done.stderr
    left = list(host.path("/var/lib/hydra/.left").iterdir())
    assert len(left) == 1 and left[0].name.startswith("default.web.") and (left[0] / "upper/old").read_text() == "old\n"
    assert [entry["leftover"] for entry in host.json("prune")] == [left[0].name]
    assert not left[0].exists() and host.json("ps", "-a")[0]["id"] == "web"
    host.ctl("rm", "web")


def test_prune_finds_it_by_itself_and_nothing_else(daemon_host, rootfs):
    host = daemon_host
    crash_with_data(host, rootfs)
    host.ctl("run", "-d", "--name", "now", "--rootfs", rootfs, "sleep", "1000")
    assert [entry["leftover"] for entry in host.json("prune", "--dry-run")] == ["default.web"]
    assert host.path("/var/lib/hydra/default/web/upper/old").exists()
    assert "leftover default.web." in host.ctl("prune").stdout
    assert not host.path("/var/lib/hydra/default/web").exists() and host.path("/var/lib/hydra/default/now/upper").exists()
    assert list(host.path("/var/lib/hydra/.left").iterdir()) == [] and host.ctl("prune").stdout == ""
    assert host.inspect("now")["state"] == "running"
    host.ctl("rm", "-f", "now")


def test_what_another_root_has_mounted_is_not_touched(daemon_host, rootfs):
    """Two roots share one folder of data: that can't be told from a leftover but by its mounts."""
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    there = host.ctl("--root", "/run/other", "run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000", check=False)
    assert there.returncode == 125 and "is in use" in there.stderr
    assert host.ctl("--root", "/run/other", "prune").stdout == "" and host.inspect("web")["state"] == "running"
    host.ctl("exec", "web", "touch", "/here")
    assert host.path("/var/lib/hydra/default/web/upper/here").exists() and host.ctl("--root", "/run/other", "ps", "-aq").stdout == ""
    host.ctl("rm", "-f", "web")
