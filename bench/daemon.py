#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How soon hydrad knows everything again after SIGKILL: by its own clock, and as its clients see it (medians)."""
import argparse
import pathlib
import statistics
import tempfile
import time

from common import Host, make_rootfs, remove_idle, start_idle, wait_for


def crash(host, count):
    """(hydrad's own recovery time, time from SIGKILL until a new hydrad has heard from every shim), in ms."""
    old = host.json("daemon")["pid"]
    start = time.perf_counter()
    host.kill("hydrad")

    def knows_all():
        if not host.answers("hydrad.sock"):
            return None
        info = host.json("daemon")
        return info if info["pid"] != old and info["reachable"] == count and info["recoveryUs"] > 0 else None

    info = wait_for(knows_all, "the next daemon to know all")
    return info["recoveryUs"] / 1000, (time.perf_counter() - start) * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Host("daemon") as host:
        rootfs = make_rootfs(pathlib.Path(name))
        host.start("hydra-monitor")
        wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
        try:
            start_idle(host, rootfs, options.count)
            times = [crash(host, options.count) for _ in range(options.rounds)]
        finally:
            host.kill("hydra-monitor")
            host.kill("hydrad")
            remove_idle(host, options.count)
    own, seen = zip(*times)
    print(f"{options.count} containers, {options.rounds} rounds, median (max) in ms")
    print(f"{'recovery by its own clock':44}{statistics.median(own):>10.2f} ({max(own):.2f})")
    print(f"{'SIGKILL until a client hears of all of them':44}{statistics.median(seen):>10.2f} ({max(seen):.2f})")


main()
