# SPDX-License-Identifier: Apache-2.0
"""Containers of an ordinary user, who has no capability and no cgroup but those that a test gives him."""
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile

import pytest
from conftest import HYDRA, PATIENCE_S, Bundle, Hydra, assert_nothing_is_left, covers, living_children, reap, wait_until
from test_exec import ConsoleSocket, read_until

UID, GID, SUB = 54321, 54322, 300000
RANGES = [{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": SUB, "size": 65536}]
GROUPS = [{"containerID": 0, "hostID": GID, "size": 1}, {"containerID": 1, "hostID": SUB, "size": 65536}]
# over the host's files, for nobody but this command
ENTER = "while [ $1 != -- ]; do mount --bind $1 $2; shift 2; done; shift; exec \"$@\""
UNIFIED = pathlib.Path("/sys/fs/cgroup" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "/sys/fs/cgroup/unified")


class User(Hydra):
    """The program as a user runs it, with its default --root."""

    def __init__(self, folder):
        super().__init__(folder)
        self.root = folder / "run" / "hydra"
        self.covered, self.before = {}, []
        (folder / "run").mkdir()
        self.provide("/etc/passwd", f"root:x:0:0::/root:/bin/sh\nhydra-user:x:{UID}:{GID}::/:/bin/sh\n")
        self.provide("/etc/group", f"root:x:0:\nhydra-user:x:{GID}:\n")
        self.provide("/etc/subuid", f"hydra-user:{SUB}:65536\n")
        self.provide("/etc/subgid", f"hydra-user:{SUB}:65536\n")

    def provide(self, path, text):
        file = self.folder / path.replace("/", "-")
        file.write_text(text)
        self.covered[path] = file

    def command(self, *args):
        covers_ = [str(word) for path, file in self.covered.items() for word in (file, path)]
        return ["unshare", "--mount", "sh", "-ec", ENTER, "sh", *covers_, "--", *self.before, "setpriv", f"--reuid={UID}", f"--regid={GID}",
                "--clear-groups", "--inh-caps=-all", "env", f"XDG_RUNTIME_DIR={self.folder}/run", str(HYDRA), *map(str, args)]


@pytest.fixture(scope="module")
def home(rootfs):
    """pytest's own folders are root's alone."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hydra-rootless-"))
    shutil.copytree(rootfs, folder / "image", symlinks=True)
    own(folder)
    yield folder
    shutil.rmtree(folder)


def own(folder):
    subprocess.run(["chown", "-hR", f"{UID}:{GID}", folder], check=True)


class RootlessBundle(Bundle):
    def __init__(self, path, user, image):
        path.mkdir()
        own(path)
        self.path, self.id, self.hydra = path, f"rootless-{secrets.token_hex(4)}-{path.name}", user
        user("spec", "--rootless", "--bundle", path)
        self.config = json.loads((path / "config.json").read_text())
        self.config["root"] = {"path": str(image)}
        self.process["terminal"] = False
        self.process["args"] = ["/bin/true"]

    def ranges(self):
        self.linux.update(uidMappings=RANGES, gidMappings=GROUPS)
        return self


@pytest.fixture
def user(home):
    folder = home / "user"
    folder.mkdir()
    made = User(folder)
    own(folder)
    yield made
    shutil.rmtree(folder)


@pytest.fixture
def bundle(user, home):
    mounts = pathlib.Path("/proc/self/mountinfo").read_text()
    made = []

    def make():
        made.append(RootlessBundle(user.folder / f"bundle{len(made)}", user, home / "image"))
        return made[-1]

    first = make()
    first.another = make
    yield first
    for each in made:
        user("delete", "--force", each.id)
    assert_nothing_is_left(user, made, mounts)


def status_of(pid, *names):
    lines = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return [[int(word) for word in lines[name].split()] for name in names]


def test_a_user_alone_is_root_inside_and_himself_outside(bundle, home):
    out = bundle.output("id -u; cat /proc/self/uid_map /proc/self/setgroups; touch /data/file; ls /proc/self/fd | wc -l; echo x >/dev/null && echo ok")
    assert out.split() == ["0", "0", str(UID), "1", "deny", "4", "ok"]
    made = (home / "image" / "data" / "file").stat()
    assert (made.st_uid, made.st_gid) == (UID, GID)
    assert bundle.hydra.root.stat().st_mode & 0o7777 == 0o1700, "the folder is the user's, and cleaners leave it alone"


def test_ranges_come_from_newuidmap(bundle):
    bundle.ranges().process["user"] = {"uid": 1000, "gid": 100, "additionalGids": [5, 7]}
    pid = bundle.sleeping()
    uids, gids, groups = status_of(pid, "Uid", "Gid", "Groups")
    assert (set(uids), set(gids), groups) == ({SUB + 999}, {SUB + 99}, [SUB + 4, SUB + 6])
    assert pathlib.Path(f"/proc/{pid}/setgroups").read_text() == "allow\n"
    assert bundle.hydra("exec", bundle.id, "id").stdout == "uid=1000(user) gid=100 groups=5,7\n"
    assert bundle.hydra("exec", "--user", "0:0", bundle.id, "id", "-u").stdout == "0\n"
    bundle.hydra("kill", bundle.id, "KILL")
    assert reap(pid) == 137


def test_root_inside_can_be_somebody_else_than_the_user(bundle, home):
    """What Podman calls keep-id; the image's folder is closed to who is root in there."""
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": SUB, "size": 1000}, {"containerID": 1000, "hostID": UID, "size": 1},
                                   {"containerID": 1001, "hostID": SUB + 1000, "size": 64536}]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": SUB, "size": 1000}, {"containerID": 1000, "hostID": GID, "size": 1},
                                   {"containerID": 1001, "hostID": SUB + 1000, "size": 64536}]
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    closed = bundle.path / "closed"
    (closed / "open").mkdir(parents=True)
    (closed / "open" / "file").write_text("here\n")
    own(closed)
    closed.chmod(0o700)
    bundle.mount("/data", "bind", str(closed / "open"), "bind", "ro")
    home.chmod(0o700)
    assert bundle.output("id -u; stat -c %u /bin/busybox; cat /data/file; touch /data/x || echo refused").split() == ["1000", "1000", "here", "refused"]
    pid = bundle.another().sleeping()
    assert set(status_of(pid, "Uid")[0]) == {UID}


