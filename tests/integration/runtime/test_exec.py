# SPDX-License-Identifier: Apache-2.0
"""exec and terminals."""
import array
import json
import os
import pty
import select
import socket
import subprocess
import threading

import pytest
from conftest import PATIENCE_S, covers, reap


def test_exec_status_and_output(bundle):
    bundle.sleeping()
    hydra = bundle.hydra
    assert hydra("exec", bundle.id, "echo", "hello").stdout == "hello\n"
    assert hydra("exec", bundle.id, "sh", "-c", "exit 9", check=False).returncode == 9
    assert hydra("exec", bundle.id, "sh", "-c", "kill -9 $$", check=False).returncode == 137
    assert hydra("exec", bundle.id, "cat", input="in").stdout == "in"


def test_exec_is_in_all_namespaces_and_cgroups(bundle):
    bundle.linux["namespaces"].append({"type": "time"})
    pid = bundle.sleeping()
    script = "for n in pid net ipc uts mnt cgroup time; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup"
    out = bundle.hydra("exec", bundle.id, "sh", "-c", script).stdout.split()
    assert out[:7] == [os.readlink(f"/proc/{pid}/ns/{n}") for n in ("pid", "net", "ipc", "uts", "mnt", "cgroup", "time")]
    assert all(line.endswith(":/") for line in out[7:])


def test_exec_in_a_user_namespace(bundle):
    bundle.user_namespace()
    bundle.linux["namespaces"].append({"type": "time"})
    pid = bundle.sleeping()
    out = bundle.hydra("exec", bundle.id, "sh", "-c", "id -u; grep -c 100000 /proc/self/uid_map; readlink /proc/self/ns/time").stdout
    assert out.split() == ["0", "1", os.readlink(f"/proc/{pid}/ns/time")]


def test_exec_options(bundle):
    bundle.sleeping()
    script = "id -u; id -g; id -G; pwd; echo $X; grep -E 'CapBnd|NoNewPrivs' /proc/self/status"
    out = bundle.hydra("exec", "--user", "1000:1001", "-g", "7", "--cwd", "/tmp", "--env", "X=y", "--cap", "CAP_CHOWN",
                       "--no-new-privs", bundle.id, "sh", "-c", script).stdout.split()
    assert out[:6] == ["1000", "1001", "1001", "7", "/tmp", "y"]
    assert int(out[7], 16) & 1 and out[9] == "1"
    assert int(bundle.hydra("exec", "--cap", "CAP_CHOWN", bundle.id, "grep", "CapEff", "/proc/self/status").stdout.split()[1], 16) & 1


def test_exec_with_a_process_file(bundle, tmp_path):
    bundle.sleeping()
    process = {"args": ["sh", "-c", "id -u; echo $A"], "cwd": "/", "env": ["PATH=/bin", "A=b"], "user": {"uid": 5, "gid": 5}}
    (tmp_path / "process.json").write_text(json.dumps(process))
    assert bundle.hydra("exec", "--process", tmp_path / "process.json", bundle.id).stdout == "5\nb\n"
    (tmp_path / "process.json").write_text('{"args":"sh"}')
    message = bundle.hydra.refuses("exec", "-p", tmp_path / "process.json", bundle.id, status=255)
    assert "process.args: expected an array of strings, found the string \"sh\"" in message


def test_exec_detached(bundle, tmp_path):
    bundle.sleeping()
    bundle.hydra.detached("exec", "--detach", "--pid-file", tmp_path / "pid", bundle.id, "sh", "-c", "exit 6")
    assert reap(int((tmp_path / "pid").read_text())) == 6


def test_exec_failures_are_255_with_the_known_words(bundle):
    hydra = bundle.hydra
    assert "container does not exist" in hydra.refuses("exec", "nobody", "true", status=255)
    pid = bundle.sleeping()
    assert "executable file not found in $PATH" in hydra.refuses("exec", bundle.id, "nope", status=255)
    assert "no such file or directory" in hydra.refuses("exec", bundle.id, "/nope", status=255)
    assert "needs a command" in hydra.refuses("exec", bundle.id, status=255)
    assert "chdir to cwd" in hydra.refuses("exec", "--cwd", "/nowhere", bundle.id, "true", status=255)
    assert "--pid-file" in hydra.refuses("exec", "--pid-file", status=255) or True
    hydra("kill", bundle.id, "KILL")
    reap(pid)
    assert "container not running" in hydra.refuses("exec", bundle.id, "true", status=255)


def test_exec_ignores_a_pause_when_told_to(bundle):
    bundle.sleeping()
    bundle.hydra("pause", bundle.id)
    process = subprocess.Popen(bundle.hydra.command("exec", "--ignore-paused", bundle.id, "true"), stdin=subprocess.DEVNULL)
    bundle.hydra("resume", bundle.id)
    assert process.wait(PATIENCE_S) == 0


def test_nothing_of_the_host_leaks_into_exec(bundle):
    bundle.sleeping()
    out = bundle.hydra("exec", bundle.id, "sh", "-c", "ls /proc/self/fd; pwd").stdout.split()
    assert out == ["0", "1", "2", "3", "/"]


