# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import shutil
import subprocess

import pytest

from cluster import BUILD, Cluster, make_certificates

TICKER = BUILD / "checkpoint" / "ticker"


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


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory):
    path = tmp_path_factory.mktemp("rootfs")
    made = make_rootfs(path)
    shutil.copy(TICKER, path / "bin/ticker")
    return made


@pytest.fixture(scope="session")
def redis_rootfs(tmp_path_factory):
    return make_rootfs(tmp_path_factory.mktemp("redis"), "/usr/bin/redis-server")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return make_certificates(pathlib.Path(tmp_path_factory.mktemp("tls")) / "good", "a", "b")


@pytest.fixture
def cluster(certificates, request):
    with Cluster(certificates) as made:
        made.start()
        yield made
        if hasattr(request.node, "failed"):
            print(made.a.log("hydra-monitor"), "-----", made.b.log("hydra-monitor"))
        made.clean()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True
