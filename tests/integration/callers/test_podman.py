# SPDX-License-Identifier: Apache-2.0
"""Podman 5 with --runtime hydra."""
import json
import os
import re
import socket
import subprocess

import pytest
from conftest import BUILD, HYDRA, PATIENCE_S, Tool, need, wait_until

CRIU = "/opt/criu/bin"
COUNT = "i=0; while sleep 0.05; do i=$((i+1)); echo $i; done"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: kube}
spec:
  hostNetwork: true
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: localhost/box
    imagePullPolicy: Never
    command: [sleep, "100000"]
    resources: {limits: {memory: 64Mi}}
    securityContext: {readOnlyRootFilesystem: true, runAsUser: 1000}
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory, rootfs):
    """An image localhost/box, made here."""
    need("podman", "conmon")
    folder = tmp_path_factory.mktemp("podman")
    tool = Tool("podman", "--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp", "--storage-driver", "vfs",
                "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", HYDRA,
                env={"PODMAN_IGNORE_CGROUPSV1_WARNING": "1", "PATH": f"{os.environ['PATH']}:{CRIU}"})
    archive = subprocess.run(["tar", "-C", rootfs, "-c", "."], capture_output=True, check=True).stdout
    subprocess.run([*tool.base, "import", "-", "localhost/box"], input=archive, capture_output=True, check=True, env=tool.env)
    yield tool
    for mount in (f"{folder}/storage/vfs", f"{folder}/storage"):
        subprocess.run(["umount", "-l", mount], capture_output=True, check=False)


@pytest.fixture
def podman(storage, nothing_is_left):
    yield storage
    storage("pod", "rm", "--all", "--force", "--time", "0", check=False)
    storage("rm", "--all", "--force", "--time", "0", check=False)


def run(podman, name, *command, options=()):
    podman("run", "--detach", "--name", name, "--network", "none", *options, "localhost/box", *command)


def state(podman, name, field):
    return podman("inspect", "--format", "{{.State." + field + "}}", name).stdout.strip()


def counted(podman, name):
    return [int(line) for line in podman("logs", name).stdout.split()]


def assert_counts(podman, name):
    numbers = counted(podman, name)
    assert numbers == list(range(1, len(numbers) + 1))


def test_run(podman):
    assert podman("run", "--rm", "--network", "none", "localhost/box", "echo", "hello").stdout == "hello\n"
    assert podman("run", "--rm", "--network", "none", "localhost/box", "sh", "-c", "exit 7", check=False).returncode == 7
    assert podman("run", "--rm", "--network", "none", "localhost/box", "/no/such", check=False).returncode == 127
    assert podman("run", "--rm", "--network", "none", "localhost/box", "/etc/passwd", check=False).returncode == 126
    assert podman("run", "--rm", "--network", "none", "--interactive", "localhost/box", "cat", stdin=open("/etc/hostname")).stdout


def test_life(podman):
    run(podman, "web", "sleep", "100000", options=["--memory", "64m", "--pids-limit", "100"])
    assert podman("exec", "web", "echo", "inside").stdout == "inside\n"
    assert podman("exec", "--user", "12:13", "--workdir", "/tmp", "--env", "A=b", "web", "sh", "-c", "id -u; id -g; pwd; echo $A").stdout == "12\n13\n/tmp\nb\n"
    assert podman("exec", "web", "sh", "-c", "exit 4", check=False).returncode == 4
    assert podman("exec", "web", "/no/such", check=False).returncode == 127
    podman("pause", "web")
    assert podman("ps", "--format", "{{.Names}} {{.State}}", "--filter", "status=paused").stdout == "web paused\n"
    podman("unpause", "web")
    podman("update", "--memory", "128m", "web")
    podman("stop", "--time", "0", "web")
    assert state(podman, "web", "ExitCode") == "137"
    podman("start", "web")
    podman("restart", "--time", "0", "web")
    podman("kill", "--signal", "TERM", "web")  # sleep is process 1: nothing happens by default
    podman("kill", "web")
    wait_until(lambda: state(podman, "web", "Status") == "exited", "its end")


def test_what_it_reads(podman):
    run(podman, "web", "sh", "-c", f"echo begun; echo error >&2; {COUNT}")
    wait_until(lambda: len(podman("logs", "web").stdout.split()) > 3, "output")
    logs = podman("logs", "web")
    assert logs.stdout.startswith("begun\n1\n2\n") and logs.stderr == "error\n"
    row = json.loads(podman("stats", "--no-stream", "--format", "json", "web").stdout)[0]
    assert row["name"] == "web" and int(row["pids"]) >= 1 and re.match(r"[\d.]+[kM]B / ", row["mem_usage"])
    assert "sleep" in podman("top", "web", "args").stdout
    assert podman("ps", "--format", "{{.Names}} {{.State}}").stdout == "web running\n"


def test_terminals(podman):
    run(podman, "web", "sleep", "100000")
    status, text = podman.on_terminal("exec", "--interactive", "--tty", "web", "sh", "-c", "'tty; exit 3'")
    assert (status, text) == (3, "/dev/pts/0\n")
    status, text = podman.on_terminal("run", "--rm", "--interactive", "--tty", "--network", "none", "localhost/box", "sh", "-c", "'tty; stty size; exit 5'")
    assert status == 5 and text.startswith("/dev/console\n") or text.startswith("/dev/pts/0\n")


