# SPDX-License-Identifier: Apache-2.0
"""A host for each test, a root file system for all, and a look at what each test left."""
import os
import pathlib
import shutil
import subprocess

import pytest

from hosts import Host, wait_for


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory):
    path = tmp_path_factory.mktemp("rootfs")
    path.chmod(0o755)
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "data"):
        (path / name).mkdir()
    shutil.copy("/bin/busybox", path / "bin/busybox")
    subprocess.run(["chroot", path, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    yield str(path)


@pytest.fixture
def host():
    with Host() as made:
        yield made
        for name in ("hydra-monitor", "hydrad"):
            made.kill(name)
            wait_for(lambda: not made.pids(name), f"{name} to be gone")  # a dying one still takes connections
        for name in [item["id"] for item in made.json("ps", "-a")]:
            made.ctl("rm", "-f", name, check=False)
        made.assert_clean()


@pytest.fixture
def daemon_host(host):
    host.start("hydra-monitor")
    wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
    return host


@pytest.fixture(params=["with a daemon", "without a daemon"])
def any_host(request, host):
    """What hydractl does must not depend on whether hydrad runs."""
    if request.param == "with a daemon":
        request.getfixturevalue("daemon_host")
    return host
