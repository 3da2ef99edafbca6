# SPDX-License-Identifier: Apache-2.0
"""The cgroup manager systemd, on a machine that systemd booted (scripts/vm --systemd)."""
import json
import os
import pathlib
import shutil
import socket
import subprocess

import pytest
from conftest import BUILD, PATIENCE_S, covers, wait_until
from units import CGROUPS, IS_BOOTED, IS_HYBRID, show, systemctl

pytestmark = pytest.mark.skipif(not IS_BOOTED or IS_HYBRID, reason="needs a machine that systemd booted (scripts/vm --systemd)")
UNLIMITED = "infinity"


def units():
    return systemctl("list-units", "--all", "--plain", "--no-legend", "hydra-test-*", "taken-*", "hydratest*")


@pytest.fixture(autouse=True)
def no_unit_is_left():
    assert units() == ""
    yield
    wait_until(lambda: units() == "", "the end of all units")


@pytest.fixture
def scope(hydra, bundle):
    """A bundle for systemd, with .unit and .cgroup."""
    hydra.options = ["--systemd-cgroup"]
    return prepare(bundle)


def prepare(bundle):
    bundle.unit = f"hydra-{bundle.id}.scope"
    bundle.cgroup = CGROUPS / "system.slice" / bundle.unit
    bundle.linux["cgroupsPath"] = f":hydra:{bundle.id}"
    return bundle


def read(bundle, file):
    return (bundle.cgroup / file).read_text().strip()


def annotate(bundle, **properties):
    bundle.config["annotations"] = {f"org.systemd.property.{name}": value for name, value in properties.items()}


@covers("linux.cgroupsPath")
def test_a_container_is_a_scope(scope):
    pid = scope.sleeping()
    assert pathlib.Path(f"/proc/{pid}/cgroup").read_text() == f"0::/system.slice/{scope.unit}\n"
    assert read(scope, "cgroup.procs") == str(pid)
    names = ("ActiveState", "Slice", "Delegate", "DefaultDependencies", "CollectMode", "MemoryAccounting", "TasksAccounting", "Transient")
    assert show(scope.unit, *names) == ["active", "system.slice", "yes", "no", "inactive-or-failed", "yes", "yes", "yes"]
    assert show(scope.unit, "Documentation") == f"file:{scope.hydra.root}/{scope.id}"
    scope.hydra("kill", scope.id, "KILL")
    scope.hydra("delete", "--force", scope.id)
    assert show(scope.unit, "LoadState") == "not-found" and not scope.cgroup.exists()


def test_the_default_is_a_scope_in_the_system_slice(scope):
    del scope.linux["cgroupsPath"]
    pid = scope.sleeping()
    assert pathlib.Path(f"/proc/{pid}/cgroup").read_text() == f"0::/system.slice/hydra-{scope.id}.scope\n"


def test_slices_are_nested(scope):
    scope.linux["cgroupsPath"] = f"hydratest-a-b.slice:pod:{scope.id}"
    pid = scope.sleeping()
    assert pathlib.Path(f"/proc/{pid}/cgroup").read_text() == \
        f"0::/hydratest.slice/hydratest-a.slice/hydratest-a-b.slice/pod-{scope.id}.scope\n"
    scope.hydra("delete", "--force", scope.id)
    assert show(f"pod-{scope.id}.scope", "LoadState") == "not-found"
    systemctl("stop", "hydratest.slice")  # a parent is not ours to remove: another's container may use it


def test_a_container_can_be_a_slice(scope):
    unit = "hydratest-" + scope.id.replace("-", "_") + ".slice"
    scope.linux["cgroupsPath"] = f"::{unit}"
    pid = scope.sleeping()
    assert pathlib.Path(f"/proc/{pid}/cgroup").read_text() == f"0::/hydratest.slice/{unit}\n"
    scope.hydra("delete", "--force", scope.id)
    assert show(unit, "ActiveState") == "inactive"
    systemctl("stop", "hydratest.slice")


LIMITS = {
    "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 128 << 20},
    "cpu": {"shares": 1024, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 33},
}
LIMIT_FILES = {"memory.max": str(64 << 20), "memory.low": str(32 << 20), "memory.swap.max": str(64 << 20), "cpu.weight": "39",
               "cpu.max": "20000 50000", "cpuset.cpus": "0", "cpuset.mems": "0", "pids.max": "33"}
