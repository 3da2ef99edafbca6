# SPDX-License-Identifier: Apache-2.0
"""Root file systems of busybox and of programs with their libraries."""
import os
import shutil
import subprocess


def make_rootfs(path, *programs):
    path.chmod(0o755)
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "data"):
        (path / name).mkdir()
    shutil.copy("/bin/busybox", path / "bin/busybox")
    subprocess.run(["chroot", path, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    for program in programs:
        words = subprocess.run(["ldd", program], capture_output=True, text=True).stdout.split()
        for name in [program, *[word for word in words if word.startswith("/")]]:
            (path / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(name), path / name[1:])
    return str(path)
