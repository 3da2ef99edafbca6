# SPDX-License-Identifier: Apache-2.0
"""Limits where cgroup v2 has the controllers (the test VM, any current distribution)."""
import json
import pathlib

import pytest
from conftest import covers

CONTROLLERS = pathlib.Path("/sys/fs/cgroup/cgroup.controllers")
pytestmark = pytest.mark.skipif(not CONTROLLERS.exists() or "memory" not in CONTROLLERS.read_text(),
                                reason="cgroup v2 has no controllers here")


def read(bundle, file):
    return (pathlib.Path("/sys/fs/cgroup/hydra") / bundle.id / file).read_text().strip()


@covers("linux.resources.memory.limit", "linux.resources.memory.reservation", "linux.resources.memory.swap", "linux.resources.cpu.shares",
        "linux.resources.cpu.quota", "linux.resources.cpu.period", "linux.resources.cpu.cpus", "linux.resources.cpu.mems",
        "linux.resources.pids.limit")
def test_limits_of_a_new_container(bundle):
    bundle.linux["resources"].update({
        "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 128 << 20},
        "cpu": {"shares": 1024, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 33}})
    bundle.sleeping()
    assert [read(bundle, f"memory.{name}") for name in ("max", "low", "swap.max")] == [str(64 << 20), str(32 << 20), str(64 << 20)]
    assert [read(bundle, f"cpu.{name}") for name in ("weight", "max")] == ["39", "20000 50000"]
    assert [read(bundle, f"cpuset.{name}") for name in ("cpus", "mems")] == ["0", "0"]
    assert read(bundle, "pids.max") == "33"


@covers("linux.resources.cpu.burst", "linux.resources.cpu.idle", "linux.resources.hugepageLimits[].…")
def test_rarer_limits_of_a_new_container(bundle):
    bundle.linux["resources"].update({"cpu": {"quota": 20000, "period": 50000, "burst": 10000}})
    if "hugetlb" in CONTROLLERS.read_text().split():
        bundle.linux["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 << 20}]
    bundle.sleeping()
    assert read(bundle, "cpu.max.burst") == "10000"
    assert "hugepageLimits" not in bundle.linux["resources"] or read(bundle, "hugetlb.2MB.max") == str(4 << 20)
    other = bundle.another()
    other.linux["resources"]["cpu"] = {"idle": 1}
    other.sleeping()
    assert read(other, "cpu.idle") == "1"


@covers("linux.resources.blockIO.throttle…")
def test_block_throttles(bundle):
    """One line of io.max for each device."""
    disks = [path for path in pathlib.Path("/sys/block").iterdir() if path.name.startswith(("vd", "sd", "nvme"))]
    if not disks or "io" not in CONTROLLERS.read_text().split():
        pytest.skip("there is no disk, or no controller of disks")
    device = (disks[0] / "dev").read_text().strip()
    major, minor = map(int, device.split(":"))
    rates = {"ReadBps": 1000, "WriteBps": 2000, "ReadIOPS": 3000, "WriteIOPS": 4000}
    bundle.linux["resources"]["blockIO"] = {f"throttle{what}Device": [{"major": major, "minor": minor, "rate": rate}]
                                            for what, rate in rates.items()}
    bundle.sleeping()
    assert read(bundle, "io.max") == f"{device} rbps=1000 wbps=2000 riops=3000 wiops=4000"


@covers("linux.resources.memory.checkBeforeUpdate")
def test_a_limit_below_what_is_in_use_is_refused_when_asked_for(bundle, wait):
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20}
    bundle.mount("/data", "tmpfs", "tmpfs")
    bundle.sh("dd if=/dev/zero of=/data/x bs=1M count=16; touch /data/done; exec sleep 100000")
    pid = bundle.started()
    wait(lambda: pathlib.Path(f"/proc/{pid}/root/data/done").exists())
    message = bundle.hydra.refuses("update", "-r", "-", bundle.id, input=json.dumps(
        {"memory": {"limit": 4 << 20, "checkBeforeUpdate": True}}))
    assert "linux.resources.memory.limit: rejecting memory limit 4194304: below what is in use (" in message
    assert read(bundle, "memory.max") == str(64 << 20)


def test_update_by_options(bundle):
    bundle.sleeping()
    bundle.hydra("update", "--memory", "100m", "--memory-swap", "200m", "--pids-limit", "44", "--cpu-share", "2",
                 "--cpu-quota", "30000", "--cpu-period", "60000", "--cpuset-cpus", "0", bundle.id)
    assert [read(bundle, f"memory.{name}") for name in ("max", "swap.max")] == [str(100 << 20), str(100 << 20)]
    assert [read(bundle, file) for file in ("pids.max", "cpu.weight", "cpu.max")] == ["44", "1", "30000 60000"]
    bundle.hydra("update", "--memory=-1", "--cpu-quota=-1", "--pids-limit=-1", bundle.id)
    assert [read(bundle, file) for file in ("memory.max", "memory.swap.max", "pids.max")] == ["max"] * 3
    assert read(bundle, "cpu.max") == "max 60000"


@covers("linux.resources.unified")
def test_unified_keys_are_written_as_they_are(bundle):
    bundle.linux["resources"]["unified"] = {"memory.high": str(48 << 20), "pids.max": "21"}
    bundle.sleeping()
    assert (read(bundle, "memory.high"), read(bundle, "pids.max")) == (str(48 << 20), "21")


def test_an_unknown_unified_key_is_refused(bundle):
    bundle.linux["resources"]["unified"] = {"memory.nothing": "1"}
    assert "memory.nothing" in bundle.refuses()


@pytest.mark.parametrize("memory, swap", [({"swap": 0}, "0"), ({"limit": 64 << 20, "swap": 0}, "max"), ({"limit": 64 << 20, "swap": 64 << 20}, "0")])
def test_no_swap(bundle, memory, swap):
    """0 beside a limit is what callers write who mean nothing by it."""
    bundle.linux["resources"]["memory"] = memory
    bundle.sleeping()
    assert read(bundle, "memory.swap.max") == swap


def test_swap_below_memory_is_refused(bundle):
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20, "swap": 32 << 20}
    assert "linux.resources.memory.swap" in bundle.refuses()


def test_pids_limit_is_felt(bundle):
    bundle.linux["resources"]["pids"] = {"limit": 1}
    assert "can't fork" in bundle.sh("(true); echo no").run(check=False).stderr


def test_exceeding_the_memory_limit_kills(bundle):
    bundle.linux["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    bundle.process["args"] = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
    assert bundle.run(check=False).returncode == 137


@covers("linux.resources.devices[].allow")
def test_a_forbidden_device_cannot_be_opened(bundle):
    bundle.all_capabilities()
    output = bundle.output("mknod /tmp/mem c 1 1 && cat /tmp/mem 2>&1 | head -c 100; rm /tmp/mem; cat /dev/null && echo null works")
    assert "Operation not permitted" in output and "null works" in output


def test_an_allowed_device_can_be_opened(bundle):
    bundle.all_capabilities()
    bundle.linux["resources"]["devices"] = [{"allow": False, "access": "rwm"},
                                            {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"}]
    assert bundle.output("mknod /tmp/kmsg c 1 11 && : >>/tmp/kmsg && echo opened; rm /tmp/kmsg") == "opened\n"


def test_statistics_have_every_controller(bundle):
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20}
    bundle.sleeping()
    data = json.loads(bundle.hydra("events", "--stats", bundle.id).stdout)["data"]
    assert data["pids"]["current"] == 1 and data["memory"]["usage"]["limit"] == 64 << 20 and data["memory"]["usage"]["usage"] > 0