LIMIT_PROPERTIES = {"MemoryMax": str(64 << 20), "MemoryLow": str(32 << 20), "MemorySwapMax": str(64 << 20), "CPUWeight": "39",
                    "CPUQuotaPerSecUSec": "400ms", "CPUQuotaPeriodUSec": "50ms", "AllowedCPUs": "0", "AllowedMemoryNodes": "0",
                    "TasksMax": "33"}


def limits_of(bundle):
    return {file: read(bundle, file) for file in LIMIT_FILES}


def test_limits_are_systemds_too_and_survive_a_reload(scope):
    scope.linux["resources"].update(LIMITS)
    scope.sleeping()
    assert limits_of(scope) == LIMIT_FILES
    assert dict(zip(LIMIT_PROPERTIES, show(scope.unit, *LIMIT_PROPERTIES))) == LIMIT_PROPERTIES
    systemctl("daemon-reload")
    assert limits_of(scope) == LIMIT_FILES


def test_what_systemd_has_no_property_for_is_kept_over_a_reload(scope):
    scope.linux["resources"].update({"cpu": {"quota": 20000, "period": 50000, "burst": 10000}})
    scope.linux["resources"]["unified"] = {"memory.high": str(48 << 20), "memory.oom.group": "1"}
    scope.sleeping()
    for _ in range(2):
        assert [read(scope, file) for file in ("cpu.max.burst", "memory.high", "memory.oom.group")] == ["10000", str(48 << 20), "1"]
        systemctl("daemon-reload")
    assert show(scope.unit, "MemoryHigh") == str(48 << 20)


@pytest.mark.parametrize("limit", [{"pids": {"limit": 1}}, {"unified": {"pids.max": "1"}}], ids=str)
def test_a_limit_of_one_process_leaves_room_for_the_container(scope, limit):
    scope.linux["resources"].update(limit)
    assert "can't fork" in scope.sh("(true); echo no").run(check=False).stderr


def test_update_changes_the_unit(scope):
    scope.linux["resources"].update(LIMITS)
    scope.sleeping()
    scope.hydra("update", "--memory", "32m", "--memory-swap", "48m", "--cpu-quota", "10000", "--pids-limit", "-1", scope.id)
    changed = {**LIMIT_FILES, "memory.max": str(32 << 20), "memory.swap.max": str(16 << 20), "cpu.max": "10000 50000", "pids.max": "max"}
    for _ in range(2):
        assert limits_of(scope) == changed
        systemctl("daemon-reload")
    assert show(scope.unit, "MemoryMax", "CPUQuotaPerSecUSec", "TasksMax") == [str(32 << 20), "200ms", UNLIMITED]


