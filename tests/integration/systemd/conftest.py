# SPDX-License-Identifier: Apache-2.0
"""A machine that systemd booted (scripts/vm --systemd), with Hydra installed as an administrator does it."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "hydra"))
from hosts import BUILD, DEADLINE, wait_for  # noqa: E402

IS_BOOTED = pathlib.Path("/proc/1/comm").read_text().strip() == "systemd" and "HYDRA_VM" in os.environ
CONTAINERS = pathlib.Path("/sys/fs/cgroup/hydra.slice/hydra-containers.service")
COUNT = "trap 'echo end $i; exit 5' TERM; i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done"


def pytest_collection_modifyitems(items):
    for item in items:
        if not IS_BOOTED:
            item.add_marker(pytest.mark.skip(reason="needs a machine that systemd booted (scripts/vm --systemd)"))


def run(*command, check=True):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} failed with {done.returncode}: {done.stdout}{done.stderr}")
    return done


def systemctl(*arguments, **options):
    return run("systemctl", *arguments, **options)


def show(unit, name):
    return systemctl("show", "--value", "--property", name, unit).stdout.strip()


def main_pid(unit):
    return int(show(unit, "MainPID"))


def ctl(*arguments, **options):
    return run("hydractl", *arguments, **options)


def inspect(name):
    return json.loads(ctl("inspect", name).stdout)


def cgroup(pid):
    return pathlib.Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")


class Counter:
    """A container that counts, and is to be found as it was left."""

    def __init__(self, name, rootfs, *options, by=()):
        self.name = name
        run(*by, "hydractl", "run", "-d", "--name", name, "--rootfs", rootfs, *options, "sh", "-c", COUNT)
        self.pid = inspect(name)["pid"]

    def numbers(self):
        return ctl("logs", self.name).stdout.split()

    def is_running_on(self):
        """Its process is the same, its shim answers, and what it says arrives."""
        seen = wait_for(lambda: (now := inspect(self.name))["isReachable"] and now, f"the shim of {self.name}")
        assert (seen["state"], seen["pid"]) == ("running", self.pid)
        said = len(self.numbers())
        wait_for(lambda: len(self.numbers()) > said, f"further output of {self.name}")

    def assert_complete(self):
        """To be called when it was stopped: it said its last word, and nothing is missing."""
        *counted, end, last = self.numbers()
        assert counted == [str(number) for number in range(1, len(counted) + 1)]
        assert (end, last) == ("end", counted[-1])
        ended = inspect(self.name)["exit"]
        # how an adopted process ended, kernels before 6.15 do not tell
        assert ended["exitCode"] == 5 or not ended["isKnown"]


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory):
    path = tmp_path_factory.mktemp("rootfs")
    path.chmod(0o755)
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp"):
        (path / name).mkdir()
    shutil.copy("/bin/busybox", path / "bin/busybox")
    subprocess.run(["chroot", path, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    return str(path)


@pytest.fixture(scope="session")
def installed():
    run("meson", "install", "--no-rebuild", "--quiet", "-C", str(BUILD))
    systemctl("daemon-reload")
    systemctl("enable", "--now", "hydra-monitor")


@pytest.fixture
def web(installed, rootfs):
    made = Counter("web", rootfs)
    try:
        yield made
        ctl("stop", "web")
        made.assert_complete()
    finally:
        ctl("rm", "-f", "web")
    wait_for(lambda: show("hydra-monitor", "NFileDescriptorStore") in ("0", ""), "nothing to be kept")
