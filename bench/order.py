#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the order in which memory is sent is worth: a container that uses a part of its memory all the time, and the rest never, moves over
a narrow link. Told are the waits for pages at the target, what they took together, how long it was until the container had gone once
through all that it uses, and how long until all memory was there; medians.

--beside BUILD measures another build's hydra-pager too, in turn with this one's.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

os.environ.setdefault("HYDRA_TEST_DEADLINE", "300")

import migrate  # noqa: E402
import migration  # noqa: E402  (its path is known by then)
from conftest import Container, subreaper  # noqa: E402

KEYS = ("faults", "stalls", "stall", "used", "lazy")


def measure(hosts, folder, options):
    piece = [str(options.piece)] if options.piece else []
    one = Container(folder / "bundle", ["/bin/worker", str(options.mib), str(options.percent), *piece], "bench").start()
    one.stdio.stdout.line("START")
    listener = migrate.in_namespace(hosts.network.b, lambda: migration.Listener(migrate.ADDRESS["b"]))
    move = migration.Migration(one, folder, listener=listener, source_prefix=hosts.network.inside(hosts.network.a),
                               source_args=[*hosts.certificates[0], "--compress", "none", "--mode", options.mode], target_args=hosts.certificates[1])
    running = move.receiver.phase("paging")["time_ns"]
    move.stdio.stdin.write("turns\n")
    before = move.stdio.stdout.line("TURNS")
    move.stdio.stdin.write("turns\n")
    assert move.stdio.stdout.line("TURNS") != before
    used = (time.time_ns() - running) / 1e6
    pid = move.expect_moved()
    done = move.sender.phase("done")
    result = {"faults": done.get("faults", 0), "stalls": done["stalls"], "stall": done["stall_us"] / 1e3, "used": used, "lazy": done["lazy_us"] / 1e3}
    assert move.stdio.ask("verify", "VERIFY").startswith("VERIFY bad=0")
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    move.finish()
    listener.close()
    one.remove()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--percent", type=int, default=10, help="of it that is used")
    parser.add_argument("--piece", type=int, default=0, metavar="KIB", help="it is mappings of this size, some of which are used; else one, of which some pages are")
    parser.add_argument("--link", default="200mbit", help="as tc writes it; memory: as fast as it goes")
    parser.add_argument("--mode", default="post-copy")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--beside", metavar="BUILD")
    options = parser.parse_args()
    subreaper()
    pathlib.Path("/proc/sys/fs/pipe-max-size").write_text(str(1 << 30))
    subprocess.run([migrate.CRIU, "check"], capture_output=True, check=False)
    builds = {"this": migration.PAGER, **({"beside": f"{options.beside}/checkpoint/hydra-pager"} if options.beside else {})}
    results = {name: [] for name in builds}
    with tempfile.TemporaryDirectory() as name:
        hosts = migrate.Hosts(pathlib.Path(name), None if options.link == "memory" else options.link)
        for _ in range(options.count):
            for build, pager in builds.items():
                migration.PAGER = pager
                with tempfile.TemporaryDirectory(dir="/tmp") as folder:
                    results[build].append(measure(hosts, pathlib.Path(folder), options))
        hosts.network.close()
    print("| | faults | waits | ms waited | ms until all that is used was there | ms until all was |\n|---|---|---|---|---|---|")
    for build, several in results.items():
        print(f"| {build} | " + " | ".join(f"{statistics.median(one[key] for one in several):.0f}" for key in KEYS) + " |", flush=True)


if __name__ == "__main__":
    main()
