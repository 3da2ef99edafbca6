# SPDX-License-Identifier: Apache-2.0
"""Limits on cgroup v1 (the development machine) or v2, and their change."""
import json
import os
import pathlib

import pytest
from conftest import cgroup_dirs, covers, reap

IS_V2 = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()
v1_only = pytest.mark.skipif(IS_V2, reason="the host has cgroup v2")


def read(bundle, controller, file):
    base = pathlib.Path("/sys/fs/cgroup") if IS_V2 else pathlib.Path("/sys/fs/cgroup") / controller
    return (base / "hydra" / bundle.id / file).read_text().strip()


@v1_only
@covers("linux.resources.memory.limit", "linux.resources.memory.reservation", "linux.resources.memory.swap",
        "linux.resources.memory.swappiness", "linux.resources.cpu.shares", "linux.resources.cpu.quota", "linux.resources.cpu.period",
        "linux.resources.cpu.cpus", "linux.resources.cpu.mems", "linux.resources.pids.limit")
def test_limits_of_a_new_container(bundle):
    bundle.linux["resources"].update({
        "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 128 << 20, "swappiness": 10},
        "cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 33}})
    bundle.sleeping()
    assert read(bundle, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert read(bundle, "memory", "memory.memsw.limit_in_bytes") == str(128 << 20)
    assert read(bundle, "memory", "memory.soft_limit_in_bytes") == str(32 << 20)
    assert read(bundle, "memory", "memory.swappiness") == "10"
    assert read(bundle, "cpu", "cpu.shares") == "512"
    assert (read(bundle, "cpu", "cpu.cfs_quota_us"), read(bundle, "cpu", "cpu.cfs_period_us")) == ("20000", "50000")
    assert (read(bundle, "cpuset", "cpuset.cpus"), read(bundle, "cpuset", "cpuset.mems")) == ("0", "0")
    assert read(bundle, "pids", "pids.max") == "33"


@v1_only
@covers("linux.resources.cpu.burst", "linux.resources.cpu.idle", "linux.resources.memory.disableOOMKiller",
        "linux.resources.memory.useHierarchy", "linux.resources.memory.kernel", "linux.resources.memory.kernelTCP")
def test_rarer_limits_of_a_new_container(bundle):
    bundle.linux["resources"].update({
        "memory": {"disableOOMKiller": True, "useHierarchy": True, "kernel": 1 << 30, "kernelTCP": 1 << 30},
        "cpu": {"quota": 20000, "period": 50000, "burst": 10000}})
    bundle.sleeping()
    assert "oom_kill_disable 1" in read(bundle, "memory", "memory.oom_control")
    assert read(bundle, "cpu", "cpu.cfs_burst_us") == "10000"
    other = bundle.another()
    other.linux["resources"]["cpu"] = {"idle": 1}
    other.sleeping()
    assert read(other, "cpu", "cpu.idle") == "1"


@v1_only
@covers("linux.resources.memory.checkBeforeUpdate")
def test_a_limit_below_what_is_in_use_is_refused(bundle, wait):
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20, "swap": 64 << 20}
    bundle.mount("/data", "tmpfs", "tmpfs")
    bundle.sh("dd if=/dev/zero of=/data/x bs=1M count=16; touch /data/done; exec sleep 100000")
    pid = bundle.started()
    wait(lambda: os.path.exists(f"/proc/{pid}/root/data/done"))
    message = bundle.hydra.refuses("update", "-r", "-", bundle.id, input=json.dumps(
        {"memory": {"limit": 4 << 20, "swap": 64 << 20, "checkBeforeUpdate": True}}))
    assert "linux.resources.memory.limit: " in message and "Device or resource busy" in message
    assert read(bundle, "memory", "memory.limit_in_bytes") == str(64 << 20)


BLOCK_DEVICES = [path for path in pathlib.Path("/sys/block").iterdir() if path.name.startswith(("vd", "sd", "nvme", "loop"))]


@pytest.fixture
def weighed_device():
    """A block device whose scheduler knows weights."""
    loops = [path for path in BLOCK_DEVICES if path.name.startswith("loop") and (path / "size").read_text() == "0\n"]
    if not loops or "bfq" not in (loops[-1] / "queue" / "scheduler").read_text():
        pytest.skip("there is no loop device with BFQ")
    file = loops[-1] / "queue" / "scheduler"
    before = file.read_text().split("[")[1].split("]")[0]
    file.write_text("bfq")
    yield (loops[-1] / "dev").read_text().strip()
    file.write_text(before)


@v1_only
@covers("linux.resources.blockIO.weight", "linux.resources.blockIO.weightDevice[].major", "linux.resources.blockIO.weightDevice[].minor",
        "linux.resources.blockIO.weightDevice[].weight", "linux.resources.blockIO.weightDevice[].leafWeight",
        "linux.resources.blockIO.leafWeight")
def test_block_weights(bundle, weighed_device):
    major, minor = map(int, weighed_device.split(":"))
    bundle.linux["resources"]["blockIO"] = {"weight": 70, "weightDevice": [{"major": major, "minor": minor, "weight": 90}]}
    bundle.sleeping()
    assert read(bundle, "blkio", "blkio.bfq.weight").split()[-1] == "70"
    assert f"{weighed_device} 90" in read(bundle, "blkio", "blkio.bfq.weight_device")
    other = bundle.another()
    for limits, field in (({"leafWeight": 50}, "leafWeight"),
                          ({"weightDevice": [{"major": major, "minor": minor, "leafWeight": 50}]}, "weightDevice")):
        other.linux["resources"]["blockIO"] = limits
        assert f"linux.resources.blockIO.{field}: not supported by this kernel" in other.refuses()


@v1_only
@covers("linux.resources.blockIO.throttle…")
def test_block_throttles(bundle):
    device = (BLOCK_DEVICES[0] / "dev").read_text().strip()
    major, minor = map(int, device.split(":"))
    rates = {"ReadBps": 1000, "WriteBps": 2000, "ReadIOPS": 3000, "WriteIOPS": 4000}
    bundle.linux["resources"]["blockIO"] = {f"throttle{what}Device": [{"major": major, "minor": minor, "rate": rate}]
                                            for what, rate in rates.items()}
    bundle.sleeping()
    files = [f"blkio.throttle.{name}_device" for name in ("read_bps", "write_bps", "read_iops", "write_iops")]
    assert [read(bundle, "blkio", file) for file in files] == [f"{device} {rate}" for rate in rates.values()]


@covers("linux.resources.unified")
def test_files_of_the_unified_hierarchy(bundle):
    bundle.linux["resources"]["unified"] = {"cgroup.max.depth": "7", "cgroup.max.descendants": "9"}
    bundle.sleeping()
    base = pathlib.Path("/sys/fs/cgroup") / ("" if IS_V2 else "unified") / "hydra" / bundle.id
    assert [(base / f"cgroup.max.{what}").read_text().strip() for what in ("depth", "descendants")] == ["7", "9"]
    bundle.hydra("delete", "--force", bundle.id)
    absent = "the requested cgroup controller `foo` is not available" if IS_V2 else "cgroup v1 has the controllers"
    for key, message in (("cgroup.nothing", "linux.resources.unified: "), ("foo.bar", absent),
                         ("NOT-A-KEY", "the specified key has not the form CONTROLLER.VALUE `NOT-A-KEY`"), ("../x.y", "CONTROLLER.VALUE `../x.y`")):
        bundle.linux["resources"]["unified"] = {key: "1"}
        assert message in bundle.refuses()


@v1_only
def test_the_container_is_in_every_hierarchy(bundle):
    pid = bundle.sleeping()
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().split()
    assert all(line.endswith(f"/hydra/{bundle.id}") for line in lines), lines


@v1_only
@covers("linux.resources.devices[].…")
def test_device_rules_reach_the_kernel(bundle):
    bundle.linux["resources"]["devices"] = [{"allow": False, "access": "rwm"},
                                            {"allow": True, "type": "b", "major": 8, "minor": 1, "access": "r"}]
    bundle.sleeping()
    rules = read(bundle, "devices", "devices.list").splitlines()
    assert "b 8:1 r" in " ".join(rules) or any(rule.startswith("b 8:1") for rule in rules)
    assert "c 1:3 rwm" in rules and "a *:* rwm" not in rules


@v1_only
def test_update_by_options(bundle):
    bundle.sleeping()
    bundle.hydra("update", "--memory", "100m", "--memory-swap", "200m", "--pids-limit", "44", "--cpu-share", "256",
                 "--cpu-quota", "30000", "--cpu-period", "60000", "--cpuset-cpus", "0", bundle.id)
    assert read(bundle, "memory", "memory.limit_in_bytes") == str(100 << 20)
    assert read(bundle, "memory", "memory.memsw.limit_in_bytes") == str(200 << 20)
    assert read(bundle, "pids", "pids.max") == "44"
    assert read(bundle, "cpu", "cpu.shares") == "256"
    assert (read(bundle, "cpu", "cpu.cfs_quota_us"), read(bundle, "cpu", "cpu.cfs_period_us")) == ("30000", "60000")
    bundle.hydra("update", "--memory", "300m", "--memory-swap", "400m", bundle.id)
    bundle.hydra("update", "--memory=-1", "--cpu-quota=-1", "--pids-limit=-1", bundle.id)
    assert int(read(bundle, "memory", "memory.limit_in_bytes")) > 1 << 60
    assert int(read(bundle, "memory", "memory.memsw.limit_in_bytes")) > 1 << 60
    assert (read(bundle, "cpu", "cpu.cfs_quota_us"), read(bundle, "pids", "pids.max")) == ("-1", "max")


@v1_only
def test_update_from_standard_input(bundle):
    bundle.sleeping()
    bundle.hydra("update", "--resources=-", bundle.id, input=json.dumps({"pids": {"limit": 55}}))
    assert read(bundle, "pids", "pids.max") == "55"
    assert "resources.pids.limit: expected a whole number" in bundle.hydra.refuses(
        "update", "-r", "-", bundle.id, input='{"pids":{"limit":"x"}}')
    assert "is not a size" in bundle.hydra.refuses("update", "--memory", "lots", bundle.id)


@pytest.mark.skipif(not IS_V2, reason="the host has cgroup v1")
@covers("linux.resources.memory.swappiness", "linux.resources.memory.disableOOMKiller", "linux.resources.cpu.realtimeRuntime",
        "linux.resources.cpu.realtimePeriod", "linux.resources.network.…")
def test_what_only_cgroup_v1_has_is_refused(bundle):
    for field, value in (("memory", {"swappiness": 10}), ("memory", {"disableOOMKiller": True}), ("cpu", {"realtimeRuntime": 5}),
                         ("cpu", {"realtimePeriod": 5}), ("network", {"classID": 5})):
        bundle.linux["resources"] = {field: value}
        assert f"linux.resources.{field}.{list(value)[0]}: not supported by this kernel" in bundle.refuses()
    bundle.linux["resources"] = {}
    bundle.sleeping()
    message = bundle.hydra.refuses("update", "-r", "-", bundle.id, input=json.dumps({"memory": {"swappiness": 10}}))
    assert "linux.resources.memory.swappiness: not supported by this kernel" in message


def test_a_limit_the_kernel_refuses_is_one_message(bundle):
    bundle.linux["resources"]["cpu"] = {"cpus": "4095"}
    bundle.refuses()
    assert cgroup_dirs(bundle.id) == []


@covers("linux.cgroupsPath")
def test_relative_and_default_paths(bundle):
    bundle.linux["cgroupsPath"] = f"{bundle.id}"
    bundle.sleeping()
    assert cgroup_dirs(bundle.id)
    other = bundle.another()
    del other.linux["cgroupsPath"]
    other.sleeping()
    assert cgroup_dirs(other.id)


@pytest.mark.parametrize("path, message", [("/a/../../b", "contains '..'"), ("/", "is the root cgroup"),
                                           ("system.slice:hydra:x", "systemd")])
def test_bad_cgroup_paths(bundle, path, message):
    bundle.linux["cgroupsPath"] = path
    assert message in bundle.refuses()


@v1_only
@covers("linux.resources.pids.limit")
def test_pids_limit_is_felt(bundle):
    bundle.linux["resources"]["pids"] = {"limit": 1}
    assert "can't fork" in bundle.sh("(true); echo no").run(check=False).stderr


@v1_only
@covers("linux.resources.memory.limit")
def test_exceeding_the_memory_limit_kills(bundle):
    bundle.linux["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    bundle.process["args"] = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
    assert bundle.run(check=False).returncode == 137


def test_cgroups_the_container_made_are_removed_too(bundle, wait):
    bundle.all_capabilities()
    bundle.config["mounts"][-1]["options"] = ["rw"]
    if IS_V2:
        bundle.sh("mkdir -p /sys/fs/cgroup/a/b")
    else:
        bundle.sh("mkdir -p /sys/fs/cgroup/pids/a/b /sys/fs/cgroup/unified/c")
    assert bundle.run().stderr == ""
    assert cgroup_dirs(bundle.id) == []


def test_the_cgroup_mount_shows_only_the_container(bundle):
    pid = bundle.sh("cat /proc/self/cgroup; cat /sys/fs/cgroup/%s | wc -l" % ("cgroup.procs" if IS_V2 else "pids/cgroup.procs"))
    lines = bundle.run().stdout.split()
    assert all(line.endswith(":/") for line in lines[:-1]) and int(lines[-1]) >= 1, pid


def test_events(bundle):
    pid = bundle.sleeping()
    document = json.loads(bundle.hydra("events", "--stats", bundle.id).stdout)
    assert document["type"] == "stats" and document["id"] == bundle.id
    assert (IS_V2 or document["data"]["pids"]["current"] == 1) and document["data"]["cpu"]["usage"]["total"] > 0
    bundle.hydra("kill", bundle.id, "KILL")
    reap(pid)
    assert "not running" in bundle.hydra.refuses("events", "--stats", bundle.id)
