# SPDX-License-Identifier: Apache-2.0
"""The cgroup manager systemd for an ordinary user, whose own systemd makes the units (scripts/vm --systemd)."""
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest
from conftest import HYDRA, PATIENCE_S, wait_until
from units import CGROUPS, IS_BOOTED, IS_HYBRID

pytestmark = pytest.mark.skipif(not IS_BOOTED or IS_HYBRID, reason="needs a machine that systemd booted (scripts/vm --systemd)")
ACCOUNT = pwd.getpwnam("games")  # of those that every system has, one that owns nothing
USER, GROUP = ACCOUNT.pw_uid, ACCOUNT.pw_gid
MANAGER = "hydratest-user.service"
RUNTIME_DIR = pathlib.Path(f"/run/user/{USER}")
NAME = "hydra-test-user"


def run(*command, check=True, **options):
    """Through files: a container that goes on keeps what it was given."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, timeout=PATIENCE_S, **options)
        for file in (stdout, stderr):
            file.seek(0)
        done = subprocess.CompletedProcess(command, done.returncode, stdout.read(), stderr.read())
    if check:
        assert done.returncode == 0, f"{command}: {done.returncode}: {done.stderr}"
    return done


class User:
    """What he runs belongs to a session, or to no unit of his systemd at all."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={folder}"]

    def does(self, *command, **options):
        return run("systemd-run", "--quiet", "--scope", f"--uid={USER}", f"--gid={GROUP}", *self.environment, *command, cwd=self.folder,
                   **options)

    def hydra(self, *args, **options):
        return self.does(str(HYDRA), "--cgroup-manager", "systemd", *args, **options)

    def unit(self, *names):
        shown = self.does(f"XDG_RUNTIME_DIR={RUNTIME_DIR}", "systemctl", "--user", "show", "--property", ",".join(names), f"hydra-{NAME}.scope")
        return dict(line.split("=", 1) for line in shown.stdout.splitlines())


@pytest.fixture
def user(tmp_path_factory):
    folder = pathlib.Path(f"/run/{NAME}")
    for path in (folder, RUNTIME_DIR):
        path.mkdir(parents=True)
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp"):
        (folder / "rootfs" / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "rootfs/bin/busybox")
    for applet in ("cat", "echo", "sh", "sleep"):
        (folder / "rootfs/bin" / applet).symlink_to("busybox")
    run("chown", "-R", f"{USER}:{GROUP}", folder, RUNTIME_DIR)
    yield User(folder)
    run("systemctl", "stop", MANAGER, check=False)
    for path in (folder, RUNTIME_DIR):
        shutil.rmtree(path)


@pytest.fixture
def manager(user):
    run("systemctl", "start", "dbus.socket")
    run("systemd-run", "--quiet", f"--unit={MANAGER}", f"--uid={USER}", f"--gid={GROUP}", "--property=Delegate=yes", "--service-type=notify",
        f"--setenv=XDG_RUNTIME_DIR={RUNTIME_DIR}", f"--setenv=HOME={user.folder}", "/usr/lib/systemd/systemd", "--user")
    return CGROUPS / "system.slice" / MANAGER


