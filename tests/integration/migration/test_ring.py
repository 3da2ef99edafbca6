# SPDX-License-Identifier: Apache-2.0
"""Three hosts in a ring: a container that is used all the time goes round and round, and leaves nothing behind."""
import os
import pathlib

from cluster import wait_for
from witness import Client, start_witness

MOVES = int(os.environ.get("HYDRA_RING_MOVES", "50"))


def belongings(host):
    """What its resident programs hold, and what lies about: all of it must stay the same."""
    counts = {}
    for name in ("hydrad", "hydra-monitor"):
        counts[name] = len(list(pathlib.Path(f"/proc/{host.pid_of(name)}/fd").iterdir()))
    counts["mounts"] = len(pathlib.Path(f"/proc/{host.pid}/mounts").read_text().splitlines())
    counts["links"] = len(list(host.path("/sys/class/net").iterdir())) if host.path("/sys/class/net").exists() else 0
    for folder in ("/run/hydra/.work", "/run/hydra/default", "/var/lib/hydra/default", "/var/lib/hydra/.verdicts", "/var/lib/hydra/.departures"):
        counts[folder] = len(list(host.path(folder).iterdir())) if host.path(folder).exists() else 0
    return counts


def test_round_and_round(ring, rootfs):
    client = Client(ring, start_witness(ring, ring.a, rootfs, 2048), 2048)
    after_first_round = {}
    longest = []
    for move in range(MOVES):
        source, target = (ring.hosts[(move + step) % 3] for step in (0, 1))
        source.ctl("--plain", "migrate", "witness", target.address)
        longest.append(client.check()["longest_ms"])
        if move >= 3 and move < 6:
            wait_for(lambda: not source.pids("hydra-pager"), "the workers to end")
            after_first_round[source.name] = belongings(source)
    for number, host in enumerate(ring.hosts):
        if number == MOVES % 3:
            continue
        wait_for(lambda: belongings(host) == after_first_round.get(host.name, belongings(host)),  # noqa: B023
                 f"nothing more to be there than after the first round: {belongings(host)} {after_first_round}")
    result = client.end()
    print({"moves": MOVES, "operations": result["operations"], "median of the longest waits": sorted(longest)[len(longest) // 2]})
    assert ring.hosts[MOVES % 3].inspect("witness")["state"] == "running"