def is_executing(bundle, *words):
    """One of the container's processes has become this program: killed earlier, it would be exec that fails."""
    pids = json.loads(bundle.hydra("ps", "--format", "json", bundle.id).stdout)
    return "\0".join(words) + "\0" in [pathlib.Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]


def test_commands_without_a_cgroup(bundle):
    pid = bundle.create()
    assert bundle.hydra.state(bundle.id) | {"created": ""} == {"ociVersion": "1.3.0", "id": bundle.id, "pid": pid, "status": "created",
        "bundle": str(bundle.path), "rootfs": bundle.config["root"]["path"], "created": "", "owner": f"#{UID}"}
    other = bundle.another()
    other.process["args"] = ["/bin/sleep", "100000"]
    pid = other.started()
    with subprocess.Popen(other.hydra.command("exec", other.id, "/bin/sleep", "99999"), stdin=subprocess.DEVNULL) as execed:
        wait_until(lambda: is_executing(other, "/bin/sleep", "99999"))
        assert len(json.loads(other.hydra("ps", "--format", "json", other.id).stdout)) == 2
        assert "sleep 99999" in other.hydra("ps", other.id).stdout
        assert "no cgroup" in other.hydra.refuses("pause", other.id) and "no cgroup" in other.hydra.refuses("events", "--stats", other.id)
        assert "no cgroup" in other.hydra.refuses("update", "--memory", "64m", other.id)
        assert {each["id"] for each in json.loads(other.hydra("list", "--format", "json").stdout)} == {bundle.id, other.id}
        other.hydra("kill", "--all", other.id, "KILL")
        assert execed.wait(PATIENCE_S) == 137
    assert reap(pid) == 137
    assert other.hydra("ps", "--format", "json", other.id).stdout == "[]\n"


