# SPDX-License-Identifier: Apache-2.0
"""Both workers of a migration and the restore process between them, driven as hydrad and the shim would do it."""
import json
import os
import pathlib
import socket
import subprocess
import threading

from conftest import CHECKPOINT, DEADLINE, PAGER, Stdio, wait_for


class Worker:
    """A process with a progress stream."""

    def __init__(self, command, pass_fds=(), prefix=(), env=None):
        read_fd, write_fd = os.pipe()
        self.lines, self.condition = [], threading.Condition()
        self.process = subprocess.Popen([*prefix, *command, "--progress-fd", str(write_fd)], pass_fds=[*pass_fds, write_fd],
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        os.close(write_fd)
        self.thread = threading.Thread(target=self._read, args=(read_fd,), daemon=True)
        self.thread.start()

    def _read(self, fd):
        with os.fdopen(fd) as stream:
            for line in stream:
                with self.condition:
                    self.lines.append(json.loads(line))
                    self.condition.notify_all()
        with self.condition:
            self.lines.append({"phase": "END"})
            self.condition.notify_all()

    def phase(self, *names):
        """Waits for a line of one of these phases and returns it."""
        def found():
            return next((line for line in self.lines if line["phase"] in names or line["phase"] == "END"), None)
        with self.condition:
            assert self.condition.wait_for(found, DEADLINE), f"no phase {names}; there are {self.lines[-3:]}"
            line = found()
        assert line["phase"] in names, f"ended without phase {names}: {self.lines[-4:]} {self.process.stderr.read()}"
        return line

    def phases(self):
        seen = []
        for line in self.lines:
            if line["phase"] != "END" and (not seen or seen[-1] != line["phase"]):
                seen.append(line["phase"])
        return seen

    def wait(self, timeout=DEADLINE):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs: {self.process.args[1]}, last said {self.lines[-3:]}") from None
        self.thread.join(timeout)
        return status

    def kill(self, number=9):
        if self.process.poll() is None:
            self.process.send_signal(number)

    @property
    def stderr(self):
        return self.process.stderr.read()


class Migration:
    """Moves a container over a Unix socketpair (one host) unless connections are given."""

    def __init__(self, container, tmp_path, layer=None, source_args=(), target_args=(), restore_args=(), rootfs=None,
                 source_env=None, target_env=None, restore_env=None, keeper=True, restores=True, listener=None,
                 source_prefix=(), target_prefix=(), restore_prefix=()):
        self.container, self.tmp, self.rootfs = container, pathlib.Path(tmp_path), rootfs or container.rootfs
        self.restore_args, self.restore_env, self.restores = list(restore_args), restore_env, restores
        for name in ("state", "works", "layers"):
            (self.tmp / name).mkdir(exist_ok=True)
        self.stdio = Stdio()
        self.keeper, self.keeper_there = socket.socketpair() if keeper else (None, None)
        self.kept, self.said = [], b""
        self.restore, self.restore_prefix = None, list(restore_prefix)
        self.target_args, self.target_env, self.target_prefix = list(target_args), target_env, target_prefix
        here, there = socket.socketpair() if listener is None else (None, None)
        to = ["--connection-fd", str(here.fileno())] if here else ["--connect", listener.address]
        self.sender = Worker([PAGER, "send", *to, "--id", container.name, "--pid", str(container.pid), "--work",
                              str(self.tmp / "source-images"), "--state", str(self.tmp / "state"),
                              *(["--layer", str(layer)] if layer else []), *source_args],
                             [here.fileno()] if here else [], env=source_env, prefix=source_prefix)
        self.workers, self.arrived = [], threading.Condition()
        if here:
            here.close()
            self.workers.append(self.receive(there))
        else:
            threading.Thread(target=self._hydrad, args=(listener,), daemon=True).start()
        self.receiver = self.worker(0)
        self.thread = threading.Thread(target=self._shim, daemon=True)
        self.thread.start()

    def _hydrad(self, listener):
        while True:
            try:
                connection = listener.accept()
            except OSError:
                return
            with self.arrived:
                self.workers.append(self.receive(connection))
                self.arrived.notify_all()

    def worker(self, number):
        """Of one connection to the target: 0 the migration, 1 its faults; after a loss two more."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.workers) > number, DEADLINE), f"no connection {number}"
            return self.workers[number]

    def receive(self, connection):
        """What hydrad does with a connection."""
        with connection:
            return Worker([PAGER, "receive", "--connection-fd", str(connection.fileno()), "--work-root",
                           str(self.tmp / "works"), "--verdicts", str(self.tmp / "verdicts"), "--layer-root", str(self.tmp / "layers"),
                           *self.target_args],
                          [connection.fileno()], env=self.target_env, prefix=self.target_prefix)

    def _shim(self):
        """What a shim does: starts the restore when asked, keeps userfaultfds until all pages are there."""
        try:
            line = self.receiver.phase("prepare")
        except AssertionError:
            return
        if not self.restores:
            return
        self.work = pathlib.Path(line["work"])
        fds = [self.stdio.stdin.read_fd, self.stdio.stdout.write_fd, self.stdio.stderr.write_fd]
        keeper = ["--keeper-fd", str(self.keeper_there.fileno())] if self.keeper else []
        self.restore = subprocess.Popen(
            [*self.restore_prefix, CHECKPOINT, "restore", "--lazy", "--images", str(self.work / "images"), "--root", str(self.rootfs), "--stdin-fd",
             str(fds[0]), "--stdout-fd", str(fds[1]), "--stderr-fd", str(fds[2]), "--handoff", str(self.work / "handoff.sock"),
             *keeper, *self.restore_args],
            pass_fds=[*fds, *([self.keeper_there.fileno()] if self.keeper else [])], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, **(self.restore_env or {})})
        if not self.keeper:
            return
        self.keeper_there.close()
        self._keep()

    def _keep(self):
        while True:
            try:
                data, ancillary, _, _ = self.keeper.recvmsg(4096, socket.CMSG_SPACE(64))
            except OSError:
                return
            for _, _, raw in ancillary:
                self.kept += list(memoryview(raw).cast("i"))
            self.said += data
            if b"complete" in data:
                self.release()
            if not data or b"complete" in data:
                return  # of a pager that died they are kept for the next one

    def take_over(self, env=None):
        """What a shim does when the pager dies: starts another one with what it kept."""
        self.thread.join(DEADLINE)
        self.keeper.close()
        self.keeper, theirs = socket.socketpair()
        with theirs:
            pager = subprocess.Popen([PAGER, "take-over", "--work", str(self.work), "--keeper-fd", str(theirs.fileno())],
                                     pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        for fd in self.kept:
            socket.send_fds(self.keeper, [b"uffd\0"], [fd])
        self.keeper.send(b"all\0")
        self.thread = threading.Thread(target=self._keep, daemon=True)
        self.thread.start()
        return pager

    def release(self):
        for fd in self.kept:
            os.close(fd)
        self.kept = []
        if self.keeper:
            self.keeper.close()

    def pid(self):
        """Of the restored init."""
        return self.receiver.phase("paging")["pid"]

    def expect_moved(self):
        assert self.sender.wait() == 0, self.sender.stderr
        assert self.receiver.wait() == 0, self.receiver.stderr
        self.thread.join(DEADLINE)
        out, error = self.restore.communicate(timeout=DEADLINE)
        assert self.restore.returncode == 0, error
        assert not (self.tmp / "source-images").exists() and not list((self.tmp / "works").iterdir())
        return int(out)

    def finish(self):
        for worker in (self.sender, *self.workers):
            worker.kill()
            worker.wait()
        self.thread.join(5)
        if self.restore is not None:
            self.restore.kill()
            self.restore.communicate()
        self.release()
        self.stdio.close()


class Listener:
    """Where hydrad listens; can cut what it accepted, because it stands in between."""

    def __init__(self, address="127.0.0.1"):
        self.socket = socket.create_server((address, 0))
        self.address = "%s:%d" % self.socket.getsockname()

    def accept(self):
        return self.socket.accept()[0]

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        except OSError:
            pass
        self.socket.close()


def make_certificates(folder, name="hydra"):
    """A CA with two certificates; the arguments for the two workers."""
    folder.mkdir()
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder, timeout=60)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out",
            "ca.pem", "-days", "2", "-subj", f"/CN={name} CA")
    for host in ("source", "target"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{host}.key", "-out",
                f"{host}.csr", "-subj", f"/CN={host}")
        openssl("x509", "-req", "-in", f"{host}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-out", f"{host}.pem")
    return [["--ca", str(folder / "ca.pem"), "--cert", str(folder / f"{host}.pem"), "--key", str(folder / f"{host}.key")]
            for host in ("source", "target")]
