# SPDX-License-Identifier: Apache-2.0
"""containerd's own shim for runc (io.containerd.runc.v2) that calls hydra: by BinaryName, and from dockerd by its list of runtimes."""
import json
import shutil

import pytest
import test_docker
from conftest import HYDRA, need
from containerd_host import Containerd
from hosts import wait_for

RUNTIME = ("--runtime", "io.containerd.runc.v2", "--runc-binary", HYDRA)


@pytest.fixture
def containerd(rootfs, tmp_path):
    need("containerd", "containerd-shim-runc-v2")
    with Containerd("runc-shim") as host:
        host.rootfs = str(tmp_path / "rootfs")
        shutil.copytree(rootfs, host.rootfs, symlinks=True)
        host.options = lambda: (*RUNTIME, "--cgroup", f"{host.env['HYDRA_CGROUP']}/default/task", "--rootfs", host.rootfs)
        yield host
        host.remove_tasks()
        wait_for(lambda: not host.pids("containerd-shim-runc-v2"), "the shims to end")
        host.assert_clean()


def test_a_task_and_its_processes(containerd):
    containerd.start_task("web")
    assert containerd.is_running("web")
    assert containerd.ctr("task", "exec", "--exec-id", "e", "--cwd", "/tmp", "--user", "12:13", "web", "/bin/sh", "-c", "id -u; id -g; pwd").stdout == "12\n13\n/tmp\n"
    assert containerd.ctr("task", "exec", "--exec-id", "f", "web", "/bin/sh", "-c", "exit 5", check=False).returncode == 5
    containerd.ctr("task", "pause", "web")
    assert containerd.status("web")[1] == "PAUSED"
    containerd.ctr("task", "resume", "web")
    assert containerd.is_running("web")
    assert "PID" in containerd.ctr("task", "ps", "web").stdout
    assert containerd.ctr("task", "metrics", "web").stdout
    containerd.ctr("task", "kill", "-s", "KILL", "web")
    wait_for(lambda: containerd.status("web")[1] == "STOPPED", "its end")


def test_output_and_status(containerd):
    done = containerd.ctr("run", "--rm", *containerd.options(), "one", "/bin/sh", "-c", "echo out; echo error >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "error\n")
    done = containerd.ctr("run", "--rm", *containerd.options(), "two", "/no/such", check=False)
    assert done.returncode != 0 and "/no/such" in done.stderr and "no such file" in done.stderr


def test_limits_seccomp_and_capabilities(containerd):
    limits = ("--seccomp", "--memory-limit", "67108864", "--cap-drop", "CAP_CHOWN", "--read-only")
    containerd.ctr("run", "-d", *limits, *containerd.options(), "one", "/bin/sleep", "100000")
    pid = containerd.status("one")[0]
    status = containerd.path(f"/proc/{pid}/status").read_text()
    words = dict(line.split(":\t", 1) for line in status.splitlines())
    assert (words["NoNewPrivs"], words["Seccomp"]) == ("1", "2") and int(words["CapBnd"], 16) & 1 == 0
    assert "Read-only" in containerd.ctr("task", "exec", "--exec-id", "e", "one", "/bin/sh", "-c", "touch /x 2>&1; true").stdout
    metrics = containerd.ctr("task", "metrics", "--format", "json", "one").stdout
    assert "67108864" in metrics


def test_tasks_stay_when_containerd_is_killed(containerd):
    containerd.start_task("web")
    pid = containerd.status("web")
    containerd.crash()
    containerd.start_containerd()
    assert containerd.status("web") == pid
    assert containerd.ctr("task", "exec", "--exec-id", "e", "web", "/bin/echo", "again").stdout == "again\n"


class Docker(test_docker.Docker):
    """As an administrator writes it: a path in the place of runc's."""

    CONFIG = {**test_docker.CONFIG, "runtimes": {"hydra": {"path": HYDRA}}}


@pytest.fixture
def docker(rootfs):
    need("dockerd")
    with Docker("docker-runc") as host:
        test_docker.load_image(host, rootfs)
        yield host
        for item in json.loads(host.tell("GET", "/containers/json?all=1")):
            host.tell("DELETE", f"/containers/{item['Id']}?force=1")
        wait_for(lambda: not host.pids("containerd-shim-runc-v2"), "the shims to end")
        host.assert_clean()


def execute(docker, name, *command):
    """Exit status of a docker exec."""
    made = json.loads(docker.tell("POST", f"/containers/{name}/exec", {"Cmd": list(command), "AttachStdout": True}))["Id"]
    docker.tell("POST", f"/exec/{made}/start", {"Detach": False})
    return json.loads(docker.tell("GET", f"/exec/{made}/json"))["ExitCode"]


def test_docker_runs_it(docker):
    docker.run_container("web", "i=0; while [ ! -e /data/go ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 7")
    wait_for(lambda: "10\n" in docker.output("web"), "output")
    assert execute(docker, "web", "/bin/sh", "-c", "exit 5") == 5
    docker.tell("POST", "/containers/web/pause")
    assert docker.state("web")["Paused"]
    docker.tell("POST", "/containers/web/unpause")
    docker.tell("POST", "/containers/web/update", {"Memory": 128 << 20, "MemorySwap": 128 << 20})
    assert json.loads(docker.tell("GET", "/containers/web/stats?stream=0&one-shot=1"))["memory_stats"]["limit"] == 128 << 20
    assert any("go" in " ".join(line) for line in json.loads(docker.tell("GET", "/containers/web/top"))["Processes"])
    docker.kill_dockerd()
    docker.start_dockerd()
    docker.path("/var/lib/hydra/go").touch()
    wait_for(lambda: docker.state("web")["Status"] == "exited", "its end")
    assert docker.state("web")["ExitCode"] == 7


def test_docker_is_told_why_not(docker):
    status, answer = docker.ask("POST", "/containers/create?name=bad", json.dumps({"Image": "busybox", "Cmd": ["/no/such"], "HostConfig": {
        "NetworkMode": "none", "CgroupParent": docker.env["HYDRA_CGROUP"]}}))
    assert status == 201
    status, answer = docker.ask("POST", "/containers/bad/start")
    assert status == 400 and b"/no/such" in answer and b"no such file" in answer.lower()
    assert docker.state("bad")["ExitCode"] == 127