def without_namespace(bundle):
    bundle.linux["namespaces"] = [each for each in bundle.linux["namespaces"] if each["type"] != "user"]
    del bundle.linux["uidMappings"], bundle.linux["gidMappings"]


def without_helper(bundle):
    bundle.ranges()
    for folder in ("/usr/bin", "/bin"):
        bundle.hydra.provide(f"{folder}/newuidmap", "no program")


def told_elsewhere(bundle):
    """What a file says is not asked then, but newgidmap."""
    bundle.ranges().hydra.provide("/etc/subgid", "hydra-user:1:2\n")
    bundle.hydra.provide("/etc/nsswitch.conf", "passwd: files\nsubid: files\n")


REFUSALS = [
    (without_namespace, "linux.namespaces: without a user namespace this takes root"),
    (without_helper, "linux.uidMappings: more than the own id needs the program newuidmap, which was not found (package uidmap)"),
    (lambda b: b.ranges().hydra.provide("/etc/subgid", "hydra-user:1:2\n"),
     "linux.gidMappings[1].hostID: /etc/subgid does not give 300000 to 365535 to user 54321; `usermod --add-subgids FIRST-LAST hydra-user` adds"),
    (told_elsewhere, "linux.gidMappings: newgidmap: "),
    (lambda b: b.process["user"].update(uid=5), "process.user.uid: 5 is not among linux.uidMappings"),
    (lambda b: b.process["user"].update(additionalGids=[0]), "process.user.additionalGids: not possible when an ordinary user maps"),
    (lambda b: b.mount("/data", "tmpfs", "tmpfs", "mode=700", "gid=5"), "options[1]: 5 is not among linux.gidMappings"),
    (lambda b: b.linux.update(resources={"pids": {"limit": 5}}), "limits need a cgroup (v2) that user 54321 may write to"),
    (lambda b: b.linux.update(cgroupsPath="/mine", resources={"pids": {"limit": 5}}),
     "limits need a cgroup (v2)" if UNIFIED.name == "unified" else "/mine: permission denied"),
    (lambda b: b.linux.update(cgroupsPath="mine"), "linux.cgroupsPath: 'mine': user 54321 may not write to a cgroup"),
    (lambda b: b.ranges().mount("/data", "bind", str(b.path), "bind", "idmap"), "].options: only root can map the ids of a mount"),
]


@pytest.mark.parametrize("change, message", REFUSALS, ids=lambda value: value[:30] if isinstance(value, str) else "")
def test_what_a_user_cannot_have_is_refused_before_anything_is_made(bundle, change, message):
    change(bundle)
    assert message in bundle.refuses()
    assert os.listdir(bundle.hydra.root) == []


