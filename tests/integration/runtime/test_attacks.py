# SPDX-License-Identifier: Apache-2.0
"""Attacks that other runtimes fell to, replayed; docs/threat-model.md says which defence each one meets."""
import contextlib
import os
import pathlib
import pty
import shutil
import socket
import stat
import subprocess

import pytest
from conftest import HYDRA, PATIENCE_S, reap

RACES = 60
SYSCTL = "net.ipv4.ip_forward"


@pytest.fixture(scope="session")
def attacks(tmp_path_factory):
    program = tmp_path_factory.mktemp("attacks") / "attacks"
    source = pathlib.Path(__file__).parent / "attacks.c"
    subprocess.run(["cc", "-std=gnu17", "-O1", "-Wall", "-Werror", "-static", "-o", program, source], check=True, timeout=PATIENCE_S)
    return program


@pytest.fixture
def image(bundle, rootfs, tmp_path):
    """A root file system of its own for a test that spoils it."""
    own = tmp_path / "image"
    shutil.copytree(rootfs, own, symlinks=True)
    bundle.config["root"]["path"] = str(own)
    return own


@contextlib.contextmanager
def exchanging(attacks, a, b):
    """Someone exchanges the two names all the time."""
    with subprocess.Popen([attacks, "exchange", a, b], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
            assert process.poll() is None, "the attacker has given up"
        finally:
            process.kill()


def weak(attacks, *args):
    """The attack works against a runtime that checks a path and then uses its name."""
    assert subprocess.run([attacks, *args], timeout=PATIENCE_S, check=False).returncode == 0


def weakly(script):
    """What a runtime did that used paths where it should use descriptors, in a mount namespace of its own."""
    subprocess.run(["unshare", "--mount", "sh", "-ec", script], stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=True)


def without(bundle, *destinations):
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["destination"] not in destinations]
    return bundle


def digest():
    return HYDRA.read_bytes()


# CVE-2019-5736: the runtime's program, caught as /proc/PID/exe by a container, is overwritten.

def attacker(bundle, attacks):
    shutil.copy(attacks, bundle.path / "attacks")
    bundle.mount("/attacks", "bind", str(bundle.path / "attacks"), "bind", "ro")
    return bundle.all_capabilities()