@pytest.fixture
def bundle(user):
    user.hydra("spec", "--rootless")
    path = user.folder / "config.json"
    config = json.loads(path.read_text())
    config["process"].update(terminal=False, args=["/bin/sleep", "100000"])
    config["root"] = {"path": "rootfs", "readonly": False}
    config["linux"]["cgroupsPath"] = f":hydra:{NAME}"
    config["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 20}}
    path.write_text(json.dumps(config))
    yield config
    user.hydra("delete", "--force", NAME)


def test_the_users_own_systemd_makes_the_scope(user, manager, bundle):
    user.hydra("run", "--detach", NAME)
    pid = json.loads(user.hydra("state", NAME).stdout)["pid"]
    path = pathlib.Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")
    cgroup = CGROUPS / path
    assert cgroup.is_relative_to(manager) and cgroup.name == f"hydra-{NAME}.scope" and cgroup.parent.name == "user.slice"
    assert user.unit("ActiveState", "MemoryMax", "TasksMax") == {"ActiveState": "active", "MemoryMax": str(64 << 20), "TasksMax": "20"}
    assert [(cgroup / file).read_text().strip() for file in ("memory.max", "pids.max")] == [str(64 << 20), "20"]
    assert user.hydra("exec", NAME, "/bin/cat", "/proc/self/cgroup").stdout in (f"0::/{path}\n", "0::/\n")
    user.hydra("update", "--memory", "32m", NAME)
    user.does(f"XDG_RUNTIME_DIR={RUNTIME_DIR}", "systemctl", "--user", "daemon-reload")
    assert (cgroup / "memory.max").read_text().strip() == str(32 << 20)
    user.hydra("pause", NAME)
    user.hydra("resume", NAME)
    user.hydra("delete", "--force", NAME)
    wait_until(lambda: not cgroup.exists(), "the end of the cgroup")
    assert user.unit("LoadState") == {"LoadState": "not-found"}


def test_root_of_a_user_namespace_has_the_users_systemd_too(user, manager, bundle):
    """As Podman calls a runtime for an ordinary user."""
    for kind in ("uidMappings", "gidMappings"):
        bundle["linux"][kind] = [{"containerID": 0, "hostID": 0, "size": 1}]
    (user.folder / "config.json").write_text(json.dumps(bundle))
    user.environment += [f"XDG_RUNTIME_DIR={RUNTIME_DIR}", "unshare", "--user", "--map-root-user"]
    user.hydra("run", "--detach", NAME)
    pid = json.loads(user.hydra("state", NAME).stdout)["pid"]
    cgroup = CGROUPS / pathlib.Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")
    assert cgroup.is_relative_to(manager) and cgroup.name == f"hydra-{NAME}.scope"
    user.hydra("update", "--memory", "32m", NAME)
    assert (cgroup / "memory.max").read_text().strip() == str(32 << 20)
    user.hydra("delete", "--force", NAME)
    wait_until(lambda: not cgroup.exists(), "the end of the cgroup")


def test_without_a_systemd_of_his_own_a_user_is_told_what_to_do(user, bundle):
    message = user.hydra("run", NAME, check=False).stderr
    assert "needs the user's own systemd" in message and "loginctl enable-linger" in message


BUS = {
    "dbus.socket": "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=%t/bus\n",
    "dbus.service": "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\n"
                    "ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation --syslog-only\n",
}


@pytest.fixture
def bus(user):
    """A message bus of the user's, as Debian's dbus-user-session would give him one."""
    units = RUNTIME_DIR / "systemd/user"
    units.mkdir(parents=True)
    for name, text in BUS.items():
        (units / name).write_text(text)
    run("chown", "-R", f"{USER}:{GROUP}", RUNTIME_DIR)


@pytest.fixture
def podman(user, bus, manager, tmp_path_factory):
    """Podman of the user, which has the manager of units that Podman takes where it has one: systemd."""
    ranges = tmp_path_factory.mktemp("ranges") / "subuid"
    ranges.write_text(f"{ACCOUNT.pw_name}:300000:65536\n")
    for name in ("subuid", "subgid"):
        run("mount", "--bind", ranges, f"/etc/{name}")
    user.environment += [f"XDG_RUNTIME_DIR={RUNTIME_DIR}"]
    user.does("systemctl", "--user", "start", "dbus.socket")
    user.does("tar", "-C", "rootfs", "-cf", "image.tar", ".")

    def podman(*args, **options):
        return user.does("podman", "--root", f"{user.folder}/storage", "--runroot", f"{user.folder}/runroot", "--storage-driver", "vfs",
                         "--cgroup-manager", "systemd", "--events-backend", "file", "--runtime", str(HYDRA), *args, **options)

    podman("import", f"{user.folder}/image.tar", "busybox")
    yield podman
    podman("rm", "--all", "--force", "--time", "0", check=False)
    podman("system", "migrate", check=False)
    for name in ("subuid", "subgid"):
        run("umount", f"/etc/{name}")


def test_podman_of_a_user_and_his_systemd(user, manager, podman):
    identity = podman("run", "--detach", "--name", "one", "--network", "none", "--memory", "64m", "busybox", "/bin/sleep", "100000").stdout.strip()
    pid = int(podman("inspect", "--format", "{{.State.Pid}}", "one").stdout)
    path = pathlib.Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")
    scope = CGROUPS / path[:path.index(".scope") + len(".scope")]
    assert scope.is_relative_to(manager) and scope.name == f"libpod-{identity}.scope"
    assert (scope / "memory.max").read_text().strip() == str(64 << 20)
    assert podman("exec", "one", "/bin/echo", "inside").stdout == "inside\n"
    podman("update", "--memory", "32m", "one")
    user.does("systemctl", "--user", "daemon-reload")
    assert (scope / "memory.max").read_text().strip() == str(32 << 20)
    podman("pause", "one")
    podman("unpause", "one")
    podman("kill", "one")
    assert podman("wait", "one").stdout == "137\n"
    podman("rm", "one")
    wait_until(lambda: not scope.exists(), "the end of the cgroup")