def test_devices_are_systemds_too(scope):
    scope.linux["resources"]["devices"] = [{"allow": False, "access": "rwm"},
                                           {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]
    scope.all_capabilities()
    pid = scope.sleeping()
    assert show(scope.unit, "DevicePolicy") == "strict"
    allowed = show(scope.unit, "DeviceAllow")
    script = "mknod /dev/d c 10 200 && head -c 1 /dev/d; result=$?; rm -f /dev/d; exit $result"
    for _ in range(2):
        refused = scope.hydra("exec", scope.id, "/bin/sh", "-c", script, check=False)
        assert refused.returncode != 0 and "Operation not permitted" in refused.stderr
        assert scope.hydra("exec", scope.id, "/bin/head", "-c", "0", "/dev/null").returncode == 0
        systemctl("daemon-reload")
    assert "10:229" in allowed and pid > 0


def test_annotations_are_properties(scope):
    annotate(scope, TimeoutStopSec="7", Description="'what I want'", CPUWeight="uint64 77", After="['dbus.socket']")
    scope.sleeping()
    found = show(scope.unit, "TimeoutStopUSec", "Description", "CPUWeight", "After")
    assert found[:3] == ["7s", "what I want", "77"] and "dbus.socket" in found[3].split()


def test_what_systemd_refuses_is_told(scope):
    annotate(scope, NoSuchProperty="true")
    message = scope.refuses()
    assert f"start unit '{scope.unit}': systemd: " in message and "NoSuchProperty" in message
    assert not (scope.hydra.root / scope.id).exists()


def test_every_command_works(scope):
    pid = scope.sleeping()
    hydra = scope.hydra
    assert hydra("exec", scope.id, "/bin/echo", "inside").stdout == "inside\n"
    hydra("pause", scope.id)
    assert hydra.state(scope.id)["status"] == "paused"
    hydra("resume", scope.id)
    assert json.loads(hydra("ps", "--format", "json", scope.id).stdout) == [pid]
    assert json.loads(hydra("events", "--stats", scope.id).stdout)["data"]["pids"]["current"] == 1
    hydra("kill", "--all", scope.id, "KILL")
    wait_until(lambda: hydra.state(scope.id)["status"] == "stopped", "the end")
    hydra("delete", scope.id)


def test_a_paused_container_is_deleted(scope):
    scope.sleeping()
    scope.hydra("pause", scope.id)
    scope.hydra("delete", "--force", scope.id)
    assert show(scope.unit, "LoadState") == "not-found"


def test_a_run_leaves_no_unit(scope):
    assert scope.sh("cat /proc/self/cgroup; exit 3").run(check=False).returncode == 3
    assert show(scope.unit, "LoadState") == "not-found"


def test_a_container_that_ended_by_itself_is_deleted(scope):
    scope.process["args"] = ["/bin/true"]
    scope.started()
    wait_until(lambda: scope.hydra.state(scope.id)["status"] == "stopped", "the end")
    scope.hydra("delete", scope.id)


def occupy(unit, *options):
    return subprocess.Popen(["systemd-run", "--quiet", "--scope", f"--unit={unit}", *options, "sleep", "100000"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_name_that_is_taken_is_told_and_left_alone(scope):
    scope.linux["cgroupsPath"] = f":taken:{scope.id}"
    unit = f"taken-{scope.id}.scope"
    other = occupy(unit)
    try:
        wait_until(lambda: show(unit, "ActiveState") == "active", "the other unit")
        assert f"start unit '{unit}': systemd has a unit of this name" in scope.refuses()
        scope.hydra("delete", "--force", scope.id)
        assert show(unit, "ActiveState") == "active" and other.poll() is None
    finally:
        systemctl("stop", unit, check=False)
        other.wait(PATIENCE_S)


def test_a_failed_unit_of_the_same_name_is_in_nobodys_way(scope):
    """A scope that had to be killed when its time was over has failed, and stays."""
    other = occupy(scope.unit, "--property=RuntimeMaxSec=100ms")
    other.wait(PATIENCE_S)
    wait_until(lambda: show(scope.unit, "ActiveState") == "failed", "the failure")
    scope.sleeping()
    assert show(scope.unit, "ActiveState") == "active"


POINTS = ["create-unit-wanted", "create-unit-started", "create-cgroup-made", "create-spawned", "create-ready", "create-committing"]


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_create_leaves_no_unit(scope, tmp_path, point):
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / point).write_text("kill")
    scope.save()
    result = scope.hydra("create", "--bundle", scope.path, scope.id, env={"HYDRA_FAULTS": str(faults)}, check=False)
    assert result.returncode == -9 and (faults / f"{point}.arrived").exists()
    wait_until(lambda: show(scope.unit, "ActiveState") == "inactive", "the end of the unit")
    scope.hydra("delete", "--force", scope.id)
    assert show(scope.unit, "LoadState") == "not-found" and not scope.cgroup.exists()
    scope.sleeping()


def children(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []


def test_a_create_that_is_killed_while_systemd_works_leaves_no_unit(scope):
    scope.save()
    for _ in range(3):
        create = subprocess.Popen(scope.hydra.command("create", "--bundle", scope.path, scope.id), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: children(create.pid), "hydra-systemd")
        create.kill()
        create.wait(PATIENCE_S)
        wait_until(lambda: show(scope.unit, "ActiveState") == "inactive", "the end of the unit")
        scope.hydra("delete", "--force", scope.id)
    scope.sleeping()


def test_a_unit_that_was_stopped_by_hand_is_a_container_that_ended(scope):
    """Who is the first process of a pid namespace does not mind SIGTERM: systemd has to kill it."""
    annotate(scope, TimeoutStopSec="0.2")
    scope.sleeping()
    systemctl("stop", scope.unit)
    wait_until(lambda: scope.hydra.state(scope.id)["status"] == "stopped", "the end")
    scope.hydra("delete", scope.id)


def test_a_killed_delete_is_finished_by_the_next(scope, tmp_path):
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "delete-unit-stopped").write_text("kill")
    scope.sleeping()
    assert scope.hydra("delete", "--force", scope.id, env={"HYDRA_FAULTS": str(faults)}, check=False).returncode == -9
    scope.hydra("delete", "--force", scope.id)


def test_a_bus_that_hangs_is_given_up(scope, tmp_path):
    """It accepts, and says nothing for ever."""
    path = tmp_path / "bus"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        message = scope.refuses(env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={path}"})
    assert "systemd did not answer within" in message or "speak to systemd" in message
    assert not (scope.hydra.root / scope.id).exists()


def test_a_bus_that_is_not_there_is_told(scope, tmp_path):
    message = scope.refuses(env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/none"})
    assert "systemd: No such file or directory" in message
    assert not (scope.hydra.root / scope.id).exists()


def test_the_bus_serves_as_well_as_the_socket_of_systemd_itself(scope):
    systemctl("start", "dbus.socket")
    scope.sleeping()
    assert show(scope.unit, "ActiveState") == "active"
    scope.hydra("update", "--memory", "32m", scope.id)
    scope.hydra("delete", "--force", scope.id)


@pytest.fixture
def podman(tmp_path, rootfs, hydra):
    image = tmp_path / "rootfs"
    shutil.copytree(rootfs, image, symlinks=True)
    systemctl("start", "dbus.socket")
    base = ["podman", "--root", f"{tmp_path}/storage", "--runroot", f"{tmp_path}/run", "--tmpdir", f"{tmp_path}/tmp", "--storage-driver", "vfs",
            "--cgroup-manager", "systemd", "--events-backend", "file", "--runtime", hydra.command()[0]]

    def call(*args, check=True):
        result = subprocess.run([*base, *args], capture_output=True, text=True, timeout=4 * PATIENCE_S, stdin=subprocess.DEVNULL)
        assert not check or result.returncode == 0, result.stderr
        return result

    call.rootfs = str(image)
    yield call
    call("rm", "--all", "--force", "--time", "0", check=False)
    subprocess.run(["umount", "-l", f"{tmp_path}/storage/vfs", f"{tmp_path}/storage"], capture_output=True, check=False)


def test_podman_with_systemd(podman):
    name = f"hydra-test-{os.getpid()}"
    podman("run", "--detach", "--name", name, "--network", "none", "--memory", "64m", "--rootfs", podman.rootfs, "/bin/sleep", "100000")
    pid, container = podman("inspect", "--format", "{{.State.Pid}} {{.Id}}", name).stdout.split()
    unit = f"libpod-{container}.scope"
    assert pathlib.Path(f"/proc/{pid}/cgroup").read_text() == f"0::/machine.slice/{unit}\n"
    assert show(unit, "ActiveState", "MemoryMax") == ["active", str(64 << 20)]
    assert podman("exec", name, "/bin/echo", "inside").stdout == "inside\n"
    podman("update", "--memory", "48m", name)
    assert show(unit, "MemoryMax") == str(48 << 20)
    podman("pause", name)
    podman("unpause", name)
    podman("stop", "--time", "0", name)
    podman("rm", name)
    wait_until(lambda: show(unit, "LoadState") == "not-found", "the end of the unit")


@pytest.mark.skipif(not (BUILD / "checkpoint" / "hydra-checkpoint").exists(), reason="hydra-checkpoint was not built")
def test_what_is_restored_is_a_scope_again(scope, tmp_path):
    scope.linux["resources"]["pids"] = {"limit": 33}
    pid = scope.sh("exec 2>/dev/null sleep 100000").started()
    wait_until(lambda: os.readlink(f"/proc/{pid}/fd/2") == "/dev/null", "the program")
    scope.hydra("checkpoint", "--image-path", tmp_path / "image", scope.id)
    assert show(scope.unit, "LoadState") == "not-found"
    scope.hydra.detached("restore", "--detach", "--image-path", tmp_path / "image", "--bundle", scope.path, scope.id)
    pid = scope.hydra.state(scope.id)["pid"]
    assert pathlib.Path(f"/proc/{pid}/cgroup").read_text() == f"0::/system.slice/{scope.unit}\n"
    assert show(scope.unit, "ActiveState", "TasksMax") == ["active", "33"] and read(scope, "pids.max") == "33"
