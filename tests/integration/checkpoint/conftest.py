# SPDX-License-Identifier: Apache-2.0
"""Containers made with runc, "hosts" made of namespaces, and a look around for leaks after each test."""
import ctypes
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time
import uuid

import pytest

BUILD = pathlib.Path(os.environ.get("HYDRA_BUILD", "/src/build"))
CHECKPOINT = str(BUILD / "checkpoint" / "hydra-checkpoint")
PAGER = str(BUILD / "checkpoint" / "hydra-pager")
DEADLINE = float(os.environ.get("HYDRA_TEST_DEADLINE", "60"))
PR_SET_CHILD_SUBREAPER = 36

libc = ctypes.CDLL(None, use_errno=True)


def wait_for(condition, what, deadline=DEADLINE):
    """Polls until condition() gives something true; the only place that looks at the clock."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:.0f} s for {what}")
        time.sleep(0.01)


def run(command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{command} failed with {done.returncode}: {done.stdout}{done.stderr}")
    return done


class Pipe:
    """One of a container's standard streams, with the lines that came so far."""

    def __init__(self):
        self.read_fd, self.write_fd = os.pipe()
        os.set_inheritable(self.read_fd, False)
        self.buffer = b""

    @property
    def key(self):
        return f"pipe:[{os.fstat(self.read_fd).st_ino}]"

    def line(self, prefix="", deadline=DEADLINE):
        """The next line that starts with prefix; others are dropped."""
        end = time.monotonic() + deadline
        while True:
            while b"\n" in self.buffer:
                text, self.buffer = self.buffer.split(b"\n", 1)
                if text.decode().startswith(prefix):
                    return text.decode()
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.read_fd], [], [], left)[0]:
                raise AssertionError(f"no line {prefix!r} within {deadline:.0f} s; there is {self.buffer!r}")
            data = os.read(self.read_fd, 65536)
            if not data:
                raise EOFError(f"stream ended before a line {prefix!r}")
            self.buffer += data

    def write(self, text):
        os.write(self.write_fd, text.encode())

    def close(self):
        for name in ("read_fd", "write_fd"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)


class Stdio:
    def __init__(self):
        self.stdin, self.stdout, self.stderr = Pipe(), Pipe(), Pipe()

    def ask(self, command, prefix):
        self.stdin.write(command + "\n")
        return self.stdout.line(prefix)

    def close(self):
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()


def make_rootfs(path):
    path.mkdir(parents=True)
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc", "data"):
        (path / name).mkdir()
    shutil.copy("/bin/busybox", path / "bin" / "busybox")
    for name in ("sh", "sleep", "cat", "echo", "stty", "kill"):
        (path / "bin" / name).symlink_to("busybox")
    for name in ("ticker", "worker", "writer"):
        shutil.copy(BUILD / "checkpoint" / name, path / "bin" / name)
    return path


def make_config(rootfs, args, net_namespace=None, terminal=False, mounts=(), ids=None):
    namespaces = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    namespaces.append({"type": "network", **({"path": net_namespace} if net_namespace else {})})
    mapping = [{"containerID": 0, "hostID": ids, "size": 65536}] if ids else []
    if ids:
        namespaces.append({"type": "user"})
    return {
        "ociVersion": "1.0.2",
        "process": {"terminal": terminal, "user": {"uid": 0, "gid": 0}, "args": list(args), "cwd": "/",
                    "env": ["PATH=/bin", "TERM=linux"]},
        "root": {"path": str(rootfs), "readonly": False},
        "hostname": "mover",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            *mounts,
        ],
        "linux": {"namespaces": namespaces, **({"uidMappings": mapping, "gidMappings": mapping} if ids else {}), "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]},
    }


def subreaper():
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(autouse=True)
def no_leaks():
    """Every test leaves the processes, mounts and network namespaces it found."""
    subreaper()
    with open("/proc/sys/fs/pipe-max-size", "r+") as limit:
        if int(limit.read()) < 1 << 30:
            limit.write(str(1 << 30))
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().count("\n")
    yield

    def reaped():
        try:
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            return True
        return False

    def strangers():
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in (1, os.getpid()):
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(word in line for word in ("hydra-", "criu", "ticker", "redis", "runc ")) and is_running(entry.name):
                found.append(line)
        return found

    wait_for(lambda: (reaped() or True) and not strangers(), f"processes to end: {strangers()}", 20)
    assert pathlib.Path("/proc/self/mountinfo").read_text().count("\n") == mounts, "a mount is left"


class Container:
    """A container under runc, or one that hydra-checkpoint restored."""

    def __init__(self, folder, args, name, terminal=False, mounts=(), net_namespace=None, rootfs=None, prefix=(), ids=None):
        self.name, self.folder, self.prefix = f"{name}-{uuid.uuid4().hex[:8]}", pathlib.Path(folder), list(prefix)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rootfs = rootfs or make_rootfs(self.folder / "rootfs")
        self.stdio = Stdio()
        config = make_config(self.rootfs, args, net_namespace, terminal, mounts, ids)
        (self.folder / "config.json").write_text(json.dumps(config))
        self.pid = None

    def start(self):
        command = [*self.prefix, "runc", "run", "--detach", "--bundle", str(self.folder), "--pid-file",
                   str(self.folder / "pid"), self.name]
        done = subprocess.run(command, stdin=self.stdio.stdin.read_fd, stdout=self.stdio.stdout.write_fd,
                              stderr=self.stdio.stderr.write_fd, timeout=60)
        assert done.returncode == 0, os.read(self.stdio.stderr.read_fd, 4096)
        self.pid = int((self.folder / "pid").read_text())
        return self

    def remove(self):
        run([*self.prefix, "runc", "delete", "--force", self.name], check=False)
        self.stdio.close()


@pytest.fixture
def container(tmp_path):
    made = []

    def make(*args, **options):
        made.append(Container(tmp_path / f"bundle{len(made)}", args, f"c{len(made)}", **options))
        return made[-1].start()

    yield make
    for one in made:
        one.remove()


@pytest.fixture
def kill_later():
    pids = []
    yield pids.append
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