@pytest.fixture
def cgroup():
    """One that was handed over to the user, with one in it that he is in: what systemd does for a session."""
    outer = UNIFIED / f"hydra-test-{secrets.token_hex(4)}"
    (outer / "session").mkdir(parents=True)
    for folder in (outer, outer / "session"):
        for path in (folder, *(folder / name for name in ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control"))):
            os.chown(path, UID, GID)
    yield outer
    wait_until(lambda: not (outer / "session" / "cgroup.procs").read_text())
    (outer / "session").rmdir()
    outer.rmdir()


def test_a_cgroup_that_was_handed_over_is_used(cgroup, bundle):
    bundle.hydra.before = ["sh", "-c", f"echo 0 >{cgroup}/session/cgroup.procs; exec \"$@\"", "sh"]
    bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    pid = bundle.sleeping()
    inside = cgroup / f"hydra-{bundle.id}"
    assert inside.joinpath("cgroup.procs").read_text().split() == [str(pid)]
    with subprocess.Popen(bundle.hydra.command("exec", bundle.id, "/bin/sleep", "99999"), stdin=subprocess.DEVNULL) as execed:
        wait_until(lambda: is_executing(bundle, "/bin/sleep", "99999"))
        assert len(json.loads(bundle.hydra("ps", "--format", "json", bundle.id).stdout)) == 2
        bundle.hydra("pause", bundle.id)
        assert bundle.hydra.state(bundle.id)["status"] == "paused"
        bundle.hydra("resume", bundle.id)
        bundle.hydra("kill", "--all", bundle.id, "KILL")
        assert execed.wait(PATIENCE_S) == 137
    assert reap(pid) == 137
    bundle.hydra("delete", bundle.id)
    assert not inside.exists()


@pytest.mark.skipif("pids" not in (UNIFIED / "cgroup.controllers").read_text().split(), reason="the number of processes is limited by cgroup v1 here")
def test_limits_are_kept_in_a_cgroup_that_was_handed_over(cgroup, bundle):
    (UNIFIED / "cgroup.subtree_control").write_text("+pids")
    bundle.hydra.before = ["sh", "-c", f"echo 0 >{cgroup}/session/cgroup.procs; exec \"$@\"", "sh"]
    bundle.linux["resources"] = {"pids": {"limit": 3}}
    pid = bundle.sleeping()
    limit = cgroup / f"hydra-{bundle.id}" / "pids.max"
    assert limit.read_text() == "3\n"
    bundle.hydra("update", "--pids-limit", "7", bundle.id)
    assert limit.read_text() == "7\n"
    assert json.loads(bundle.hydra("events", "--stats", bundle.id).stdout)["data"]["pids"] == {"current": 1, "limit": 7}
    bundle.hydra("kill", bundle.id, "KILL")
    assert reap(pid) == 137


def test_devices_and_what_the_host_shows(bundle):
    """The network is the host's here, so is what sysfs tells of it; a pipe is no device."""
    bundle.config["mounts"] = [each for each in bundle.config["mounts"] if each["destination"] != "/sys"]
    bundle.mount("/sys", "sysfs", "sysfs", "nosuid").mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro")
    bundle.linux["devices"] = [{"type": "p", "path": "/dev/pipe"}, {"type": "c", "path": "/dev/null", "major": 1, "minor": 3}]
    out = bundle.output("test -p /dev/pipe && echo pipe; test -c /dev/null && echo null; ls /sys/class/net; touch /sys/fs/cgroup/x || :")
    assert out.split() == ["pipe", "null", *sorted(os.listdir("/sys/class/net"))]
    bundle.linux["devices"] = [{"type": "c", "path": "/dev/null", "major": 1, "minor": 5}]
    assert "device '/dev/null' of the host is another one" in bundle.refuses()


def test_what_a_mount_of_the_host_forbids_stays_forbidden(bundle):
    source = bundle.path / "source"
    source.mkdir()
    bundle.hydra.before = ["sh", "-c", f"mount -t tmpfs -o ro,nosuid,nodev,noatime tmpfs {source}; exec \"$@\"", "sh"]
    bundle.mount("/data", "bind", str(source), "bind", "noexec", "relatime", "diratime")
    assert bundle.output("grep ' /data ' /proc/self/mounts").split()[3].startswith("ro,nosuid,nodev,noexec,noatime")
    for word in ("rw", "suid", "rdev"):
        bundle.config["mounts"][-1]["options"] = ["rbind", word]
        assert "one of them allows what the mount of its source forbids" in bundle.refuses()


def test_a_user_namespace_that_the_caller_has_made(bundle):
    """As Podman calls: root of a user namespace, with next to nothing in the environment."""
    without_namespace(bundle)
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    command = Hydra.command(bundle.hydra, "run", "--bundle", bundle.path, bundle.id)
    del command[1:3]
    bundle.sh("id -u; test -c /dev/zero && echo zero; cat /proc/self/uid_map").save()
    result = subprocess.run(["setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups", "--inh-caps=-all", *inside, *command],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
                            env={"XDG_RUNTIME_DIR": f"{bundle.hydra.folder}/run", "PATH": os.environ["PATH"], "_CONTAINERS_USERNS_CONFIGURED": "done"})
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["0", "zero", "0", str(UID), "1"]


def test_the_terminal_of_a_user(bundle):
    bundle.ranges().process.update(terminal=True, user={"uid": 5, "gid": 6})
    bundle.sh("stat -c %u /dev/pts/0 /dev/console; tty; echo done; read line")
    console = ConsoleSocket(bundle.path / "console")
    own(bundle.path)
    pid = bundle.create("--console-socket", bundle.path / "console")
    master = console.receive()
    bundle.hydra("start", bundle.id)
    assert read_until(master, b"done").split()[:3] == [b"5", b"5", b"/dev/pts/0"]
    os.write(master, b"\n")
    assert reap(pid) == 0
    os.close(master)


def test_clocks_of_a_user(bundle):
    bundle.ranges().linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1000000}}
    with open("/proc/uptime") as uptime:
        outside = float(uptime.read().split()[0])
    assert float(bundle.output("cat /proc/uptime").split()[0]) >= outside + 1000000


