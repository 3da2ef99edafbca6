# SPDX-License-Identifier: Apache-2.0
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from cluster import BUILD, COUNT, Cluster, lines, make_certificates, run, wait_for
from roots import make_rootfs

PROGRAMS = ("kinds", "obstacles", "ticker", "witness", "writer")


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory):
    path = tmp_path_factory.mktemp("rootfs")
    made = make_rootfs(path)
    for name in PROGRAMS:
        shutil.copy(BUILD / "checkpoint" / name, path / "bin" / name)
    return made


@pytest.fixture(scope="session")
def redis_rootfs(tmp_path_factory):
    return make_rootfs(tmp_path_factory.mktemp("redis"), "/usr/bin/redis-server")


@pytest.fixture
def on_disk():
    """A folder on a file system of a disk: the temporary ones are in memory."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="test-", dir=BUILD))
    try:
        kind = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()
        if kind not in ("ext2/ext3", "xfs", "btrfs", "f2fs"):
            pytest.skip(f"the build folder is on {kind}")
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return make_certificates(pathlib.Path(tmp_path_factory.mktemp("tls")) / "good", "a", "b", "c")


def show(cluster):
    for host in cluster.hosts:
        print(f"----- {host.name}\n{host.log('hydra-monitor')}")
        for path in host.path("/run/hydra/default").glob("*/*"):
            if path.name in ("shim.log", "checkpoint.log", "oci.log"):
                print(f"{path}:\n{path.read_text()[-3000:]}")
        for item in host.json("ps", "-a"):
            print(host.ctl("events", item["id"], check=False).stdout)


def started(cluster, request):
    with cluster:
        cluster.start()
        yield cluster
        if hasattr(request.node, "failed"):
            show(cluster)
        cluster.clean()


@pytest.fixture
def cluster(certificates, request):
    """Two hosts."""
    yield from started(Cluster(certificates), request)


@pytest.fixture
def ring(certificates, request):
    """Three hosts."""
    yield from started(Cluster(certificates, 3), request)


@pytest.fixture
def counter(cluster, rootfs):
    """The cluster, with a container on its first host that counts."""
    run(cluster.a, rootfs, "counter", "sh", "-c", COUNT)
    wait_for(lambda: len(lines(cluster.a, "counter")) > 3, "it to count")
    return cluster


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True
