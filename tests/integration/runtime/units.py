# SPDX-License-Identifier: Apache-2.0
"""systemd, as the tests of its cgroup manager ask it."""
import os
import pathlib
import subprocess

from conftest import PATIENCE_S

CGROUPS = pathlib.Path("/sys/fs/cgroup")
IS_BOOTED = pathlib.Path("/proc/1/comm").read_text().strip() == "systemd" and "HYDRA_VM" in os.environ
IS_HYBRID = (CGROUPS / "systemd").exists()


def systemctl(*args, check=True):
    done = subprocess.run(["systemctl", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S)
    if check:
        assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def show(unit, *names):
    lines = systemctl("show", "--property", ",".join(names), unit).splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return found[names[0]] if len(names) == 1 else [found.get(name) for name in names]
