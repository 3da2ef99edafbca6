# SPDX-License-Identifier: Apache-2.0
"""Networks: none, the host's, and CNI's own plugins with an address and a hardware address that were asked for."""
import json
import os
import pathlib

import pytest

CONFIG = {
    "cniVersion": "1.0.0", "name": "lab",
    "plugins": [{"type": "bridge", "bridge": "lab0", "isGateway": True, "capabilities": {"ips": True, "mac": True},
                 "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "10.88.0.0/24"}]]}}],
}


@pytest.fixture
def lab(any_host):
    assert pathlib.Path("/usr/lib/cni/bridge").exists(), "the CNI plugins are not installed: they are in scripts/packages"
    folder = any_host.path("/run/cni-config")
    folder.mkdir()
    (folder / "lab.conflist").write_text(json.dumps(CONFIG))
    return any_host


@pytest.fixture(autouse=True)
def configuration_folder(monkeypatch, host):
    # before the daemon starts: its workers inherit it
    host.env["HYDRA_CNI_CONFIG"] = "/run/cni-config"


@pytest.fixture
def any_host(request, configuration_folder, host):
    host.start("hydra-monitor")
    from hosts import wait_for
    wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
    return host


def test_none_has_a_loopback_only(any_host, rootfs):
    lines = any_host.ctl("run", "--rm", "--rootfs", rootfs, "ip", "-o", "link").stdout.splitlines()
    assert len(lines) == 1 and "lo" in lines[0] and "UP" in lines[0]


def test_host_is_the_hosts(any_host, rootfs):
    seen = any_host.ctl("run", "--rm", "--network", "host", "--rootfs", rootfs, "readlink", "/proc/self/ns/net").stdout.strip()
    assert seen == os.readlink(f"/proc/{any_host.pid}/ns/net")


def test_an_address_and_a_mac_can_be_asked_for(lab, rootfs):
    lab.ctl("run", "-d", "--name", "web", "--network", "lab", "--ip", "10.88.0.77", "--mac", "02:00:00:00:00:77", "--rootfs", rootfs,
            "sleep", "1000")
    seen = lab.ctl("exec", "web", "ip", "addr", "show", "eth0").stdout
    assert "10.88.0.77/24" in seen and "02:00:00:00:00:77" in seen
    network = lab.inspect("web")["network"]
    assert network["ip"].startswith("10.88.0.77") and network["bridge"] == "lab0" and network["hostInterface"].startswith("veth")
    lab.run("busybox", "ping", "-c", "1", "-W", "20", "10.88.0.77")


def test_two_containers_reach_each_other(lab, rootfs):
    lab.ctl("run", "-d", "--name", "one", "--network", "lab", "--rootfs", rootfs, "sleep", "1000")
    address = lab.inspect("one")["network"]["ip"].split("/")[0]
    done = lab.ctl("run", "--rm", "--network", "lab", "--rootfs", rootfs, "ping", "-c", "1", "-W", "20", address)
    assert "1 packets received" in done.stdout


def test_the_address_is_given_back(lab, rootfs):
    for _ in range(2):
        lab.ctl("run", "--rm", "--name", "web", "--network", "lab", "--ip", "10.88.0.77", "--rootfs", rootfs, "true")
    assert not list(lab.path("/run/cni/lab").glob("10.88.0.77"))


def test_an_address_in_use_is_refused_and_nothing_left(lab, rootfs):
    lab.ctl("run", "-d", "--name", "web", "--network", "lab", "--ip", "10.88.0.77", "--rootfs", rootfs, "sleep", "1000")
    done = lab.ctl("run", "-d", "--name", "late", "--network", "lab", "--ip", "10.88.0.77", "--rootfs", rootfs, "true", check=False)
    assert done.returncode == 125 and "network 'lab'" in done.stderr
    assert [item["id"] for item in lab.json("ps", "-a")] == ["web"]
