# SPDX-License-Identifier: Apache-2.0
"""A small systemd for one program of a host: it hears notifications, keeps descriptors, passes what is to be passed."""
import contextlib
import os
import signal
import socket
import subprocess

from hosts import DEADLINE, program, signal_if_there, wait_for

SOCKET = "/run/notify"
HAND_OVER = "/run/hand-over"
# Descriptors go to the program and to nobody between us and it: nsenter would keep what it inherits.
LAUNCH = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    fds = socket.recv_fds(connection, 1, 253)[1]
high = [os.dup2(fd, 500 + number, False) for number, fd in enumerate(fds)]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
os.closerange(3 + len(fds), 600)
os.environ.update(LISTEN_PID=str(os.getpid()), WATCHDOG_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class ServiceManager:
    """Use as a context manager. What it was told is in `told`, the descriptors it keeps in `kept`: (name, descriptor)."""

    def __init__(self, host, name, *arguments, **environment):
        self.host, self.command, self.environment = host, [program(name), *arguments], environment
        self.told, self.kept, self.process = [], [], None

    def __enter__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.host.path(SOCKET)))
        self.socket.setblocking(False)
        return self

    def __exit__(self, *_):
        self.kill()
        self.socket.close()
        self.host.path(SOCKET).unlink()
        for _, fd in self.kept:
            os.close(fd)

    def launch(self, fds=()):
        """fds: (name, descriptor) to pass besides those that are kept."""
        passed = [*fds, *self.kept]
        environment = {**self.host.env, "NOTIFY_SOCKET": SOCKET, "LISTEN_FDS": str(len(passed)),
                       "LISTEN_FDNAMES": ":".join(name for name, _ in passed), **self.environment}
        with socket.socket(socket.AF_UNIX) as listener, open(self.host.path("/run/service.log"), "ab") as log:
            listener.bind(str(self.host.path(HAND_OVER)))
            listener.listen()
            self.process = self.host.popen(["python3", "-c", LAUNCH, HAND_OVER, *self.command], env=environment,
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            connection = listener.accept()[0]
            with connection:
                socket.send_fds(connection, [b"x"], [fd for _, fd in passed])
        self.host.path(HAND_OVER).unlink()
        self.told.clear()

    def start(self, fds=()):
        self.launch(fds)
        self.wait_for("READY=1")

    def hear(self):
        """Takes what was said until now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, fds, _, _ = socket.recv_fds(self.socket, 4096, 16)
                self.handle(data.decode().splitlines(), fds)

    def handle(self, lines, fds):
        values = dict(line.split("=", 1) for line in lines)
        self.told += lines
        if "FDSTORE" in values:
            assert len(fds) == 1 and values["FDPOLL"] == "0", lines
            self.kept.append((values["FDNAME"], fds.pop()))
        if "FDSTOREREMOVE" in values:
            for name, fd in [entry for entry in self.kept if entry[0] == values["FDNAME"]]:
                self.kept.remove((name, fd))
                os.close(fd)
        assert not fds

    def wait_for(self, line):
        wait_for(lambda: self.hear() or line in self.told, f"{line}; it told {self.told}")

    def pid(self):
        return self.host.pids(os.path.basename(self.command[0]))[0]

    def send(self, number):
        os.kill(self.pid(), number)

    def kill(self, signal_number=signal.SIGKILL):
        if self.process is not None:
            for pid in self.host.pids(os.path.basename(self.command[0])):
                signal_if_there(pid, signal_number)
            self.process.wait(DEADLINE)
            self.hear()
        self.process = None
