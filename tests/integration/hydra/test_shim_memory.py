# SPDX-License-Identifier: Apache-2.0
"""What an idle container costs: the memory that its shim shares with nobody."""
import os
import pathlib
import re

import pytest

COUNT, BUDGET_KIB = 20, 64


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
