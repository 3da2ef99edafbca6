# SPDX-License-Identifier: Apache-2.0
"""User namespaces that root gives to containers, and mounts whose ids are mapped."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import HYDRA, PATIENCE_S, covers, reap, wait_until
from test_exec import ConsoleSocket, read_until

FIRST, SIZE = 100000, 65536
UNIFIED = pathlib.Path("/sys/fs/cgroup" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "/sys/fs/cgroup/unified")


def mapping(inner, outer, size):
    return {"containerID": inner, "hostID": outer, "size": size}


@covers("linux.uidMappings[].…", "linux.gidMappings[].…")
def test_as_many_ranges_as_the_kernel_takes(bundle):
    ranges = [mapping(number, 10000 + number, 1) for number in range(340)]
    bundle.user_namespace().linux.update(uidMappings=ranges, gidMappings=ranges)
    bundle.process["user"] = {"uid": 339, "gid": 338}
    assert bundle.output("id; cat /proc/self/uid_map | wc -l").split() == ["uid=339", "gid=338", "340"]
    bundle.linux["uidMappings"] = [*ranges, mapping(340, 20000, 1)]
    assert "linux.uidMappings: 341 ranges; the kernel takes 340" in bundle.refuses()
    bundle.linux.update(uidMappings=ranges, gidMappings=[mapping(number, 4000000000 + 2 * number, 1) for number in range(340)])
    assert "linux.gidMappings: 5670 bytes as text; the kernel takes less than 4096" in bundle.refuses()


@pytest.mark.parametrize("user, message", [
    ({"uid": SIZE, "gid": 0}, "process.user.uid: 65536 is not among linux.uidMappings"),
    ({"uid": 0, "gid": SIZE}, "process.user.gid: 65536 is not among linux.gidMappings"),
    ({"uid": 0, "gid": 0, "additionalGids": [1, SIZE]}, "process.user.additionalGids[1]: 65536 is not among linux.gidMappings"),
])
def test_who_is_not_mapped_is_refused_before_anything_is_made(bundle, user, message):
    bundle.user_namespace().process["user"] = user
    assert message in bundle.refuses()
    assert not bundle.hydra.root.exists()


def test_everything_belongs_to_the_root_inside(bundle, tmp_path):
    """Namespaces, file systems and the terminal; what exec starts is there, too."""
    bundle.user_namespace().all_capabilities().process.update(terminal=True, user={"uid": 5, "gid": 6})
    bundle.mount("/data", "tmpfs", "tmpfs", "mode=750", "uid=7", "gid=8")
    bundle.sh("stat -c %u:%g:%a /data; stat -c %u /dev/pts/0 /dev/console; echo done; read line")
    console = ConsoleSocket(tmp_path / "console")
    pid = bundle.create("--console-socket", tmp_path / "console")
    master = console.receive()
    bundle.hydra("start", bundle.id)
    assert read_until(master, b"done").split()[:3] == [b"7:8:750", b"5", b"5"]
    exec_out = bundle.hydra("exec", "--user", "9:10", bundle.id, "sh", "-c", "id -u; readlink /proc/self/ns/user; hostname changed || echo refused")
    assert exec_out.stdout.split() == ["9", os.readlink(f"/proc/{pid}/ns/user"), "refused"]
    assert bundle.hydra("exec", "--user", "0:0", "--cap", "CAP_SYS_ADMIN", bundle.id, "sh", "-c", "hostname changed; hostname").stdout == "changed\n"
    os.write(master, b"\n")
    assert reap(pid) == 0
    os.close(master)


def test_namespaces_of_another_container_are_joined_with_its_users(bundle):
    """As a pod does it: the network belongs to the user namespace, so its sysfs can be mounted."""
    bundle.user_namespace().all_capabilities()
    pid = bundle.sleeping()
    other = bundle.another().all_capabilities()
    shared = {"user": "user", "network": "net", "ipc": "ipc", "uts": "uts"}
    other.linux["namespaces"] = [each for each in other.linux["namespaces"] if each["type"] not in shared]
    other.linux["namespaces"] += [{"type": kind, "path": f"/proc/{pid}/ns/{file}"} for kind, file in shared.items()]
    other.config.pop("hostname")
    out = other.output("for n in user net ipc uts; do readlink /proc/self/ns/$n; done; ls /sys/class/net; echo $$; stat -c %u /proc/self/ns")
    assert out.split() == [*(os.readlink(f"/proc/{pid}/ns/{file}") for file in shared.values()), "lo", "1", "0"]


def delegated(bundle, *options):
    bundle.user_namespace().all_capabilities()
    bundle.config["mounts"] = [each for each in bundle.config["mounts"] if each["type"] != "cgroup"]
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", *options)
    return UNIFIED / "hydra" / bundle.id


def test_the_root_inside_rules_its_cgroup(bundle):
    cgroup = delegated(bundle, "rw", "nosuid")
    inside = UNIFIED.relative_to("/sys/fs/cgroup")
    bundle.sh(f"cd /sys/fs/cgroup/{inside} && mkdir below && echo $$ >below/cgroup.procs && cat below/cgroup.procs && echo 5 >pids.max; sleep 100000")
    pid = bundle.started()
    out = bundle.hydra("exec", bundle.id, "sh", "-c", f"until grep -q . /sys/fs/cgroup/{inside}/below/cgroup.procs; do :; done; "
                       f"stat -c %u /sys/fs/cgroup/{inside} /sys/fs/cgroup/{inside}/cgroup.procs /sys/fs/cgroup/{inside}/memory.max 2>/dev/null || :")
    assert out.stdout.split()[:2] == ["0", "0"] and out.stdout.split()[2:] in ([], ["65534"])
    wait_until(lambda: (cgroup / "below" / "cgroup.procs").read_text().split() == [str(pid)], "the end of cat")
    assert {(cgroup / name).stat().st_uid for name in (".", "cgroup.procs", "cgroup.subtree_control")} == {FIRST}
    assert (cgroup / "cgroup.freeze").stat().st_uid == 0, "it does not decide what is done to it"
    bundle.hydra("delete", "--force", bundle.id)
    assert not cgroup.exists()


def test_a_cgroup_that_is_shown_read_only_stays_the_hosts(bundle):
    cgroup = delegated(bundle, "ro")
    bundle.sleeping()
    assert cgroup.stat().st_uid == 0 and (cgroup / "cgroup.procs").stat().st_uid == 0


@pytest.fixture
def shared(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "shared" / "inner").mkdir(parents=True)
    for path, owner in ((tmp_path / "shared" / "file", 0), (tmp_path / "shared" / "other", 1000)):
        path.write_text("")
        os.chown(path, owner, owner)
    return tmp_path / "shared"


@covers("mounts[].uidMappings[].…", "mounts[].gidMappings[].…")
def test_ids_of_a_volume_are_mapped_as_the_containers_or_otherwise(bundle, shared):
    bundle.user_namespace().mount("/data", "bind", str(shared), "bind", "idmap").mount("/tmp", "bind", str(shared), "rbind", "ridmap")
    bundle.mount("/root", "bind", str(shared), "bind")
    bundle.config["mounts"][-2].update(uidMappings=[mapping(0, FIRST + 5, 2000)], gidMappings=[mapping(0, FIRST + 5, 2000)])
    out = bundle.output("stat -c %u /data/file /data/other /tmp/file /tmp/other /root/file; touch /data/new")
    assert out.split() == ["0", "1000", "5", "1005", "65534"]
    assert (shared / "new").stat().st_uid == 0, "what root makes inside is root's outside"


def test_a_file_system_that_cannot_map_ids_is_refused_before_anything_is_made(bundle):
    bundle.user_namespace().mount("/data", "bind", "/sys/kernel", "bind", "idmap")
    number = len(bundle.config["mounts"]) - 1
    assert f"mounts[{number}]: map the ids of mount '/data': not supported by its file system" in bundle.refuses()
    bundle.config["mounts"][-1]["source"] = "/no/such"
    assert f"mounts[{number}]: open source '/no/such'" in bundle.refuses()
    assert not bundle.hydra.root.exists()


@pytest.fixture
def mapped_image(rootfs, tmp_path):
    """A root file system whose files are root's, mounted so that they belong to the container's root."""
    tmp_path.chmod(0o755)
    place = tmp_path / "mapped"
    place.mkdir()
    subprocess.run(["mount", "--bind", "-o", f"X-mount.idmap=b:0:{FIRST}:{SIZE}", rootfs, place], check=True, timeout=PATIENCE_S)
    yield place
    subprocess.run(["umount", place], check=True, timeout=PATIENCE_S)


def test_a_root_file_system_with_mapped_ids(mapped_image, bundle, rootfs):
    bundle.user_namespace().config["root"] = {"path": str(mapped_image)}
    try:
        assert bundle.output("stat -c %u /bin/busybox /etc; touch /etc/made; stat -c %u /etc/made").split() == ["0", "0", "0"]
        assert (rootfs / "etc" / "made").stat().st_uid == 0
    finally:
        (rootfs / "etc" / "made").unlink(missing_ok=True)


class Podman:
    """With ranges of its own in /etc/subuid, for nobody but its commands."""

    def __init__(self, folder):
        (folder / "ids").write_text("containers:500000:1000000\n")
        script = f"mount --bind {folder}/ids /etc/subuid; mount --bind {folder}/ids /etc/subgid; exec \"$@\""
        self.base = ["unshare", "--mount", "sh", "-ec", script, "sh", "podman", "--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--tmpdir",
                     f"{folder}/tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", str(HYDRA)]

    def __call__(self, *args, check=True, **options):
        result = subprocess.run([*self.base, *args], capture_output=True, text=True, timeout=3 * PATIENCE_S,
                                **({"stdin": subprocess.DEVNULL} | options))
        assert not check or result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture
def podman(tmp_path, rootfs):
    assert shutil.which("podman"), "podman is not installed: it is in scripts/packages"
    tmp_path.chmod(0o755)
    podman = Podman(tmp_path)
    subprocess.run(["tar", "-C", rootfs, "-cf", tmp_path / "image.tar", "."], check=True, timeout=PATIENCE_S)
    podman("import", str(tmp_path / "image.tar"), "busybox")
    yield podman
    podman("rm", "--all", "--force", "--time", "0", check=False)
    subprocess.run(["umount", "-l", f"{tmp_path}/storage/vfs", f"{tmp_path}/storage"], capture_output=True, check=False)


def test_podman_chooses_ranges(podman):
    podman("run", "--detach", "--name", "one", "--network", "none", "--userns", "auto:size=2000", "busybox", "/bin/sleep", "100000")
    podman("run", "--detach", "--name", "two", "--network", "none", "--userns", "auto", "busybox", "/bin/sleep", "100000")
    maps = [podman("exec", name, "/bin/cat", "/proc/self/uid_map").split() for name in ("one", "two")]
    assert maps[0][0] == maps[1][0] == "0" and maps[0][2] == "2000" and maps[0][1] != maps[1][1]
    assert podman("exec", "--user", "7", "one", "/bin/sh", "-c", "id -u; stat -c %u /bin/busybox").split() == ["7", "0"]
    states = json.loads(podman("inspect", "one", "two"))
    assert [each["State"]["Status"] for each in states] == ["running", "running"]
    podman("rm", "--force", "--time", "0", "one", "two")


@covers("linux.devices[].uid", "linux.devices[].gid", "linux.devices[].fileMode")
def test_devices_that_the_host_does_not_have(bundle):
    """Root of a user namespace can make no nodes: the command does, with the owners that the container is to see."""
    bundle.user_namespace()
    bundle.linux["devices"] = [{"path": "/dev/foo", "type": "c", "major": 1, "minor": 5, "uid": 10, "gid": 11, "fileMode": 0o644},
                               {"path": "/dev/more/disk", "type": "b", "major": 7, "minor": 77}, {"path": "/dev/pipe", "type": "p", "fileMode": 0o600}]
    bundle.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    output = bundle.output("stat -c '%u:%g %a %t:%T %F' /dev/foo /dev/more/disk /dev/pipe; head -c 3 /dev/foo | wc -c")
    assert output.splitlines() == ["10:11 644 1:5 character special file", "0:0 666 7:4d block special file", "0:0 600 0:0 fifo", "3"]
