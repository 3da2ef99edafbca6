# SPDX-License-Identifier: Apache-2.0
"""$NOTIFY_SOCKET: the service manager that a command is run by learns when the container's program is ready, and nothing else."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess

import pytest
from conftest import BUILD, PATIENCE_S, reap, wait_until

STORE = "FDSTORE=1\nMAINPID=1\nSTATUS=all yours"


@contextlib.contextmanager
def running(command):
    """Ends with the test, also when that fails."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


class Manager(socket.socket):
    def __init__(self, path):
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.bind(str(path))
        self.settimeout(PATIENCE_S)

    def hears(self):
        return self.recv(4096).decode()

    def has_heard_all(self):
        self.setblocking(False)
        with pytest.raises(BlockingIOError):
            self.recv(4096)
        self.settimeout(PATIENCE_S)


@pytest.fixture
def manager(tmp_path, monkeypatch):
    path = tmp_path / "manager"
    with Manager(path) as made:
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield made


@pytest.fixture
def ready(bundle, tmp_path):
    shutil.copy(BUILD / "checkpoint/ready", tmp_path / "ready")
    bundle.mount("/data", "tmpfs", "tmpfs").mount("/data/ready", "bind", str(tmp_path / "ready"), "bind")
    bundle.process["args"] = ["/data/ready", STORE, "RELOADING=1", "STATUS=up\nREADY=1"]
    return bundle


def test_run_hands_it_on_and_stays(manager, ready):
    ready.save()
    with running(ready.hydra.command("run", "--bundle", ready.path, ready.id)) as process:
        assert manager.hears() == "READY=1"
        assert ready.hydra.state(ready.id)["status"] == "running"
        ready.hydra("kill", ready.id, "KILL")
        assert process.wait(PATIENCE_S) == 137
    manager.has_heard_all()


def test_start_waits_for_it_and_names_the_main_process(manager, ready):
    pid = ready.create()
    manager.has_heard_all()
    ready.hydra("start", ready.id)
    assert (manager.hears(), manager.hears()) == ("READY=1", f"MAINPID={pid}")
    manager.has_heard_all()


def test_run_detached_waits_for_it(manager, ready, tmp_path):
    ready.save()
    ready.hydra.detached("run", "--detach", "--pid-file", tmp_path / "pid", "--bundle", ready.path, ready.id)
    assert (manager.hears(), manager.hears()) == ("READY=1", f"MAINPID={(tmp_path / 'pid').read_text()}")


def test_in_a_user_namespace(manager, ready):
    ready.user_namespace().mount("/tmp", "tmpfs", "tmpfs")  # where its root may make the folder
    pid = ready.create()
    ready.hydra("start", ready.id)
    assert (manager.hears(), manager.hears()) == ("READY=1", f"MAINPID={pid}")


def test_a_program_that_ends_before_it_is_ready_ends_the_wait(manager, ready):
    ready.process["args"] = ["/data/ready", "STATUS=never ready"]
    pid = ready.create()
    with running(ready.hydra.command("start", ready.id)) as process:
        wait_until(lambda: ready.hydra.state(ready.id)["status"] == "running")
        os.kill(pid, signal.SIGKILL)
        assert reap(pid) == 137 and process.wait(PATIENCE_S) == 0
    manager.has_heard_all()


def test_others_may_work_on_it_while_start_waits(manager, ready):
    ready.process["args"] = ["/data/ready", "STATUS=never ready"]
    ready.create()
    with running(ready.hydra.command("start", ready.id)) as process:
        wait_until(lambda: ready.hydra.state(ready.id)["status"] == "running")
        assert ready.hydra("exec", ready.id, "sh", "-c", "echo $NOTIFY_SOCKET").stdout == "\n"
        ready.hydra("delete", "--force", ready.id)
        assert process.wait(PATIENCE_S) == 0


def test_the_socket_is_where_crun_has_it(manager, bundle, tmp_path):
    bundle.sh(f"echo $NOTIFY_SOCKET; ls {tmp_path}/manager; touch {tmp_path}/manager/x 2>&1 | grep -c 'Read-only'")
    assert bundle.run().stdout.splitlines() == [f"{tmp_path}/manager/notify", "notify", "1"]


@pytest.mark.parametrize("value", ["", "@abstract", "/"])
def test_a_manager_that_the_container_cannot_reach(bundle, monkeypatch, value):
    monkeypatch.setenv("NOTIFY_SOCKET", value)
    assert bundle.output("echo ${NOTIFY_SOCKET-none}") == "none\n"


@pytest.mark.skipif(not (BUILD / "checkpoint" / "hydra-checkpoint").exists(), reason="hydra-checkpoint was not built")
def test_such_a_container_can_be_restored(manager, bundle, tmp_path):
    bundle.sh("exec 2>/dev/null; sleep 100000 & wait")
    pid = bundle.create()
    with running(bundle.hydra.command("start", bundle.id)) as process:
        wait_until(lambda: bundle.hydra.state(bundle.id)["status"] == "running")
        bundle.hydra.detached("checkpoint", "--image-path", tmp_path / "image", bundle.id)
        assert reap(pid) == 137 and process.wait(PATIENCE_S) == 0
    bundle.hydra.detached("restore", "--detach", "--image-path", tmp_path / "image", "--bundle", bundle.path, bundle.id)
    assert bundle.hydra("exec", bundle.id, "ls", tmp_path / "manager").stdout == ""
    pid = bundle.hydra.state(bundle.id)["pid"]
    os.kill(pid, 9)
    reap(pid)
