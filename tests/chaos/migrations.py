#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Containers move at random between three hosts while their clients write; parties die and the network is cut at random moments. After each
round there is one copy of each container, every byte of its memory is as its client wrote it last, and no connection was lost."""
import argparse
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).parent.parent / "integration"
sys.path[:0] = [str(TESTS / "migration"), str(TESTS / "hydra")]

from cluster import BUILD, Cluster, make_certificates, wait_for  # noqa: E402
from roots import make_rootfs  # noqa: E402
from witness import Client, start_witness  # noqa: E402

PARTIES = ("hydra-pager", "hydra-setup", "hydra-shim", "hydra-monitor", "hydrad", "hydra-checkpoint")
PAGES = 8192
SETTLE_S = 90


class Mover:
    """One container and its client."""

    def __init__(self, cluster, rootfs, number):
        self.cluster, self.name = cluster, f"witness-{number}"
        self.host = cluster.a  # which gives all the addresses
        self.client = Client(cluster, start_witness(cluster, self.host, rootfs, PAGES, self.name), PAGES)
        self.moving = None

    def go(self, target, mode):
        self.moving = self.host.popen([self.host.program("hydractl"), "--plain", "migrate", "--mode", mode, self.name, target.address],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def places(self):
        """Where anything of it is."""
        found = {}
        for host in self.cluster.hosts:
            for item in host.json("ps", "-a"):
                if item["id"] == self.name:
                    found[host] = item["state"]
        return found

    def settle(self):
        self.moving.communicate(timeout=SETTLE_S)
        wait_for(lambda: list(self.places().values()) == ["running"],
                 f"exactly one running copy of {self.name}, there is {[(host.name, state) for host, state in self.places().items()]}", SETTLE_S)
        before, self.host = self.host, next(iter(self.places()))
        return self.host is not before


def disturb(cluster, randomness, hosts):
    """Returns its name and how to undo it."""
    kind = randomness.choice(["nothing", "cut", "kill", "kill", "kill", "kill two"])
    host = randomness.choice(hosts)
    if kind == "cut":
        up = cluster.cut(host)
        time.sleep(randomness.uniform(0, 2))  # how long the network is away: that is the disturbance
        return f"cut {host.name}", up
    names = [] if kind == "nothing" else randomness.sample(PARTIES, 2 if kind == "kill two" else 1)
    for name in names:
        host.kill(name)
    if "hydra-monitor" in names:
        return f"kill {names} at {host.name}", lambda: cluster.start_host(host)
    return f"kill {names} at {host.name}" if names else kind, lambda: None


def one_round(cluster, movers, randomness, tally):
    hosts = set()
    for mover in movers:
        target = randomness.choice([host for host in cluster.hosts if host is not mover.host])
        hosts |= {mover.host, target}
        mover.go(target, randomness.choice(["post-copy", "post-copy", "cold"]))
    time.sleep(randomness.uniform(0, 0.7))  # the moment: that is the campaign
    deed, undo = disturb(cluster, randomness, sorted(hosts, key=lambda host: host.name))
    undo()
    for mover in movers:
        tally["moved" if mover.settle() else "stayed"] += 1
    for mover in movers:
        seen = mover.client.check(SETTLE_S)
        tally["operations"] = max(tally["operations"], seen["operations"])
        tally["longest_ms"] = max(tally["longest_ms"], seen["longest_ms"])
    tally[deed.split()[0]] = tally.get(deed.split()[0], 0) + 1
    return deed


def campaign(cluster, rootfs, options):
    randomness = random.Random(options.seed)
    movers = [Mover(cluster, rootfs, number) for number in range(options.containers)]
    tally = {"rounds": 0, "moved": 0, "stayed": 0, "operations": 0, "longest_ms": 0.0}
    end = time.monotonic() + options.minutes * 60
    deed = ""
    try:
        while time.monotonic() < end:
            deed = one_round(cluster, movers, randomness, tally)
            tally["rounds"] += 1
            print(f"\rround {tally['rounds']}: {deed:60.60}", end="", file=sys.stderr, flush=True)
    except BaseException:
        print(f"\nafter {tally}, in the round after '{deed}'", file=sys.stderr)
        for host in cluster.hosts:
            print(f"----- {host.name}\n{host.log('hydra-monitor')[-4000:]}", file=sys.stderr)
        raise
    for mover in movers:
        mover.client.end(SETTLE_S)
    print(file=sys.stderr)
    return tally


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--containers", type=int, default=3)
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rootfs"
        path.mkdir()
        rootfs = make_rootfs(path)
        (path / "bin/witness").write_bytes((BUILD / "checkpoint/witness").read_bytes())
        (path / "bin/witness").chmod(0o755)
        pathlib.Path(folder).chmod(0o755)
        with Cluster(make_certificates(pathlib.Path(folder) / "tls", "a", "b", "c"), 3) as cluster:
            cluster.start()
            print(json.dumps(campaign(cluster, rootfs, options)))
            cluster.clean()


main()
