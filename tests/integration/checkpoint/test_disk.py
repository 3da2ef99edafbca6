# SPDX-License-Identifier: Apache-2.0
"""Checkpoint to disk and back, with real containers."""
import array
import os
import select
import socket
import subprocess

from conftest import CHECKPOINT, DEADLINE, Stdio, run, wait_for, is_running


def dump(container, images, *more, check=True):
    return run([CHECKPOINT, "dump", "--id", container.name, "--pid", str(container.pid), "--images", str(images), *more],
               check=check)


def restore(images, rootfs, stdio, *more, pass_fds=()):
    fds = (stdio.stdin.read_fd, stdio.stdout.write_fd, stdio.stderr.write_fd)
    done = subprocess.run([CHECKPOINT, "restore", "--images", str(images), "--root", str(rootfs), "--stdin-fd", str(fds[0]),
                           "--stdout-fd", str(fds[1]), "--stderr-fd", str(fds[2]), *more],
                          pass_fds=[*fds, *pass_fds], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + "".join(
        line for line in open(images / "restore.log") if "Error" in line or "Warn" in line)
    return int(done.stdout)


def test_memory_and_pipes_survive(container, tmp_path, kill_later):
    one = container("/bin/ticker", "16")
    one.stdio.stdout.line("START")
    dump(one, tmp_path / "images")
    wait_for(lambda: not is_running(one.pid), "the container to be gone")
    two = Stdio()
    pid = restore(tmp_path / "images", one.rootfs, two)
    kill_later(pid)
    assert two.ask("verify", "VERIFY") == "VERIFY bad=0 pages=4096"
    two.stdin.write("exit 7\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7, "init became our child"
    two.close()


def test_left_running(container, tmp_path):
    one = container("/bin/ticker", "4")
    one.stdio.stdout.line("START")
    dump(one, tmp_path / "images", "--leave-running")
    assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=1024"


def test_external_mounts_are_remembered(container, tmp_path, kill_later):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("before\n")
    (tmp_path / "single").write_text("single\n")
    mounts = [{"destination": "/data", "type": "bind", "source": str(tmp_path / "shared"), "options": ["bind", "rw"]},
              {"destination": "/etc/single", "type": "bind", "source": str(tmp_path / "single"), "options": ["bind", "ro"]}]
    one = container("/bin/sh", "-c", "while read file; do cat $file; done", mounts=mounts)
    assert one.stdio.ask("/data/file", "") == "before"
    dump(one, tmp_path / "images")
    (tmp_path / "shared" / "file").write_text("after\n")
    two = Stdio()
    kill_later(restore(tmp_path / "images", one.rootfs, two))
    assert two.ask("/data/file", "") == "after"
    assert two.ask("/etc/single", "") == "single"
    two.close()


def test_what_cannot_be_saved_is_named(container, tmp_path):
    os.mknod(tmp_path / "loop", 0o600 | 0o060000, os.makedev(7, 0))
    mounts = [{"destination": "/loop", "type": "bind", "source": str(tmp_path / "loop"), "options": ["bind", "dev"]}]
    one = container("/bin/sh", "-c", "exec 5<>/dev/ptmx; echo ready; while read x; do echo $x; done", mounts=mounts)
    one.stdio.stdout.line("ready")
    fake = subprocess.Popen(["nsenter", "-t", str(one.pid), "-p", "-m", "--", "/bin/sleep", "1000"])
    wait_for(lambda: os.readlink(f"/proc/{fake.pid}/exe").endswith("busybox") or True, "the session")
    wait_for(lambda: list(os.scandir(f"/proc/{fake.pid}/task")), "the session")
    failed = wait_for(lambda: (lambda done: done if "exec session" in done.stderr else None)(
        dump(one, tmp_path / "images", check=False)), "a refusal")
    assert failed.returncode == 1
    fake.kill()
    fake.wait()
    assert one.stdio.ask("alive", "alive") == "alive"


def test_terminal(container, tmp_path, kill_later):
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "console"))
    listener.listen()
    folder = tmp_path / "tty"
    from conftest import Container
    one = Container(folder, ["/bin/sh"], "tty", terminal=True)
    try:
        starter = subprocess.Popen(["runc", "run", "--detach", "--console-socket", str(tmp_path / "console"), "--bundle",
                                    str(folder), "--pid-file", str(folder / "pid"), one.name])
        connection, _ = listener.accept()
        master = receive_fd(connection)
        assert starter.wait(60) == 0
        one.pid = int((folder / "pid").read_text())
        os.write(master, b"stty rows 33 cols 77; x=kept; echo set$x\n")
        read_until(master, b"setkept")
        dump(one, tmp_path / "images")
        os.close(master)
        two = Stdio()
        pid = restore(tmp_path / "images", one.rootfs, two, "--console-socket-fd", str(there.fileno()),
                      pass_fds=[there.fileno()])
        kill_later(pid)
        master = receive_fd(here)
        os.write(master, b"echo again$x; stty size\n")
        assert b"againkept" in read_until(master, b"33 77")
        os.close(master)
        two.close()
    finally:
        one.remove()
        for each in (here, there, listener):
            each.close()


def receive_fd(connection):
    connection.settimeout(60)
    _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(16))
    return array.array("i", ancillary[0][2][:4])[0]


def read_until(master, text):
    data = b""
    while text not in data:
        assert select.select([master], [], [], DEADLINE)[0], f"waited for {text}, there is {data}"
        data += os.read(master, 4096)
    return data