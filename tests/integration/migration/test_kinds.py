# SPDX-License-Identifier: Apache-2.0
"""Whatever a program has open or running when it is moved is still what it was afterwards."""
import pytest

from cluster import run, wait_for

KINDS = {"udp", "listener", "unix", "inotify", "shared", "files", "descriptors", "timers", "threads", "seccomp"}


def said(host, name):
    return host.ctl("logs", name).stdout.split("\n")


def check(host, name, kinds, times):
    host.ctl("kill", "-s", "USR1", name)
    wait_for(lambda: said(host, name).count("CHECKED") == times, "the program to look at what it has")
    answers = dict(line.split(" ", 1) for line in said(host, name) if line.endswith((" ok", " bad")))
    assert answers == {kind: "ok" for kind in kinds}


@pytest.mark.parametrize("mode", ["post-copy", "cold"])
def test_one_of_each(cluster, rootfs, mode):
    run(cluster.a, rootfs, "kinds", "kinds")
    wait_for(lambda: "READY" in said(cluster.a, "kinds"), "the program")
    assert not [line for line in said(cluster.a, "kinds") if "not made" in line]
    cluster.migrate("kinds", cluster.a, "--mode", mode)
    check(cluster.b, "kinds", KINDS, 1)
    cluster.migrate("kinds", cluster.b, "--mode", mode)
    check(cluster.a, "kinds", KINDS, 1)
