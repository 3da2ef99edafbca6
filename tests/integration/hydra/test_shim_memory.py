# SPDX-License-Identifier: Apache-2.0
"""What an idle container costs: the memory that its shim shares with nobody."""
import os
import pathlib
import re

import pytest

from hosts import program

COUNT, BUDGET_KIB, ATTACHED_BUDGET_KIB = 100, 64, 96


def private_kib(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(value) for value in re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", rollup, re.M))


@pytest.mark.skipif("HYDRA_SANITIZED" in os.environ, reason="sanitizers need memory of their own")
def test_an_idle_shim_is_small(host, rootfs):
    for number in range(COUNT):
        host.ctl("run", "-d", "--name", f"idle{number}", "--rootfs", rootfs, "sleep", "100000")
    shims = host.pids("hydra-shim")
    assert len(shims) == COUNT
    used = [private_kib(pid) for pid in shims]
    assert sum(used) / COUNT <= BUDGET_KIB, sorted(used)


@pytest.mark.skipif("HYDRA_SANITIZED" in os.environ, reason="sanitizers need memory of their own")
def test_a_shim_with_a_client_is_small(host, rootfs):
    sessions = []
    for number in range(5):
        host.ctl("create", "--name", f"web{number}", "-i", "--rootfs", rootfs, "sh", "-c", "while read x; do echo got $x; done")
        host.ctl("start", f"web{number}")
        sessions.append(host.popen([program("hydractl"), "attach", f"web{number}"], stdin=-1, stdout=-1, text=True))
        sessions[-1].stdin.write("hello\n")
        sessions[-1].stdin.flush()
        assert sessions[-1].stdout.readline() == "got hello\n"
    used = [private_kib(pid) for pid in host.pids("hydra-shim")]
    for session in sessions:
        session.stdin.close()
        assert session.wait(60) == 0
        session.stdout.close()
    assert sum(used) / len(used) <= ATTACHED_BUDGET_KIB, sorted(used)
    print(f"private memory of a shim with a client: {sorted(used)} KiB")
