# SPDX-License-Identifier: Apache-2.0
"""The cgroup manager systemd where systemd uses cgroup v1 for controllers (scripts/vm --hybrid)."""
import pathlib

import pytest
from conftest import wait_until
from units import CGROUPS, IS_BOOTED, IS_HYBRID, show, systemctl

pytestmark = pytest.mark.skipif(not IS_BOOTED or not IS_HYBRID, reason="needs a machine that systemd booted with cgroup v1 (scripts/vm --hybrid)")
LIMITS = {"pids/pids.max": "33", "cpu,cpuacct/cpu.shares": "512", "cpu,cpuacct/cpu.cfs_quota_us": "20000",
          "cpu,cpuacct/cpu.cfs_period_us": "50000"}


@pytest.fixture
def scope(hydra, bundle):
    hydra.options = ["--systemd-cgroup"]
    bundle.unit = f"hydra-{bundle.id}.scope"
    bundle.linux["cgroupsPath"] = f":hydra:{bundle.id}"
    bundle.linux["resources"].update({"pids": {"limit": 33}, "cpu": {"shares": 512, "quota": 20000, "period": 50000}})
    return bundle


def read(bundle, file):
    controller, name = file.split("/")
    return (CGROUPS / controller / "system.slice" / bundle.unit / name).read_text().strip()


def limits(bundle):
    return {file: read(bundle, file) for file in LIMITS}


def test_a_scope_is_in_every_hierarchy(scope):
    pid = scope.sleeping()
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert {line.split(":")[2] for line in lines} == {f"/system.slice/{scope.unit}"} and len(lines) > 5
    assert show(scope.unit, "ControlGroup", "DevicePolicy", "TasksMax", "CPUShares") == [f"/system.slice/{scope.unit}", "strict", "33", "512"]
    scope.hydra("pause", scope.id)
    scope.hydra("resume", scope.id)
    assert scope.hydra("exec", scope.id, "/bin/echo", "inside").stdout == "inside\n"
    scope.hydra("delete", "--force", scope.id)
    wait_until(lambda: show(scope.unit, "LoadState") == "not-found", "the end of the unit")
    assert not list(CGROUPS.glob(f"*/system.slice/{scope.unit}"))


def test_limits_survive_a_reload(scope):
    scope.sleeping()
    devices = sorted(read(scope, "devices/devices.list").splitlines())
    for expected in (LIMITS, {**LIMITS, "pids/pids.max": "44", "cpu,cpuacct/cpu.cfs_quota_us": "10000"}):
        assert limits(scope) == expected
        systemctl("daemon-reload")
        assert limits(scope) == expected
        assert sorted(read(scope, "devices/devices.list").splitlines()) == devices and "a *:* rwm" not in devices
        scope.hydra("update", "--pids-limit", "44", "--cpu-quota", "10000", scope.id)
