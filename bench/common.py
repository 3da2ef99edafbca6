# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks that need whole hosts share: the host of the integration tests and a busybox root file system."""
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/integration/hydra"))

from hosts import Host, program, wait_for  # noqa: E402, F401


def make_rootfs(path):
    path.chmod(0o755)
    for folder in ("bin", "proc", "sys", "dev", "etc", "tmp"):
        (path / folder).mkdir()
    shutil.copy(shutil.which("busybox"), path / "bin/busybox")
    subprocess.run(["chroot", path, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    return str(path)


def start_idle(host, rootfs, count):
    for number in range(count):
        host.ctl("run", "-d", "--name", f"idle{number}", "--rootfs", rootfs, "sleep", "1000000")


def remove_idle(host, count):
    for number in range(count):
        host.ctl("rm", "-f", f"idle{number}", check=False)