@covers("linux.uidMappings[].…", "linux.gidMappings[].…")
def test_a_user_namespace_can_be_joined_by_a_user(bundle):
    pid = bundle.ranges().sleeping()
    other = bundle.another()
    other.linux["namespaces"] = [each for each in other.linux["namespaces"] if each["type"] not in ("user", "pid")]
    other.linux["namespaces"] += [{"type": "user", "path": f"/proc/{pid}/ns/user"}, {"type": "pid", "path": f"/proc/{pid}/ns/pid"}]
    del other.linux["uidMappings"], other.linux["gidMappings"]
    assert other.output("readlink /proc/self/ns/user; ps | grep -c '[s]leep 100000'").split() == [os.readlink(f"/proc/{pid}/ns/user"), "1"]


@pytest.fixture
def podman(user, rootfs):
    """Podman of the user; it makes a user namespace before it calls us."""
    assert shutil.which("podman"), "podman is not installed: it is in scripts/packages"
    folder = user.folder
    subprocess.run(["tar", "-C", rootfs, "-cf", folder / "image.tar", "."], check=True, timeout=PATIENCE_S)
    words = user.command()
    base = [*words[:words.index(str(HYDRA))], f"HOME={folder}", "podman", "--root", f"{folder}/storage", "--runroot", f"{folder}/runroot",
            "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", str(HYDRA)]

    def run(*args, check=True):
        result = subprocess.run([*base, *args], capture_output=True, text=True, timeout=3 * PATIENCE_S, stdin=subprocess.DEVNULL, check=False,
                                cwd=folder)
        assert not check or result.returncode == 0, result.stderr
        return result.stdout

    run("import", str(folder / "image.tar"), "busybox")
    yield run
    run("rm", "--all", "--force", "--time", "0", check=False)
    run("system", "migrate")
    wait_until(lambda: not living_children(), "the end of what keeps Podman's user namespace")
    subprocess.run(["umount", "-l", folder / "storage" / "vfs", folder / "storage"], capture_output=True, check=False)


def test_podman_of_a_user(podman):
    podman("run", "--detach", "--name", "one", "--network", "none", "busybox", "/bin/sleep", "100000")
    assert podman("exec", "--user", "7", "one", "/bin/sh", "-c", "id -u; stat -c %u /bin/busybox").split() == ["7", "0"]
    assert json.loads(podman("inspect", "one"))[0]["State"]["Status"] == "running"
    podman("kill", "one")
    assert podman("wait", "one") == "137\n"
    assert podman("run", "--rm", "--network", "none", "--userns", "keep-id", "busybox", "/bin/sh", "-c", "id -u; id -g").split() == [str(UID), str(GID)]


def test_a_user_without_a_folder_is_told_what_to_do(bundle):
    bundle.save()
    words = bundle.hydra.command("create", "--bundle", bundle.path, bundle.id)
    words[words.index("env") + 1] = "XDG_RUNTIME_DIR="
    result = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert result.returncode == 1 and "a user's state is in $XDG_RUNTIME_DIR" in result.stderr, result.stderr


@pytest.mark.parametrize("word", ["yes", ""])
def test_rootless_is_true_false_or_auto(hydra, word):
    assert "is not true, false or auto" in hydra.refuses("--rootless", word, "list")
