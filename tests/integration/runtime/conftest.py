# SPDX-License-Identifier: Apache-2.0
"""Containers for the tests of `hydra`: a busybox rootfs, bundles, and the promise that nothing is left behind."""
import ctypes
import json
import os
import pathlib
import secrets
import select
import shutil
import signal
import subprocess
import time

import pytest

PATIENCE_S = float(os.environ.get("HYDRA_TEST_DEADLINE", "60"))
BUILD = pathlib.Path(os.environ.get("HYDRA_BUILD", "/src/build"))
HYDRA = BUILD / "runtime" / "hydra"
APPLETS = ("sh cat chmod cp date dd echo env false grep head hostname id kill ln ls mkdir mkfifo mknod mount nproc printf ps pwd readlink rm "
           "sed sleep sort stat stty tail test touch tr true tty umount uname wc").split()
PR_SET_CHILD_SUBREAPER = 36


def pytest_configure(config):
    """We adopt what a container's creator leaves, as conmon or a shim would."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def covers(*fields):
    """The fields of config.json whose effect the test shows, for docs/oci-coverage.md."""
    assert fields
    return lambda test: test


def wait_until(claim, what="the condition"):
    """For what cannot be waited on: looks again and again, gives up late."""
    deadline = time.monotonic() + PATIENCE_S
    while not (result := claim()):
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.005)
    return result


def reap(pid):
    """Exit status of an adopted or own child, by event, 128 + n for a signal."""
    pidfd = os.pidfd_open(pid)
    try:
        assert select.select([pidfd], [], [], PATIENCE_S)[0], f"process {pid} did not exit"
    finally:
        os.close(pidfd)
    return exit_code(os.waitpid(pid, 0)[1])


def exit_code(wait_status):
    return 128 + os.WTERMSIG(wait_status) if os.WIFSIGNALED(wait_status) else os.WEXITSTATUS(wait_status)


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory):
    root = tmp_path_factory.mktemp("image") / "rootfs"
    for folder in ("bin", "etc", "tmp", "root", "proc", "dev", "sys", "data"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    (root / "tmp").chmod(0o1777)
    return root


class Hydra:
    """The program with its own --root."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "state"
        self.options = []

    def command(self, *args):
        return [str(HYDRA), "--root", str(self.root), *self.options, *map(str, args)]

    def __call__(self, *args, check=True, env=None, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        result = subprocess.run(self.command(*args), capture_output=True, text=True, timeout=PATIENCE_S,
                                env={**os.environ, **(env or {})}, **options)
        if check:
            assert result.returncode == 0, f"{args}: {result.returncode}: {result.stderr}"
        return result

    def refuses(self, *args, status=1, **options):
        """Runs what must fail: one message on stderr, nothing on stdout. Returns the message."""
        result = self(*args, check=False, **options)
        assert result.returncode == status, (result.returncode, result.stderr)
        assert result.stdout == ""
        assert result.stderr.startswith("hydra: ") and result.stderr.count("\n") == 1, result.stderr
        return result.stderr

    def detached(self, *args, **options):
        """For commands whose container keeps their stdio: nothing is captured from it."""
        with open(self.folder / "stderr", "w+") as stderr:
            result = subprocess.run(self.command(*args), stdin=subprocess.DEVNULL, stdout=options.pop("stdout", subprocess.DEVNULL),
                                    stderr=stderr, timeout=PATIENCE_S, **options)
            stderr.seek(0)
            assert result.returncode == 0, stderr.read()

    def state(self, container):
        return json.loads(self("state", container).stdout)


def cgroup_dirs(name):
    return [str(path) for path in pathlib.Path("/sys/fs/cgroup").glob(f"*/hydra/{name}")] + \
           [str(path) for path in pathlib.Path("/sys/fs/cgroup").glob(f"hydra/{name}")]


def living_children():
    """Our children and what we adopted, zombies left out after reaping them."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid == 0:
            break
    own = os.getpid()
    return pathlib.Path(f"/proc/{own}/task/{own}/children").read_text().split()


class Bundle:
    """A container to be: change .config, then use hydra with .path and .id."""

    def __init__(self, path, container_id, rootfs, hydra):
        self.path, self.id, self.hydra = path, container_id, hydra
        path.mkdir()
        hydra("spec", "--bundle", path)
        self.config = json.loads((path / "config.json").read_text())
        self.config["root"] = {"path": str(rootfs), "readonly": False}
        self.process["terminal"] = False
        self.process["args"] = ["/bin/true"]
        self.linux["cgroupsPath"] = f"/hydra/{container_id}"

    @property
    def process(self):
        return self.config["process"]

    @property
    def linux(self):
        return self.config["linux"]

    def sh(self, script):
        self.process["args"] = ["/bin/sh", "-c", script]
        return self

    def capabilities(self, *names):
        self.process["capabilities"] = {kind: list(names) for kind in ("bounding", "effective", "permitted")}
        return self

    def all_capabilities(self):
        features = json.loads(self.hydra("features").stdout)
        return self.capabilities(*(name for name in features["linux"]["capabilities"] if name != "CAP_SYS_RESOURCE"))

    def mount(self, destination, kind, source, *options):
        self.config["mounts"].append({"destination": destination, "type": kind, "source": source, "options": list(options)})
        return self

    def user_namespace(self):
        self.linux["namespaces"].append({"type": "user"})
        self.linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        self.linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        return self

    def save(self):
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self

    def run(self, *options, **more):
        self.save()
        return self.hydra("run", "--bundle", self.path, *options, self.id, **more)

    def refuses(self, *options, **more):
        self.save()
        return self.hydra.refuses("run", "--bundle", self.path, *options, self.id, **more)

    def output(self, script):
        return self.sh(script).run().stdout

    def create(self, *options, **more):
        self.save()
        self.hydra.detached("create", "--bundle", self.path, *options, self.id, **more)
        return self.hydra.state(self.id)["pid"]

    def started(self, *options, **more):
        pid = self.create(*options, **more)
        self.hydra("start", self.id)
        return pid

    def sleeping(self):
        """A running container that does nothing until it is killed; its pid."""
        self.process["args"] = ["/bin/sleep", "100000"]
        return self.started()


@pytest.fixture
def hydra(tmp_path):
    return Hydra(tmp_path)


@pytest.fixture
def bundle(tmp_path, rootfs, hydra):
    made = []
    mounts_before = pathlib.Path("/proc/self/mountinfo").read_text()

    def make():
        made.append(Bundle(tmp_path / f"bundle{len(made)}", f"test-{os.getpid()}-{secrets.token_hex(4)}", rootfs, hydra))
        return made[-1]

    first = make()
    first.another = make
    yield first
    for each in made:
        hydra("delete", "--force", each.id)
    assert_nothing_is_left(hydra, made, mounts_before)


def assert_nothing_is_left(hydra, bundles, mounts_before):
    wait_until(lambda: not living_children(), "the end of all processes")
    assert pathlib.Path("/proc/self/mountinfo").read_text() == mounts_before
    left = os.listdir(hydra.root) if hydra.root.exists() else []
    assert left == [], f"state is left: {left}"
    for each in bundles:
        assert cgroup_dirs(each.id) == []


@pytest.fixture
def wait():
    return wait_until