def test_health_checks(podman):
    run(podman, "web", "sleep", "100000", options=["--health-cmd", "test -e /healthy", "--health-interval", "disable", "--health-retries", "1"])
    assert podman("healthcheck", "run", "web", check=False).returncode == 1
    podman("exec", "web", "touch", "/healthy")
    assert podman("healthcheck", "run", "web").returncode == 0
    assert state(podman, "web", "Health.Status") == "healthy"


def test_a_service_manager_learns_when_it_is_ready(podman, tmp_path):
    """podman run in a unit of Type=notify: the container says it."""
    path = str(tmp_path / "manager")
    ready = BUILD / "checkpoint/ready"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(PATIENCE_S)
        inside = Tool(*podman.base, env={**podman.env, "NOTIFY_SOCKET": path})
        run(inside, "service", "/ready", "READY=1", options=["--sdnotify", "container", "--volume", f"{ready}:/ready:ro"])
        said = ""
        while "READY=1" not in said or "MAINPID=" not in said:
            said += manager.recv(4096).decode() + "\n"
        pid = state(podman, "service", "ConmonPid")
    assert f"MAINPID={pid}" in said.split()


def test_pods(podman):
    podman("pod", "create", "--name", "pod", "--network", "none", "--infra-image", "localhost/box", "--infra-command", "sleep 100000")
    podman("run", "--detach", "--pod", "pod", "--name", "one", "localhost/box", "sleep", "100000")
    podman("run", "--detach", "--pod", "pod", "--name", "two", "localhost/box", "sleep", "100000")
    links = [podman("exec", name, "sh", "-c", "for kind in net ipc uts; do readlink /proc/self/ns/$kind; done").stdout for name in ("one", "two")]
    assert links[0] == links[1] and links[0].count("\n") == 3
    podman("pod", "pause", "pod")
    podman("pod", "unpause", "pod")
    podman("pod", "stop", "--time", "0", "pod")
    podman("pod", "rm", "pod")


def test_play_kube(podman, tmp_path):
    need("catatonit")
    (tmp_path / "pod.yaml").write_text(POD)
    podman("play", "kube", tmp_path / "pod.yaml")
    assert podman("exec", "kube-web", "sh", "-c", "id -u; touch /x", check=False).stdout == "1000\n"
    assert podman("inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.ReadonlyRootfs}}", "kube-web").stdout == "67108864 true\n"
    podman("play", "kube", "--down", tmp_path / "pod.yaml")


@pytest.fixture
def subordinate_ids(tmp_path, nothing_is_left):
    (tmp_path / "ids").write_text("containers:200000:1000000\n")
    for name in ("/etc/subuid", "/etc/subgid"):
        subprocess.run(["mount", "--bind", tmp_path / "ids", name], check=True)
    yield
    for name in ("/etc/subuid", "/etc/subgid"):
        subprocess.run(["umount", name], check=True)


def test_user_namespaces(podman, subordinate_ids):
    out = podman("run", "--rm", "--network", "none", "--userns", "auto", "localhost/box", "cat", "/proc/self/uid_map").stdout.split()
    assert out[:2] == ["0", "200000"]
    out = podman("run", "--rm", "--network", "none", "--userns", "auto:size=5000", "--user", "5:6", "localhost/box", "sh", "-c", "id -u; id -g; cat /proc/self/gid_map").stdout.split()
    assert out[:2] == ["5", "6"] and out[4] == "5000"
    out = podman("run", "--rm", "--network", "none", "--uidmap", "0:300000:1000", "--uidmap", "1000:500000:1", "localhost/box", "cat", "/proc/self/uid_map").stdout.split()
    assert out == ["0", "300000", "1000", "1000", "500000", "1"]


def test_checkpoint_and_restore(podman):
    run(podman, "web", "sh", "-c", COUNT)
    wait_until(lambda: len(counted(podman, "web")) > 5, "output")
    podman("container", "checkpoint", "web")
    assert state(podman, "web", "Status") == "exited"
    before = counted(podman, "web")
    podman("container", "restore", "web")
    wait_until(lambda: len(counted(podman, "web")) > len(before) + 5, "it to count on")
    assert_counts(podman, "web")


def test_a_checkpoint_goes_into_a_new_container(podman, tmp_path):
    run(podman, "web", "sh", "-c", COUNT)
    wait_until(lambda: len(counted(podman, "web")) > 5, "output")
    podman("container", "checkpoint", "--export", tmp_path / "web.tar.gz", "web")
    before = len(counted(podman, "web"))
    podman("rm", "web")
    podman("container", "restore", "--import", tmp_path / "web.tar.gz", "--name", "again")
    wait_until(lambda: len(counted(podman, "again")) > before + 5, "it to count on")  # its log comes along
    assert_counts(podman, "again")


def test_a_rootfs(podman, rootfs, tmp_path):
    assert podman("run", "--rm", "--network", "none", "--rootfs", f"{rootfs}:O", "sh", "-c", "touch /x && echo written").stdout == "written\n"
    out = podman("run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--rootfs", rootfs,
                 "sh", "-c", "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; touch /x 2>&1; true").stdout
    assert out == "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\ntouch: /x: Read-only file system\n"
