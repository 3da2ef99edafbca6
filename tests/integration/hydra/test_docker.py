# SPDX-License-Identifier: Apache-2.0
"""dockerd with the runtime type io.containerd.hydra.v1: what its live-restore loses elsewhere is not lost."""
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess

import pytest

from containerd_host import Containerd
from hosts import wait_for

CONFIG = {"iptables": False, "ip6tables": False, "bridge": "none", "live-restore": True, "data-root": "/run/d/data", "exec-root": "/run/d/exec",
          "pidfile": "/run/d/pid", "hosts": ["unix:///run/d/docker.sock"], "containerd": "/run/c/c.sock", "storage-driver": "vfs",
          "runtimes": {"hydra": {"runtimeType": "io.containerd.hydra.v1"}}, "default-runtime": "hydra"}


class Docker(Containerd):
    CONFIG = CONFIG

    def __enter__(self):
        super().__enter__()
        self.start("hydra-monitor")
        self.path("/run/d").mkdir()
        self.path("/run/d.json").write_text(json.dumps(self.CONFIG))
        self.start_dockerd()
        return self

    def start_dockerd(self):
        with open(self.path("/run/dockerd.log"), "ab") as log:
            self.services["dockerd"] = self.popen(["dockerd", "--config-file", "/run/d.json"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self.ask("GET", "/_ping")[0] == 200, f"dockerd\n{self.path('/run/dockerd.log').read_text()}")

    def kill_dockerd(self):
        self.kill("dockerd")
        self.services["dockerd"].wait()
        with contextlib.suppress(FileNotFoundError):
            self.path("/run/d/pid").unlink()

    def ask(self, method, path, body=None, kind="application/json"):
        """Status and body; (0, b"") when nobody answers."""
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.settimeout(30)
            connection.sock.connect(str(self.path("/run/d/docker.sock")))
            connection.request(method, path, body, {"Content-Type": kind})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def tell(self, method, path, body=None, kind="application/json"):
        status, answer = self.ask(method, path, json.dumps(body) if isinstance(body, dict) else body, kind)
        assert 200 <= status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def run_container(self, name, script):
        wanted = {"Image": "busybox", "Cmd": ["/bin/sh", "-c", script],
                  "HostConfig": {"NetworkMode": "none", "CgroupParent": self.env["HYDRA_CGROUP"], "Binds": ["/var/lib/hydra:/data"]}}
        self.tell("POST", f"/containers/create?name={name}", wanted)
        self.tell("POST", f"/containers/{name}/start")

    def state(self, name):
        return json.loads(self.tell("GET", f"/containers/{name}/json"))["State"]

    def output(self, name):
        """Of the multiplexed stream: eight bytes of header before each piece."""
        stream, text = self.tell("GET", f"/containers/{name}/logs?stdout=1&stderr=1"), b""
        while stream:
            size = int.from_bytes(stream[4:8], "big")
            text, stream = text + stream[8:8 + size], stream[8 + size:]
        return text.decode()


def load_image(host, rootfs):
    archive = subprocess.run(["tar", "-C", rootfs, "-c", "."], capture_output=True, check=True).stdout
    host.tell("POST", "/images/create?fromSrc=-&repo=busybox", archive, "application/x-tar")


@pytest.fixture
def docker(rootfs):
    assert shutil.which("dockerd"), "dockerd is not installed: it is in scripts/packages"
    with Docker("docker") as host:
        load_image(host, rootfs)
        yield host
        for item in json.loads(host.tell("GET", "/containers/json?all=1")):
            host.tell("DELETE", f"/containers/{item['Id']}?force=1")
        wait_for(lambda: not host.pids("hydra-shim"), "the shims to end")
        host.assert_clean()


def kill_shims(host):
    victims = host.pids("hydra-shim")
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(set(host.pids("hydra-shim")) - set(victims)) == len(victims), "successors")


def test_what_was_written_while_dockerd_was_away_is_read_on(docker):
    docker.run_container("web", "while [ ! -e /data/start ]; do sleep 0.01; done; seq 1 20000; : > /data/written; while [ ! -e /data/go ]; do sleep 0.01; done")
    docker.kill_dockerd()
    docker.path("/var/lib/hydra/start").touch()
    wait_for(lambda: docker.path("/var/lib/hydra/written").exists(), "the application to have written everything")
    docker.start_dockerd()
    wait_for(lambda: docker.output("web").splitlines() == [str(number) for number in range(1, 20001)], "all of it in its log")
    docker.path("/var/lib/hydra/go").touch()


def test_a_container_outlives_all_that_serve_it(docker):
    docker.run_container("web", "i=0; while [ ! -e /data/go ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 7")
    pid = docker.state("web")["Pid"]
    wait_for(lambda: "10\n" in docker.output("web"), "output")
    kill_shims(docker)
    docker.kill_dockerd()
    docker.crash()
    kill_shims(docker)
    docker.start_containerd()
    docker.start_dockerd()
    seen = docker.state("web")
    assert seen["Running"] and seen["Pid"] == pid
    docker.path("/var/lib/hydra/go").touch()
    wait_for(lambda: not docker.state("web")["Running"], "the end")
    assert docker.state("web")["ExitCode"] == 7
    lines = docker.output("web").splitlines()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]


def test_what_ended_while_dockerd_was_away_has_its_status(docker):
    """Its last output nobody asks for: dockerd reads those that still run when it is back, and no others."""
    docker.run_container("web", "while [ ! -e /data/go ]; do sleep 0.01; done; exit 9")
    docker.kill_dockerd()
    docker.path("/var/lib/hydra/go").touch()
    wait_for(lambda: docker.json("--namespace", "moby", "inspect", json_id(docker))["state"] == "stopped", "the end")
    docker.start_dockerd()
    wait_for(lambda: not docker.state("web")["Running"], "dockerd to know")
    assert docker.state("web")["ExitCode"] == 9


def json_id(host):
    return next(host.path("/run/hydra/moby").iterdir()).name
