# SPDX-License-Identifier: Apache-2.0
"""Whatever a program has open or running when it is moved is still what it was afterwards."""
import fcntl
import os
import select
import struct
import subprocess
import termios

import pytest

from cluster import run, tracks_writes, wait_for

needs_tracking = pytest.mark.skipif(not tracks_writes(), reason="the kernel does not track written pages")
MODES = ["post-copy", "cold", pytest.param("pre-copy", marks=needs_tracking), pytest.param("hybrid", marks=needs_tracking)]
KINDS = {"udp", "listener", "unix", "inotify", "shared", "files", "descriptors", "timers", "threads", "seccomp"}


def said(host, name):
    return host.ctl("logs", name).stdout.split("\n")


def check(host, name, kinds, times):
    host.ctl("kill", "-s", "USR1", name)
    wait_for(lambda: said(host, name).count("CHECKED") == times, "the program to look at what it has")
    answers = dict(line.split(" ", 1) for line in said(host, name) if line.endswith((" ok", " bad")))
    assert answers == {kind: "ok" for kind in kinds}


@pytest.mark.parametrize("mode", MODES)
def test_one_of_each(cluster, rootfs, mode):
    run(cluster.a, rootfs, "kinds", "kinds")
    wait_for(lambda: "READY" in said(cluster.a, "kinds"), "the program")
    assert not [line for line in said(cluster.a, "kinds") if "not made" in line]
    cluster.migrate("kinds", cluster.a, "--mode", mode)
    check(cluster.b, "kinds", KINDS, 1)
    cluster.migrate("kinds", cluster.b, "--mode", mode)
    check(cluster.a, "kinds", KINDS, 1)


def waiting_in(pipe):
    fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0]
    finally:
        os.close(fd)


def has_ended(pipe):
    """Nobody has its other end open."""
    fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return any(events & select.POLLHUP for _, events in poll.poll(0))
    finally:
        os.close(fd)


def attach(host, name):
    return host.popen([host.program("hydractl"), "attach", name], stdin=-1, stdout=subprocess.DEVNULL, text=True)


WAIT_THEN_READ = "echo ready; while [ ! -e /data/go ]; do sleep 0.05; done; n=0; while read -r line; do n=$((n+1)); echo got $line; done; echo end after $n"


def start_reader(host, rootfs):
    host.ctl("create", "-i", "--name", "reader", "--rootfs", rootfs, "sh", "-c", WAIT_THEN_READ)
    host.ctl("start", "reader")
    wait_for(lambda: "ready" in said(host, "reader"), "the reader")


@pytest.mark.parametrize("mode", MODES)
def test_input_that_was_not_read_yet(cluster, rootfs, mode):
    start_reader(cluster.a, rootfs)
    session = attach(cluster.a, "reader")
    lines = [f"{number} {'x' * 50}" for number in range(700)]
    session.stdin.write("\n".join(lines) + "\n")
    session.stdin.flush()
    pipe = cluster.a.path(f"/proc/{cluster.a.inspect('reader')['pid']}/fd/0")
    wait_for(lambda: waiting_in(pipe) == sum(len(line) + 1 for line in lines), "the input to be in the pipe")
    cluster.a.kill("hydractl")  # before its input ends: it would tell the program
    session.wait()
    session.stdin.close()
    cluster.migrate("reader", cluster.a, "--mode", mode)
    later = attach(cluster.b, "reader")
    later.stdin.write("later\n")
    later.stdin.flush()
    cluster.b.ctl("exec", "reader", "touch", "/data/go")
    wait_for(lambda: "got later" in said(cluster.b, "reader"), "all input to be read")
    assert [line for line in said(cluster.b, "reader") if line.startswith("got")] == [f"got {line}" for line in [*lines, "later"]]
    later.stdin.close()
    wait_for(lambda: f"end after {len(lines) + 1}" in said(cluster.b, "reader"), "the end of input to be heard")
    later.wait()


def test_input_that_has_ended(cluster, rootfs):
    start_reader(cluster.a, rootfs)
    session = attach(cluster.a, "reader")
    session.stdin.write("first\nlast\n")
    session.stdin.close()
    pipe = cluster.a.path(f"/proc/{cluster.a.inspect('reader')['pid']}/fd/0")
    wait_for(lambda: has_ended(pipe), "the end of input")
    cluster.migrate("reader", cluster.a)
    cluster.b.ctl("exec", "reader", "touch", "/data/go")
    wait_for(lambda: cluster.b.inspect("reader")["state"] == "stopped", "its end")
    assert [line for line in said(cluster.b, "reader") if line] == ["got first", "got last", "end after 2"]
    cluster.a.kill("hydractl")
    session.wait()


@pytest.mark.parametrize("mode", ["post-copy", "cold"])
def test_who_sleeps_sleeps_on(cluster, rootfs, mode):
    """sleep(1) of busybox and others would end when its system call ends early. For as long as it should is for it to see."""
    up = "cut -d. -f1 /proc/uptime"
    run(cluster.a, rootfs, "sleeper", "sh", "-c", f"from=$({up}); echo ready; sleep 4; echo $? $(($({up}) - from))")
    wait_for(lambda: said(cluster.a, "sleeper") == ["ready", ""], "it to sleep")
    cluster.migrate("sleeper", cluster.a, "--mode", mode)
    cluster.migrate("sleeper", cluster.b, "--mode", mode)
    wait_for(lambda: cluster.a.inspect("sleeper")["state"] == "stopped", "it to have slept")
    status, seconds = said(cluster.a, "sleeper")[0].split()
    assert status == "0" and int(seconds) >= 4
