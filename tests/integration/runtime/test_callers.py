# SPDX-License-Identifier: Apache-2.0
"""Hydra under the programs that people use it with."""
import os
import shutil
import subprocess

import pytest
from conftest import HYDRA, PATIENCE_S


class Podman:
    def __init__(self, folder, rootfs):
        self.base = ["podman", "--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp",
                     "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", str(HYDRA)]
        self.rootfs = rootfs

    def __call__(self, *args, check=True):
        result = subprocess.run([*self.base, *args], capture_output=True, text=True, timeout=2 * PATIENCE_S, stdin=subprocess.DEVNULL)
        if check:
            assert result.returncode == 0, result.stderr
        return result


@pytest.fixture
def podman(tmp_path, rootfs):
    assert shutil.which("podman") and shutil.which("conmon"), "podman is not installed: it is in scripts/packages"
    image = tmp_path / "rootfs"
    shutil.copytree(rootfs, image, symlinks=True)
    podman = Podman(tmp_path, image)
    yield podman
    podman("rm", "--all", "--force", "--time", "0", check=False)
    subprocess.run(["umount", "-l", f"{tmp_path}/storage/vfs", f"{tmp_path}/storage"], capture_output=True, check=False)


def test_podman_runs_executes_and_removes(podman):
    out = podman("run", "--rm", "--network", "none", "--rootfs", str(podman.rootfs), "/bin/echo", "hello")
    assert out.stdout == "hello\n"
    name = f"hydra-test-{os.getpid()}"
    podman("run", "--detach", "--name", name, "--network", "none", "--memory", "64m", "--rootfs", str(podman.rootfs), "/bin/sleep", "100000")
    assert podman("exec", name, "/bin/echo", "inside").stdout == "inside\n"
    assert podman("exec", name, "/bin/sh", "-c", "exit 4", check=False).returncode == 4
    podman("pause", name)
    podman("unpause", name)
    podman("stop", "--time", "0", name)
    assert podman("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip() == "137"
    podman("rm", name)


def test_podman_sees_a_missing_program_as_127(podman):
    result = podman("run", "--rm", "--network", "none", "--rootfs", str(podman.rootfs), "/no/such", check=False)
    assert result.returncode == 127, result.stderr
