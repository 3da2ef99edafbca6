# SPDX-License-Identifier: Apache-2.0
"""A program with a terminal of its own; what it shows is collected."""
import contextlib
import fcntl
import os
import pty
import re
import struct
import termios

COLOUR = re.compile(r"\033\[[0-9;]*m")


class Terminal:
    """Use as a context manager. columns can be changed while the program runs: it gets its SIGWINCH."""

    def __init__(self, host, *command, columns=80):
        self.ours, theirs = pty.openpty()
        self.text = ""
        self.resize(columns)
        self.process = host.popen(list(command), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                  preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        os.set_blocking(self.ours, False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)

    def resize(self, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self):
        with contextlib.suppress(BlockingIOError, OSError):  # EIO: the other end is closed
            while data := os.read(self.ours, 65536):
                self.text += data.decode()
        return self.text

    def drawn(self):
        """The lines that were drawn in place, without what clears their rest."""
        return [line.removesuffix("\033[K") for line in re.findall(r"\r([^\r\n]+)", self.read())]
