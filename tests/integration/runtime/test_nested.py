# SPDX-License-Identifier: Apache-2.0
"""hydra inside of a container of hydra, Docker or Podman: what works there, and what is said where it cannot."""
import contextlib
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess

import pytest
from conftest import HYDRA, PATIENCE_S, wait_until

pytestmark = pytest.mark.skipif("HYDRA_SANITIZED" in os.environ, reason="a sanitized hydra needs libraries that the container around it does not have")

LIFE = """set -e
hydra create --bundle /inner in >/dev/null </dev/null
hydra start in
hydra exec in sh -c 'echo exec $$'
hydra list --quiet
hydra ps --format json in | sed 's/[0-9]*//g'
hydra kill in KILL
until hydra state in | grep -q stopped; do :; done
hydra delete in
hydra list --quiet
hydra run --bundle /inner --config run.json out
"""


def inner_config(hydra, folder, *options):
    """A bundle for use inside: config.json sleeps, run.json tells about itself."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    hydra("spec", "--bundle", folder, *options)
    config = json.loads((folder / "config.json").read_text())
    config["root"] = {"path": "/inner/rootfs"}
    config["process"].update(terminal=False, args=["sleep", "100000"])
    return config


def save(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    config["process"]["args"] = ["sh", "-c", "echo run $$; test -c /dev/null && echo null; ls /sys/fs/cgroup >/dev/null"]
    (folder / "run.json").write_text(json.dumps(config))


EXPECTED = ["exec", "in", "[]", "run", "1", "null"]


def told(text):
    """Without what differs: the pid of exec."""
    words = text.split()
    return words[:1] + words[2:]


@pytest.fixture
def outer(bundle, rootfs, tmp_path):
    """A container with all that hydra needs, and a bundle in it."""
    folder = tmp_path / "inner"
    save(folder, inner_config(bundle.hydra, folder))
    shutil.copytree(rootfs, folder / "rootfs", symlinks=True)
    bundle.inner = folder
    bundle.all_capabilities().linux.update(maskedPaths=[], readonlyPaths=[])
    bundle.process["rlimits"] = []
    for mount in bundle.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")
    bundle.mount("/run", "tmpfs", "tmpfs", "mode=755").mount("/inner", "bind", str(folder), "bind")
    bundle.mount("/bin/hydra", "bind", str(HYDRA), "bind", "ro")
    return bundle


@pytest.mark.parametrize("has_users", [False, True], ids=["", "with users of its own"])
def test_hydra_in_hydra(outer, has_users):
    if has_users:
        outer.user_namespace()
    assert told(outer.output(LIFE)) == EXPECTED


def give_users(outer):
    """To the container inside."""
    config = inner_config(outer.hydra, outer.inner)
    config["linux"]["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        config["linux"][kind] = [{"containerID": 0, "hostID": 1000, "size": 1000}]
    save(outer.inner, config)


def test_hydra_in_hydra_with_users_of_its_own_each(outer):
    give_users(outer)
    assert told(outer.user_namespace().output(LIFE)) == EXPECTED
    config = json.loads((outer.inner / "config.json").read_text())
    config["linux"]["gidMappings"][0]["hostID"] = 65000
    save(outer.inner, config)
    result = outer.sh("hydra run --bundle /inner in; hydra list --quiet").run()
    assert "linux.gidMappings[0].hostID: 65000 to 65999 are not all in the user namespace that this is in" in result.stderr
    assert result.stdout == ""


def test_a_masked_proc_cannot_be_mounted_anew(outer):
    give_users(outer)
    outer.linux["maskedPaths"] = ["/proc/version"]
    result = outer.sh("hydra run --bundle /inner in; hydra list --quiet").run(check=False)
    assert "mount proc on '/proc': the kernel does so only where nothing covers a part of the present /proc" in result.stderr
    assert result.stdout == ""


def test_cgroups_that_cannot_be_written(outer):
    """Root is told; who is root of a user namespace alone does without, as long as nobody wants a limit."""
    for mount in outer.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].append("ro")
    result = outer.sh("hydra run --bundle /inner in; hydra list --quiet; hydra --cgroup-manager disabled run --bundle /inner --config run.json in").run()
    assert "Read-only file system" in result.stderr and result.stdout.split() == ["run", "1", "null"]
    other = outer.another()
    other.config = outer.config
    assert told(other.user_namespace().output(LIFE)) == EXPECTED


def for_a_user(hydra, folder):
    config = inner_config(hydra, folder, "--rootless")
    for kind in ("uidMappings", "gidMappings"):
        config["linux"][kind][0]["hostID"] = 1000
    save(folder, config)


@pytest.fixture
def bundle_inside(hydra, rootfs, tmp_path):
    tmp_path.chmod(0o755)
    folder = tmp_path / "inner"
    save(folder, inner_config(hydra, folder))
    shutil.copytree(rootfs, folder / "rootfs", symlinks=True)
    return folder


class Docker:
    def __init__(self, folder):
        self.socket_path = folder / "docker.sock"
        self.cgroup = f"/hydra-nested-{secrets.token_hex(4)}"
        self.config = folder / "docker.json"
        self.config.write_text(json.dumps({
            "iptables": False, "ip6tables": False, "bridge": "none", "data-root": f"{folder}/data", "exec-root": f"{folder}/exec", "pidfile": f"{folder}/pid",
            "hosts": [f"unix://{self.socket_path}"], "storage-driver": "vfs", "cgroup-parent": self.cgroup}))

    def ask(self, method, path, body=None, kind="application/json"):
        """Status and body; (0, b"") when nobody answers."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE_S)
        try:
            connection.sock.connect(str(self.socket_path))
            connection.request(method, path, json.dumps(body) if isinstance(body, dict) else body, {"Content-Type": kind})
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def tell(self, method, path, *body):
        status, answer = self.ask(method, path, *body)
        assert 200 <= status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def run(self, script, inner, user="", **host_config):
        """What the container says on both of its streams, which come together as those of a terminal."""
        binds = [f"{inner}:/inner", f"{HYDRA}:/bin/hydra:ro"]
        wanted = {"Image": "busybox", "Cmd": ["/bin/sh", "-c", script], "User": user, "Tty": True, "Env": ["XDG_RUNTIME_DIR=/run"],
                  "HostConfig": {"NetworkMode": "none", "Binds": binds, "Tmpfs": {"/run": "mode=1777"}, **host_config}}
        name = json.loads(self.tell("POST", "/containers/create", wanted))["Id"]
        self.tell("POST", f"/containers/{name}/start")
        self.tell("POST", f"/containers/{name}/wait")
        output = self.tell("GET", f"/containers/{name}/logs?stdout=1&stderr=1").decode()
        self.tell("DELETE", f"/containers/{name}?force=1")
        return output


