# SPDX-License-Identifier: Apache-2.0
"""Whatever is done to a unit, containers run on and no byte is lost."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from conftest import CONTAINERS, Counter, cgroup, ctl, inspect, main_pid, run, show, systemctl
from hosts import wait_for

UNITS = ("hydra.slice", "hydra-containers.service", "hydra-shutdown.service", "hydra-monitor.service", "hydrad.socket", "hydrad.service")
DEPOSITS = 5  # of a container: its process, both outputs, requests and the socket for these; besides, connections


def is_active(unit):
    return show(unit, "ActiveState") == "active"


def test_enabling_the_monitor_is_all_there_is_to_do(installed, rootfs):
    verified = run("systemd-analyze", "verify", *UNITS)
    assert verified.stdout + verified.stderr == ""
    assert [unit for unit in UNITS if is_active(unit)] == list(UNITS[:-1])
    assert "version" in ctl("daemon").stdout  # the first question starts hydrad
    assert is_active("hydrad.service")
    assert ctl("run", "--rm", "--rootfs", rootfs, "echo", "hello").stdout == "hello\n"


def test_containers_and_shims_have_a_unit_of_their_own(web):
    seen = inspect("web")
    assert cgroup(seen["pid"]) == "/hydra.slice/hydra-containers.service/containers/default/web"
    assert cgroup(seen["shimPid"]) == "/hydra.slice/hydra-containers.service/supervisors"
    assert (CONTAINERS / "cgroup.procs").read_text() == ""
    # what spares shims when memory runs out is not for containers
    assert pathlib.Path(f"/proc/{seen['shimPid']}/oom_score_adj").read_text() == "-900\n"
    assert pathlib.Path(f"/proc/{seen['pid']}/oom_score_adj").read_text() == "0\n"
    assert ctl("exec", "web", "cat", "/proc/self/oom_score_adj").stdout == "0\n"


@pytest.mark.parametrize("unit", ["hydra-containers.service", "hydra-shutdown.service", "hydra.slice"])
def test_the_units_of_containers_can_not_be_stopped(web, unit):
    for verb in ("stop", "restart"):
        assert "refused" in systemctl(verb, unit, check=False).stderr
    assert is_active(unit)
    web.is_running_on()


OPERATIONS = [
    *([verb, unit] for unit in ("hydra-monitor", "hydrad") for verb in ("restart", "kill", "kill --signal=KILL", "reload", "stop")),
    ["kill", "--kill-whom=main", "hydra-containers.service"],
    ["daemon-reload"],
    ["daemon-reexec"],
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_containers_do_not_notice(web, operation):
    assert "version" in ctl("daemon").stdout
    words = " ".join(operation).split()
    systemctl(*words)
    if words[0] == "stop":
        web.is_running_on()
        systemctl("start", words[1])
    web.is_running_on()
    if words[0] != "daemon-reload":
        wait_for(lambda: is_active("hydra-monitor"), "the monitor")
    assert "version" in ctl("daemon").stdout
    wait_for(lambda: int(show("hydra-monitor", "NFileDescriptorStore")) >= DEPOSITS, "what it deposited to be kept")
    assert "left-over" not in run("journalctl", "-b", "--no-pager", "-u", "hydra-monitor", "-u", "hydrad").stdout


def test_an_isolated_target_leaves_containers_alone(web):
    target = pathlib.Path("/run/systemd/system/alone.target")
    target.write_text("[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n")
    systemctl("daemon-reload")
    systemctl("isolate", "alone.target")
    assert not is_active("hydra-monitor")
    web.is_running_on()
    systemctl("start", "hydra-monitor", "hydrad.socket")
    target.unlink()


@pytest.mark.parametrize("downtime", ["crash", "stop"])
def test_the_monitor_and_the_shim_die_together(web, downtime):
    wait_for(lambda: int(show("hydra-monitor", "NFileDescriptorStore")) >= DEPOSITS, "what it deposited to be kept")
    shim = inspect("web")["shimPid"]
    if downtime == "crash":
        for pid in (main_pid("hydra-monitor"), shim):
            os.kill(pid, signal.SIGKILL)
    else:
        systemctl("stop", "hydra-monitor")
        os.kill(shim, signal.SIGKILL)
        systemctl("start", "hydra-monitor")
    wait_for(lambda: inspect("web")["shimPid"] != shim, "the successor")
    web.is_running_on()
    assert cgroup(inspect("web")["shimPid"]) == "/hydra.slice/hydra-containers.service/supervisors"


@contextlib.contextmanager
def settings(unit, *lines):
    """The unit runs with them."""
    drop_in = pathlib.Path(f"/run/systemd/system/{unit}.service.d/test.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("\n".join(["[Service]", *lines, ""]))
    systemctl("daemon-reload")
    systemctl("restart", unit)
    yield
    drop_in.unlink()
    drop_in.parent.rmdir()
    systemctl("daemon-reload")
    systemctl("restart", unit)


@pytest.mark.parametrize("unit", ["hydra-monitor", "hydrad"])
def test_what_hangs_is_started_anew(web, unit):
    with settings(unit, "WatchdogSec=3s", "TimeoutAbortSec=500ms"):
        before = main_pid(unit)
        os.kill(before, signal.SIGSTOP)
        wait_for(lambda: main_pid(unit) not in (0, before), f"another {unit}")
        assert "watchdog" in run("journalctl", "-b", "--no-pager", "-u", unit).stdout.lower()
        web.is_running_on()


def test_what_hydrad_was_asked_for_is_finished_when_it_is_restarted(installed, rootfs):
    faults = pathlib.Path("/run/faults")
    faults.mkdir()
    with settings("hydrad", f"Environment=HYDRA_FAULTS={faults}"):
        faults.joinpath("setup.bundle").write_text("stop")
        asker = subprocess.Popen(["hydractl", "create", "--name", "made", "--rootfs", rootfs, "true"], stderr=subprocess.DEVNULL)
        wait_for(faults.joinpath("setup.bundle.arrived").exists, "the worker")
        systemctl("restart", "hydrad")
        assert asker.wait(60) == 125
        workers = [pid for pid in map(int, (CONTAINERS / "supervisors/cgroup.procs").read_text().split())
                   if pathlib.Path(f"/proc/{pid}/comm").read_text() == "hydra-setup\n"]
        assert len(workers) == 1
        os.kill(workers[0], signal.SIGCONT)
        wait_for(lambda: inspect("made")["state"] == "created", "the worker to finish")
    ctl("rm", "-f", "made")
    shutil.rmtree(faults)


def test_a_reload_reads_the_log_level(installed):
    level = pathlib.Path("/etc/hydra/log-level")
    level.parent.mkdir(exist_ok=True)
    level.write_text("error\n")
    systemctl("reload", "hydra-monitor")
    level.unlink()
    systemctl("reload", "hydra-monitor")
    assert is_active("hydra-monitor")


@pytest.mark.parametrize("what, unit", [("daemon", "hydrad"), ("monitor", "hydra-monitor")])
def test_an_upgrade_keeps_the_unit_as_it_is(web, what, unit):
    assert "version" in ctl("daemon").stdout
    before = main_pid(unit)
    ctl("upgrade", what)
    systemctl("reload", unit)
    assert (main_pid(unit), is_active(unit)) == (before, True)
    assert "version" in ctl("daemon").stdout
    wait_for(lambda: int(show("hydra-monitor", "NFileDescriptorStore")) >= DEPOSITS, "what it deposited to be kept")


@pytest.mark.parametrize("helpers", ["with hydrad and the monitor", "alone"])
def test_a_container_outlives_the_session_that_started_it(installed, rootfs, helpers):
    if helpers == "alone":
        systemctl("stop", "hydrad.socket", "hydrad", "hydra-monitor")
    # what logind does with KillUserProcesses=yes when somebody logs out
    made = Counter("session", rootfs, by=("systemd-run", "--quiet", "--scope", "--unit=session-1", "--"))
    systemctl("stop", "session-1.scope", check=False)
    assert not is_active("session-1.scope")
    made.is_running_on()
    systemctl("start", "hydrad.socket", "hydra-monitor")
    ctl("stop", "session")
    made.assert_complete()
    ctl("rm", "session")