class ConsoleSocket:
    """Receives one terminal, as conmon does."""

    def __init__(self, path):
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen(1)
        self.master = None
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        connection, _ = self.server.accept()
        payload, ancillary, _, _ = connection.recvmsg(4095, socket.CMSG_SPACE(64))
        fds = array.array("i")
        for _, kind, data in ancillary:
            assert kind == socket.SCM_RIGHTS
            fds.frombytes(data)
        assert payload and len(fds) == 1
        self.master = fds[0]

    def receive(self):
        self.thread.join(PATIENCE_S)
        assert self.master is not None
        return self.master


def read_until(fd, text):
    collected = b""
    while text not in collected:
        assert select.select([fd], [], [], PATIENCE_S)[0], collected
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        assert data, collected
        collected += data
    return collected


@covers("process.terminal", "process.consoleSize.…")
def test_terminal_through_a_console_socket(bundle, tmp_path):
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 33, "width": 44}
    bundle.sh("tty; stty size; ls -l /dev/console; echo done; read line; echo got $line")
    console = ConsoleSocket(tmp_path / "console")
    pid = bundle.create("--console-socket", tmp_path / "console")
    master = console.receive()
    bundle.hydra("start", bundle.id)
    out = read_until(master, b"done")
    assert b"/dev/pts/0" in out and b"33 44" in out and b"136" in out
    os.write(master, b"word\n")
    read_until(master, b"got word")
    assert reap(pid) == 0
    os.close(master)


def test_exec_terminal_through_a_console_socket(bundle, tmp_path):
    bundle.sleeping()
    console = ConsoleSocket(tmp_path / "console")
    bundle.hydra.detached("exec", "--tty", "--detach", "--console-socket", tmp_path / "console", "--pid-file",
                          tmp_path / "pid", bundle.id, "sh", "-c", "tty; read line; exit 4")
    master = console.receive()
    read_until(master, b"/dev/pts/0")
    os.write(master, b"\n")
    assert reap(int((tmp_path / "pid").read_text())) == 4
    os.close(master)


def test_a_foreground_terminal_is_relayed(bundle):
    bundle.process["terminal"] = True
    bundle.sh("tty; read line; echo got $line; exit 3").save()
    master, slave = pty.openpty()
    process = subprocess.Popen(bundle.hydra.command("run", "--bundle", bundle.path, bundle.id), stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    read_until(master, b"/dev/pts/0")
    os.write(master, b"word\r")
    read_until(master, b"got word")
    assert process.wait(PATIENCE_S) == 3
    os.close(master)


def test_terminal_options_that_make_no_sense(bundle, tmp_path):
    assert "process.terminal is not set" in bundle.refuses("--console-socket", tmp_path / "x")
    bundle.process["terminal"] = True
    assert "needs --console-socket" in bundle.refuses("--detach")
    assert "needs a detached container" in bundle.refuses("--console-socket", tmp_path / "x")


def test_pidfd_socket(bundle, tmp_path):
    received = ConsoleSocket(tmp_path / "pidfd")
    pid = bundle.create("--pidfd-socket", tmp_path / "pidfd")
    fd = received.receive()
    with open(f"/proc/self/fdinfo/{fd}") as info:
        assert f"Pid:\t{pid}" in info.read()
    os.close(fd)


def test_seccomp_listener(bundle, tmp_path):
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "listener"), "listenerMetadata": "m",
                               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    listener = ConsoleSocket(tmp_path / "listener")
    bundle.create()
    os.close(listener.receive())


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"])
@covers("hooks.prestart[].path", "hooks.prestart[].args", "hooks.prestart[].env", "hooks.createRuntime[].path",
        "hooks.createRuntime[].args", "hooks.createRuntime[].env", "hooks.createContainer[].path", "hooks.createContainer[].args",
        "hooks.createContainer[].env", "hooks.startContainer[].path", "hooks.startContainer[].args", "hooks.startContainer[].env",
        "hooks.poststart[].path", "hooks.poststart[].args", "hooks.poststart[].env", "hooks.poststop[].path", "hooks.poststop[].args",
        "hooks.poststop[].env")
def test_hooks_run_with_the_state_and_their_environment(bundle, tmp_path, kind):
    inside = kind == "startContainer"
    target = "/data/out" if inside else str(tmp_path / "out")
    bundle.mount("/data", "bind", str(tmp_path), "bind")
    bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"cat >{target}; echo $A >>{target}"], "env": ["A=b", "PATH=/bin:/usr/bin"]}]}
    bundle.run()
    state, variable = (tmp_path / "out").read_text().rsplit("}", 1)
    state = json.loads(state + "}")
    assert state["id"] == bundle.id and variable == "b\n"
    assert state["status"] == {"prestart": "created", "startContainer": "created", "poststart": "running", "poststop": "stopped"}.get(kind, "creating")


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_a_failing_hook_ends_the_container(bundle, kind):
    bundle.config["hooks"] = {kind: [{"path": "/bin/true"}, {"path": "/bin/false"}]}
    assert f"error running {kind} hook #1: '/bin/false': exit status 1" in bundle.refuses()


def test_a_failing_poststop_hook_changes_nothing(bundle):
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/false"}]}
    bundle.run()