@pytest.fixture
def docker(tmp_path, rootfs):
    assert shutil.which("dockerd"), "dockerd is not installed: it is in scripts/packages"
    docker = Docker(tmp_path)
    with open(tmp_path / "dockerd.log", "wb") as log, subprocess.Popen(["dockerd", "--config-file", docker.config], stdin=subprocess.DEVNULL, stdout=log,
                                                                       stderr=log) as daemon:
        try:
            wait_until(lambda: docker.ask("GET", "/_ping")[0] == 200, "dockerd")
            archive = subprocess.run(["tar", "-C", rootfs, "-c", "."], capture_output=True, check=True, timeout=PATIENCE_S).stdout
            docker.tell("POST", "/images/create?fromSrc=-&repo=busybox", archive, "application/x-tar")
            yield docker
        finally:
            daemon.terminate()
            daemon.wait(PATIENCE_S)
    remove_cgroups(docker.cgroup)


def remove_cgroups(name):
    for base in ("/sys/fs/cgroup", *(entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir())):
        for folder, _, _ in os.walk(base + name, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(folder)


def test_hydra_in_docker(docker, hydra, bundle_inside):
    assert told(docker.run(LIFE, bundle_inside, Privileged=True)) == EXPECTED
    said = docker.run("hydra run --bundle /inner in", bundle_inside)
    assert "linux.namespaces: without a user namespace this takes root and CAP_SYS_ADMIN" in said
    for_a_user(hydra, bundle_inside)
    run = "hydra run --bundle /inner --config run.json in"
    assert "make a user namespace (a sysctl, a seccomp filter or a security module" in docker.run(run, bundle_inside, user="1000:1000")
    allowed = {"user": "1000:1000", "SecurityOpt": ["seccomp=unconfined"]}
    assert "mount proc on '/proc': the kernel does so only where nothing covers" in docker.run(run, bundle_inside, **allowed)
    assert docker.run(run, bundle_inside, MaskedPaths=[], ReadonlyPaths=[], **allowed).split() == ["run", "1", "null"]


@pytest.fixture
def podman(tmp_path, rootfs, bundle_inside):
    assert shutil.which("podman"), "podman is not installed: it is in scripts/packages"
    shutil.copytree(rootfs, tmp_path / "image", symlinks=True)
    base = ["podman", "--root", f"{tmp_path}/storage", "--runroot", f"{tmp_path}/run", "--tmpdir", f"{tmp_path}/tmp", "--storage-driver", "vfs",
            "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", str(HYDRA), "run", "--rm", "--network", "none"]

    def run(script, *options):
        words = [*base, *options, "--tmpfs", "/run:mode=1777", "--env", "XDG_RUNTIME_DIR=/run", "--volume", f"{bundle_inside}:/inner", "--volume",
                 f"{HYDRA}:/bin/hydra:ro", "--rootfs", str(tmp_path / "image"), "/bin/sh", "-c", script]
        result = subprocess.run(words, capture_output=True, text=True, timeout=2 * PATIENCE_S, stdin=subprocess.DEVNULL, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    yield run
    subprocess.run(["umount", "-l", f"{tmp_path}/storage/vfs", f"{tmp_path}/storage"], capture_output=True, check=False)


def test_hydra_in_podman(podman, hydra, bundle_inside):
    assert told(podman(LIFE, "--privileged")) == EXPECTED
    for_a_user(hydra, bundle_inside)
    out = podman("hydra run --bundle /inner --config run.json in", "--user", "1000:1000", "--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL")
    assert out.split() == ["run", "1", "null"]
