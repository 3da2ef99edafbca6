# SPDX-License-Identifier: Apache-2.0
"""Programs that people use an OCI runtime with, each with hydra in the place of runc or crun."""
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "hydra"))

BUILD = pathlib.Path(os.environ.get("HYDRA_BUILD", "/src/build"))
HYDRA = str(BUILD / "runtime" / "hydra")
PATIENCE_S = float(os.environ.get("HYDRA_TEST_DEADLINE", "60"))


def need(*programs):
    for program in programs:
        assert shutil.which(program), f"{program} is not installed: it is in scripts/packages"


def wait_until(claim, what):
    """For what cannot be waited on: looks again and again, gives up late."""
    deadline = time.monotonic() + PATIENCE_S
    while not (result := claim()):
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.01)
    return result


class Tool:
    """A program with the options that keep it in a folder of its own."""

    def __init__(self, *base, env=None):
        self.base, self.env = list(base), {**os.environ, **(env or {})}

    def __call__(self, *args, check=True, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run([*self.base, *map(str, args)], capture_output=True, text=True, timeout=2 * PATIENCE_S, env=self.env, **options)
        if check:
            assert result.returncode == 0, f"{args}: {result.returncode}: {result.stdout}{result.stderr}"
        return result

    def on_terminal(self, *args):
        """Exit status and what came to the terminal."""
        command = " ".join([*self.base, *map(str, args)])
        result = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, timeout=2 * PATIENCE_S,
                                stdin=subprocess.DEVNULL, env=self.env)
        return result.returncode, result.stdout.replace("\r", "").replace("^@", "").replace("^D\b\b", "")


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory):
    root = tmp_path_factory.mktemp("image") / "rootfs"
    for folder in ("bin", "etc", "tmp", "root", "proc", "dev", "sys", "data", "run"):
        (root / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin" / "busybox")
    subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return root


@pytest.fixture(autouse=True)
def nothing_is_left():
    """No mount, no cgroup, no process of a container."""
    mounts, cgroups = mount_points(), folders()
    yield
    wait_until(lambda: not mount_points() - mounts, f"the end of mounts: {mount_points() - mounts}")
    wait_until(lambda: not folders() - cgroups, f"the end of cgroups: {folders() - cgroups}")


def mount_points():
    return {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}


def folders():
    """Cgroups of containers; what podman makes above them stays for the next one."""
    return {path for parent in pathlib.Path("/sys/fs/cgroup").glob("*/libpod_parent") for path, _, _ in os.walk(parent)
            if "libpod-" in path and "conmon" not in path}
