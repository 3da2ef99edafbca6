# SPDX-License-Identifier: Apache-2.0
"""Every point of a migration and everything that can go wrong there. The points come from the program itself (`hydra-pager phases`)."""
import dataclasses
import json
import os
import signal
import subprocess
import zlib

from cluster import wait_for
from hosts import program
from witness import Client, start_witness

PARTIES = ("hydra-pager", "hydra-setup", "hydra-shim", "hydra-monitor", "hydrad", "hydra-checkpoint", "criu")
STOPPABLE = ("hydra-pager", "hydra-setup", "hydra-checkpoint")
MODES = {"normal": ("post-copy", "hybrid", "pre-copy", "cold"), "rounds": ("pre-copy", "hybrid"), "exception": ()}
OVER = ("failed", "reconnecting", "in-doubt", "done")


def points(mode="post-copy"):
    """(side, name) of each that a migration in this mode passes, in the order of the program's table."""
    lines = subprocess.run([program("hydra-pager"), "phases"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = []
    for side, kind, name, when, *_ in (line.split() for line in lines):
        if mode not in MODES[when]:
            continue
        if kind == "phase":
            found.append((side, f"phase.{side}.{name}"))
        else:
            found += [(side, f"record.{side}.{name}.{edge}") for edge in ("before", "after")]
    return found


@dataclasses.dataclass(frozen=True)
class Case:
    side: str
    point: str
    deed: str  # "cut", "crash SIDE", or "kill SIDE PROGRAM"

    def __str__(self):
        return f"{self.point}-{self.deed.replace(' ', '.')}"


def deeds():
    return ["cut", "crash source", "crash target"] + [f"kill {side} {party}" for side in ("source", "target") for party in PARTIES]


def cases(which, mode):
    """"all": each deed at each point. "some": the worker itself at each point, one other deed there, and the worst."""
    if which == "all":
        return [Case(side, point, deed) for side, point in points(mode) for deed in deeds()]
    chosen = []
    others = [deed for deed in deeds() if not deed.startswith("crash") and "hydra-pager" not in deed]
    for number, (side, point) in enumerate(points(mode)):
        chosen += [Case(side, point, f"kill {side} hydra-pager"), Case(side, point, others[(number + zlib.crc32(point.encode())) % len(others)])]
        if point in ("phase.source.freeze", "phase.source.committed", "phase.source.paging", "phase.target.committed"):
            chosen += [Case(side, point, "crash source"), Case(side, point, "crash target")]
    return chosen[::int(os.environ.get("HYDRA_MATRIX_STEP", "1"))]


class Trial:
    """One migration from a to b that is disturbed at one point."""

    count = 0

    def __init__(self, cluster, mode):
        self.cluster, self.a, self.b = cluster, cluster.a, cluster.b
        self.mode, self.client = mode, None

    def begin(self, rootfs):
        Trial.count += 1  # a host that crashed keeps the address of what ran there
        self.name = f"witness-{Trial.count}"
        self.client = Client(self.cluster, start_witness(self.cluster, self.a, rootfs, 2048, self.name), 2048)

    def close(self):
        if self.client is not None:
            self.client.close()

    def host(self, side):
        return self.a if side == "source" else self.b

    def run(self, case):
        there = self.host(case.side)
        there.order_fault(case.point, "stop")
        moving = self.a.popen([self.a.program("hydractl"), "--plain", "migrate", "--mode", self.mode, self.name, self.b.address],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for(lambda: there.has_arrived(case.point) or moving.poll() is not None, f"{case.point}")
        assert there.has_arrived(case.point), f"it ended without {case.point}: {moving.communicate()[0]}"
        # the source may have removed the container already
        before = next(item["id"] for item in self.a.json("migrations", "--all") if item["containerId"] == self.name)
        undo = self._do(case.deed)
        for host in (self.a, self.b):
            for name in STOPPABLE:
                host.kill(name, signal.SIGCONT)
        if case.deed == "cut":
            wait_for(lambda: self.has_reacted(before) or moving.poll() is not None, "the source to notice")
        undo()
        self.said = moving.communicate(timeout=90)[0]

    def has_reacted(self, migration):
        path = self.a.path(f"/run/hydra/.migrations/{migration}")
        return path.exists() and any(f'"phase":"{phase}"' in path.read_text() for phase in OVER)

    def _do(self, deed):
        words = deed.split()
        if deed == "cut":
            return self.cluster.cut(self.b)
        host = self.host(words[1])
        if words[0] == "crash":
            host.crash()
            return lambda: self.cluster.start_host(host)
        host.kill(words[2])
        return lambda: self.cluster.start_host(host) if words[2] == "hydra-monitor" else None

    # what must be true afterwards

    def living(self):
        """Where it runs; None while anything of it is left that is neither running nor gone."""
        seen = {host: [item["state"] for item in host.json("ps", "-a")] for host in (self.a, self.b)}
        if any(state not in ([], ["running"]) for state in seen.values()):
            return None
        return [host for host, state in seen.items() if state]

    def expect_one(self):
        wait_for(lambda: self.living() is not None and len(self.living()) == 1, f"exactly one copy: {self.states()} {self.said}", 40)
        self.client.check(40)

    def states(self):
        return [json.dumps([(item["id"], item["state"]) for item in host.json("ps", "-a")]) for host in (self.a, self.b)]

    def expect_after_crash(self, side):
        """What was only on a host that crashed is gone; nothing is doubled, and what runs is right."""
        if side == "target" and self.a.json("ps", "-a"):
            wait_for(lambda: self._is_settled(self.a), f"the source to know: {self.states()}", 40)
            if self.a.inspect(self.name)["state"] == "migrating":
                self._resolve()
                return
        wait_for(lambda: all(self._is_settled(host) for host in (self.a, self.b)), f"an end: {self.states()}", 40)
        running = [host for host in (self.a, self.b) if any(item["state"] == "running" for item in host.json("ps", "-a"))]
        assert len(running) <= 1
        if running:
            self.client.check(40)

    def _is_settled(self, host):
        items = host.json("ps", "-a")
        if not items or items[0]["state"] in ("running", "stopped"):
            return not host.pids("hydra-pager")
        events = host.ctl("events", self.name, check=False).stdout
        return items[0]["state"] == "migrating" and "migration-in-doubt" in events

    def _resolve(self):
        done = self.a.ctl("migrate", "--resolve", "source", "--force", self.name, check=False)
        assert done.returncode == 0, done.stderr
        wait_for(lambda: self.a.inspect(self.name)["state"] == "running", "it to run where its memory is")

    def clean(self):
        self.close()
        for host in (self.a, self.b):
            host.forget_faults()
            for item in host.json("ps", "-a"):
                host.ctl("rm", "-f", item["id"], check=False)
        for host in (self.a, self.b):
            host.assert_clean()
            wait_for(lambda: not self.left(host), f"nothing to be left: {self.left(host)}")  # noqa: B023

    @staticmethod
    def left(host):
        found = []
        for folder in ("/run/hydra/.work", "/var/lib/hydra/.departures"):
            path = host.path(folder)
            found += [f"{folder}/{entry.name}" for entry in path.iterdir()] if path.exists() else []
        return found