def test_cve_2019_5736_exec_of_the_runtime_itself(bundle, attacks, tmp_path):
    before = digest()
    attacker(bundle, attacks).sleeping()
    out = tmp_path / "caught"
    with open(out, "w") as caught, subprocess.Popen(bundle.hydra.command("exec", bundle.id, "/attacks", "overwrite", "attacks"),
                                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=caught, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        while process.poll() is None:
            bundle.hydra("exec", bundle.id, "/proc/self/exe", "state", check=False)
        said = process.stdout.read()
    assert process.returncode == 3 and "overwritten" not in said, said
    assert "caught" in said, "the attacker has seen the runtime"
    assert digest() == before


def test_cve_2019_5736_works_on_an_ordinary_program(bundle, image, attacks):
    """The same attacker overwrites a program that is executed from where it could be written to."""
    shutil.copy("/bin/busybox", image / "busybox-victim")
    script = ("/busybox-victim sleep 100000 & victim=$!; /attacks overwrite attacks & attacker=$!; "
              "until ls -l /proc/$attacker/fd | grep -q victim; do :; done; kill -9 $victim; wait $attacker")
    assert "overwritten" in attacker(bundle, attacks).output(script)
    assert (image / "busybox-victim").read_bytes().startswith(b"#!overwritten")


# CVE-2019-16884: the image's volume stands where /proc is expected, and what is written there has no effect.

def test_cve_2019_16884_a_volume_over_proc(bundle, tmp_path):
    (tmp_path / "volume" / "self" / "attr").mkdir(parents=True)
    bundle.mount("/proc", "bind", str(tmp_path / "volume"), "bind")
    assert "it would cover a part of /proc" in bundle.refuses()


def test_cve_2019_16884_a_link_into_proc(bundle, image, tmp_path):
    (image / "volume").symlink_to("/proc/self/attr")
    bundle.mount("/volume", "bind", str(tmp_path), "bind")
    assert "it would cover a part of /proc" in bundle.refuses()


@pytest.mark.parametrize("command", ["run", "exec"])
def test_cve_2019_16884_a_label_written_to_a_file_of_the_image(bundle, image, command, tmp_path):
    """Where AppArmor is missing it is feigned: the runtime is to fail because the kernel refuses the label, wherever the image's goes."""
    attribute = image / "proc" / "thread-self" / "attr" / "apparmor" / "exec"
    attribute.parent.mkdir(parents=True)
    attribute.touch()
    (tmp_path / "module" / "apparmor").mkdir(parents=True)
    without(bundle, "/proc").linux.update(maskedPaths=[], readonlyPaths=[])
    if command == "exec":
        bundle.sleeping()
        arguments = ["exec", "--apparmor", "hydra-no-such-profile", bundle.id, "true"]
    else:
        bundle.process["apparmorProfile"] = "hydra-no-such-profile"
        bundle.save()
        arguments = ["run", "--bundle", bundle.path, bundle.id]
    result = subprocess.run(["unshare", "--mount", "sh", "-c", f"mount --bind '{tmp_path}/module' /sys/module; exec \"$@\"", "sh",
                             *bundle.hydra.command(*arguments)],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert result.returncode in (1, 255) and "set the AppArmor profile" in result.stderr, result
    assert attribute.read_text() == ""


# CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /proc (/sys) of the image is a link, so that masks and labels go elsewhere.

@pytest.mark.parametrize("name", ["proc", "sys"])
def test_cve_2023_27561_and_28642_a_link_in_place_of_proc(bundle, image, name):
    (image / name).rmdir()
    (image / "tmp" / "elsewhere").mkdir()
    (image / name).symlink_to("tmp/elsewhere")
    weakly(f"mount -t proc proc '{image / name}'; test -e '{image}/tmp/elsewhere/self'")
    if name == "proc":
        without(bundle, "/sys", "/sys/fs/cgroup")
    assert "must be mounted on ordinary directory" in bundle.refuses()


def create(bundle, out):
    """Its exit status; what it and the container say is in the file `out`."""
    bundle.save()
    with open(out, "w") as file:
        return subprocess.run(bundle.hydra.command("create", "--bundle", bundle.path, bundle.id), stdin=subprocess.DEVNULL, stdout=file,
                              stderr=file, timeout=PATIENCE_S, check=False).returncode


@pytest.mark.parametrize("spelling", ["/proc", "/./proc/"])
def test_cve_2019_19921_a_link_exchanged_for_proc(bundle, image, attacks, tmp_path, spelling):
    (image / "elsewhere" / "sys").mkdir(parents=True)
    (image / "link").symlink_to("elsewhere")
    without(bundle, "/sys", "/sys/fs/cgroup").sh("stat -f -c %T /proc; wc -c </proc/uptime; echo 1 >/proc/sys/kernel/pid_max")
    bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"] = ["/proc/uptime"], ["/proc/sys"]
    next(mount for mount in bundle.config["mounts"] if mount["type"] == "proc")["destination"] = spelling
    for _ in range(RACES // 4):
        with exchanging(attacks, image / "proc", image / "link"):
            made = create(bundle, tmp_path / "out")
        if (image / "proc").is_symlink():
            (image / "link").rename(image / "folder")
            (image / "proc").rename(image / "link")
            (image / "folder").rename(image / "proc")
        if made != 0:
            assert (tmp_path / "out").read_text().startswith("hydra: ")
            continue
        pid = bundle.hydra.state(bundle.id)["pid"]
        bundle.hydra("start", bundle.id)
        reap(pid)
        bundle.hydra("delete", bundle.id)
        assert (tmp_path / "out").read_text().split("\n")[:2] == ["proc", "0"], (tmp_path / "out").read_text()
        assert "Read-only file system" in (tmp_path / "out").read_text()


# CVE-2021-30465: the target of a bind mount is exchanged for a link to the host.

@pytest.fixture
def shared(bundle, tmp_path):
    """A volume that an attacker changes while a container is made; `victim` is of the host."""
    volume, victim = tmp_path / "volume", tmp_path / "victim"
    (volume / "folder" / "in").mkdir(parents=True)
    (volume / "link").symlink_to(victim)
    (victim / "in").mkdir(parents=True)
    bundle.mount("/data", "bind", str(volume), "bind")
    return volume, victim


def test_cve_2021_30465_a_target_exchanged_for_a_link(bundle, attacks, shared, tmp_path):
    volume, victim = shared
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "mark").touch()
    bundle.mount("/data/folder/in", "bind", str(tmp_path / "source"), "bind").sh("ls /data/folder/in /data/link/in; mount | grep -c /in")
    before = pathlib.Path("/proc/self/mountinfo").read_text()
    with exchanging(attacks, volume / "folder", volume / "link"):
        weak(attacks, "weak-mount", volume, volume / "folder" / "in", tmp_path / "source", victim / "in")
        for _ in range(RACES):
            result = bundle.run(check=False)
            assert "hydra: " not in result.stderr or "in the rootfs" in result.stderr or "bind" in result.stderr, result.stderr
            assert os.listdir(victim) == ["in"] and os.listdir(victim / "in") == []
    assert pathlib.Path("/proc/self/mountinfo").read_text() == before


def test_a_new_file_system_is_complete_before_it_has_a_name(bundle, attacks, tmp_path):
    """What is done to it after its content has come is done to it, whoever is exchanged for its folder meanwhile."""
    volume = tmp_path / "volume"
    for name in ("a", "b"):
        (volume / name).mkdir(parents=True)
        (volume / name / "content").touch()
    bundle.mount("/data", "bind", str(volume), "bind").mount("/data/a", "tmpfs", "tmpfs", "tmpcopyup", "ro", "rnosuid", "shared")
    bundle.sh("grep ' - tmpfs tmpfs ' /proc/self/mountinfo | grep ' /data/'; ls /data/a /data/b")
    with exchanging(attacks, volume / "a", volume / "b"):
        for _ in range(RACES // 3):
            mount, *names = bundle.run().stdout.splitlines()
            assert {"ro", "nosuid"} <= set(mount.split()[5].split(",")) and " shared:" in mount
            assert names.count("content") == 2


# CVE-2024-45310: the missing target of a mount is made on the host.

def test_cve_2024_45310_a_target_made_on_the_host(bundle, attacks, shared, tmp_path):
    volume, victim = shared
    mounts = bundle.config["mounts"]
    with exchanging(attacks, volume / "folder", volume / "link"):
        weak(attacks, "weak-make", volume, volume / "folder", "made", victim)
        for number in range(RACES):
            bundle.config["mounts"] = [*mounts]
            bundle.mount(f"/data/folder/file{number}", "bind", "/dev/null", "bind")
            bundle.mount(f"/data/folder/deep{number}/er", "tmpfs", "tmpfs").run(check=False)
            assert os.listdir(victim) == ["in"]


# CVE-2022-29162: inheritable capabilities that nobody asked for.

def test_cve_2022_29162_inheritable_capabilities(bundle):
    bundle.all_capabilities()
    assert bundle.output("grep CapInh /proc/self/status").split()[1] == "0" * 16
    bundle.sleeping()
    for options in ([], ["--cap", "CAP_NET_RAW"]):
        out = bundle.hydra("exec", *options, bundle.id, "grep", "CapInh", "/proc/self/status").stdout
        assert out.split()[1] == "0" * 16


# CVE-2023-25809: the host's cgroups, writable when /sys is bound into a user namespace.

def test_cve_2023_25809_cgroups_of_the_host(bundle):
    bundle.user_namespace()
    bundle.linux["namespaces"] = [each for each in bundle.linux["namespaces"] if each["type"] not in ("cgroup", "network")]
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    without(bundle, "/sys/fs/cgroup")
    script = "cd /sys/fs/cgroup; for d in . *; do mkdir $d/attack-25809 && echo made; done; true"
    result = bundle.sh(script).run()
    assert "made" not in result.stdout and "Read-only file system" in result.stderr


# CVE-2024-21626: a working directory that is a descriptor of the runtime leads to the host.

@pytest.mark.parametrize("form", ["/proc/self/fd/{}", "/proc/self/fd/{}/../..", "/link{}", "/proc/thread-self/fd/{}"])
def test_cve_2024_21626_a_descriptor_as_working_directory(bundle, image, form, tmp_path):
    (tmp_path / "host").mkdir()
    folder = os.open(tmp_path / "host", os.O_RDONLY | os.O_DIRECTORY)
    own = bundle.another()
    own.config["root"]["path"] = str(image)
    own.sleeping()
    try:
        for number in range(3, 14):
            link = image / f"link{number}"
            link.symlink_to(f"/proc/self/fd/{number}")
            os.dup2(folder, number + 40)
            escapes = [bundle.hydra("exec", "--cwd", form.format(number), own.id, "ls", "-d", "../../../..", "/proc/self/cwd/tmp", check=False,
                                    pass_fds=[number + 40])]
            bundle.process["cwd"] = form.format(number)
            escapes.append(bundle.sh("cd .; ls -i -d ..; pwd").run(check=False, pass_fds=[number + 40]))
            os.close(number + 40)
            for result in escapes:
                assert result.returncode != 0 and result.stderr.startswith("hydra: ") and result.stdout == "", (number, result)
    finally:
        os.close(folder)


def test_cve_2024_21626_a_descriptor_that_was_handed_over(bundle, tmp_path):
    """Even one that the caller wants the container to have does not lead out by way of the working directory."""
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    bundle.sleeping()
    script = f"exec 3<'{tmp_path}'; exec \"$@\""
    command = bundle.hydra.command("exec", "--preserve-fds", "1", "--cwd", "/proc/self/fd/3", bundle.id, "pwd")
    os.close(folder)
    result = subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert result.returncode == 255 and "outside of the container" in result.stderr and result.stdout == ""


@pytest.mark.parametrize("command", ["run", "exec"])
def test_cve_2024_21626_no_descriptor_beyond_the_standard_ones(bundle, tmp_path, command):
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if command == "run":
            out = bundle.sh("ls /proc/self/fd").run(pass_fds=[folder]).stdout
        else:
            bundle.sleeping()
            out = bundle.hydra("exec", bundle.id, "ls", "/proc/self/fd", pass_fds=[folder]).stdout
    finally:
        os.close(folder)
    assert out.split() == ["0", "1", "2", "3"]  # the last is the listing's own


# CVE-2025-31133: /dev/null of the container, which masks, is a link to what it should hide.

@pytest.fixture
def hostile_dev(bundle, tmp_path):
    dev = tmp_path / "dev"
    dev.mkdir()
    os.mknod(dev / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    without(bundle, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue").mount("/dev", "bind", str(dev), "bind")
    return dev


def test_cve_2025_31133_a_link_as_null(bundle, hostile_dev, tmp_path):
    (hostile_dev / "null").symlink_to("/proc/sys/kernel/core_pattern")
    (tmp_path / "masked").touch()
    weakly(f"mount --bind '{hostile_dev}/null' '{tmp_path}/masked'; cmp '{tmp_path}/masked' /proc/sys/kernel/core_pattern")
    bundle.linux["maskedPaths"] = ["/proc/uptime", "/proc/meminfo"]
    out = bundle.output("stat -c %F-%t-%T /proc/uptime /proc/meminfo; cat /proc/uptime; mount | grep -c core_pattern || true")
    assert out.split() == ["character", "special", "file-1-3"] * 2 + ["0"]


def test_cve_2025_31133_null_exchanged_all_the_time(bundle, hostile_dev, attacks):
    os.mknod(hostile_dev / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (hostile_dev / "link").symlink_to("/proc/sys/kernel/core_pattern")
    bundle.linux["maskedPaths"] = ["/proc/uptime", "/proc/meminfo", "/proc/acpi"]
    bundle.sh("stat -c %t-%T /proc/uptime /proc/meminfo")
    with exchanging(attacks, hostile_dev / "null", hostile_dev / "link"):
        for _ in range(RACES // 2):
            assert bundle.run(stdin=subprocess.PIPE).stdout.split() == ["1-3"] * 2


# CVE-2025-52565: /dev/console, or the terminal bound to it, is a link.

def refused_with_a_terminal(bundle, folder):
    """What is said of it."""
    bundle.process["terminal"] = True
    bundle.save()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "console"))
        server.listen(1)
        return bundle.hydra.refuses("create", "--bundle", bundle.path, "--console-socket", folder / "console", bundle.id)


def test_cve_2025_52565_a_link_as_console(bundle, hostile_dev, tmp_path):
    bundle.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666")
    (hostile_dev / "pts").mkdir()
    (hostile_dev / "console").symlink_to("/proc/sys/kernel/core_pattern")
    message = refused_with_a_terminal(bundle, tmp_path)
    assert "neither a file nor a device" in message


def test_cve_2025_52565_a_terminal_that_is_none(bundle, hostile_dev, tmp_path):
    """/dev/pts/ptmx of the container is a terminal of the host's."""
    master, slave = pty.openpty()
    (hostile_dev / "pts").mkdir()
    (hostile_dev / "pts" / "ptmx").symlink_to("../tty-of-the-host")
    os.mknod(hostile_dev / "tty-of-the-host", 0o666 | stat.S_IFCHR, os.fstat(slave).st_rdev)
    message = refused_with_a_terminal(bundle, tmp_path)
    assert "/dev/pts/ptmx of the container" in message
    os.close(master)
    os.close(slave)


# CVE-2025-52881: what is written to /proc goes to another file, because something is mounted there.

@pytest.mark.parametrize("what, inside, message", [
    ("/proc", "sys/net/ipv4/ip_forward", "/proc is not the root of a procfs"),
    ("/proc/sys", "net/ipv4/ip_forward", "something is mounted there"),
    ("/proc/sys/net/ipv4", "ip_forward", None),
])
def test_cve_2025_52881_a_write_that_is_redirected(bundle, tmp_path, what, inside, message):
    fake = tmp_path / "fake"
    (fake / inside).parent.mkdir(parents=True)
    (fake / inside).touch()
    (fake / "self").mkdir()
    if message is not None:
        weakly(f"mount --bind '{fake}' {what}; echo written >/proc/sys/net/ipv4/ip_forward")
        assert (fake / inside).read_text() == "written\n"
    (fake / inside).write_text("untouched")
    bundle.linux["sysctl"] = {SYSCTL: "1"}
    bundle.sh("cat /proc/sys/net/ipv4/ip_forward").save()
    command = bundle.hydra.command("run", "--bundle", bundle.path, bundle.id)
    result = subprocess.run(["unshare", "--mount", "sh", "-c", f"mount --bind '{fake}' {what}; exec \"$@\"", "sh", *command],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (fake / inside).read_text() == "untouched"
    # the last one is of the other network namespace's folder: the kernel itself keeps them apart
    assert result.stdout == "1\n" if message is None else result.returncode == 1
    if what == "/proc/sys":
        assert message in result.stderr
