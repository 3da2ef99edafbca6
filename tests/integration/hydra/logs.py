# SPDX-License-Identifier: Apache-2.0
"""What the tests of logs share: counters, bytes instead of text, a disk that can be filled."""
import errno
import json
import pathlib
import subprocess

from hosts import program, wait_for

DISK = "/var/lib/hydra/disk"


def log_bytes(host, name, *options):
    """What `hydractl logs` prints, both streams, as bytes."""
    done = subprocess.run(host.inside([program("hydractl"), "logs", *options, name]), env=host.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return done.stdout


def lines(first, last):
    return "".join(f"{number}\n" for number in range(first, last + 1)).encode()


def counters(host, name):
    """They always add up. A shim that was just killed has a successor soon."""
    done = wait_for(lambda: (seen := host.ctl("--format", "json", "stats", name, check=False)).returncode == 0 and seen, "an answer")
    stats = json.loads(done.stdout)
    assert stats["logBytes"] + stats["logDroppedBytes"] + stats["logSpilledBytes"] == stats["logReadBytes"], stats
    return stats


def log_path(host, name):
    return host.path(host.inspect(name)["log"]["path"])


def run(host, rootfs, name, script, *options, mount=None):
    """A container in the background; its standard input is nothing, mount is /data in it."""
    if mount is not None:
        options += ("-v", f"{mount}:/data")
    host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, *options, "sh", "-c", script)


def log_options(**options):
    return [word for key, value in options.items() for word in ("--log-opt", f"{key.replace('_', '-')}={value}")]


def fill(path):
    """Takes what the file system has left."""
    with open(path, "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC


class Disk:
    """A file system of its own for logs, which can be full."""

    path = f"{DISK}/web.log"

    def __init__(self, host, size="8m"):
        self.host = host
        host.path(DISK).mkdir()
        host.run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", DISK)

    def fill(self):
        fill(self.host.path(f"{DISK}/filler"))

    def relieve(self):
        self.host.path(f"{DISK}/filler").unlink()

    def remove(self):
        self.host.run("umount", "-l", DISK)
        self.host.path(DISK).rmdir()


def wait_for_written(host, name, size):
    return wait_for(lambda: (now := counters(host, name))["logBytes"] >= size and now["logSpilledBytes"] == 0 and now,
                    f"{size} bytes in the log")


def touch(folder, name):
    pathlib.Path(folder, name).touch()
