#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The inner part of scripts/chaos: one host, many containers, requests all the time, and somebody who breaks things."""
import argparse
import os
import pathlib
import random
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time

top = pathlib.Path(__file__).parent.parent.parent
sys.path[:0] = [str(top / "tests/integration/hydra"), str(top / "bench")]
os.environ.setdefault("HYDRA_TEST_DEADLINE", "60")

from common import make_rootfs  # noqa: E402
from hosts import DEADLINE, Host, has_ended, program, signal_if_there, wait_for  # noqa: E402
from jobs import DATA, Failed, kind_of  # noqa: E402
from weather import Ledger, Weather  # noqa: E402

REQUESTERS = 6
PROMISES = ("lost container", "wrong exit record", "missing exit record", "exit record", "wrong exec status", "restart policy",
            "unaccounted bytes", "request failed", "request hung", "unclear error", "wrong answer", "untrue answer",
            "half-done creation", "not removed", "no recovery", "upgrade failed", "leaked", "state")


class Campaign:
    def __init__(self, host, rootfs, options):
        self.host, self.rootfs, self.options = host, rootfs, options
        self.random = random.Random(options.seed)
        self.weather, self.ledger = Weather(), Ledger()
        self.over = threading.Event()
        self.background = []
        self.jobs = [kind_of(number)(self, f"c{number}", random.Random(f"{options.seed}-{number}")) for number in range(options.containers)]
        self.other_binary = False

    # what the requesters do

    def expect_running(self, job):
        view = job.settled("running")
        assert view["pid"] == job.pid, f"its process {job.pid} became {view['pid']}"

    def request(self, number):
        chooser = random.Random(f"{self.options.seed}-requester-{number}")
        mine = self.jobs[number::REQUESTERS]
        for job in mine:
            with self.ledger.checks("lost container", job):
                job.create()
        self.created.wait()
        while not self.over.is_set():
            job = chooser.choice(mine)
            with self.ledger.checks("untrue answer", job):
                try:
                    job.step()
                except Failed:
                    pass
            self.over.wait(chooser.uniform(0, 0.3))

    # what the one who breaks things does

    def later(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        self.background.append(thread)

    def victim(self):
        """A job whose shim runs and is not disturbed, with its shim's pid; always asks the random source for one."""
        job = self.random.choice(self.jobs)
        if not job.exists or self.weather.troubles(f"shim {job.name}"):
            return None, 0
        return job, job.shim_pid()

    def watch_recovery(self, spell, is_back, what):
        with self.ledger.checks("no recovery", what):
            wait_for(is_back, f"{what} to be back")
        self.weather.end(spell)

    def kill_shim(self):
        job, pid = self.victim()
        number = self.random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV))
        return self.kill_shim_of(job, pid, number)

    def kill_shim_of(self, job, pid, number):
        if pid == 0 or self.weather.troubles("hydra-monitor"):
            return "nobody"
        spell = self.weather.begin(f"shim {job.name}")
        job.shim_kills += 1
        if self.host.run("kill", f"-{int(number)}", str(pid), check=False).returncode == 0:
            self.ledger.count(f"killed hydra-shim by {number.name}")

        def is_back():
            view = job.view()
            return view is None or view["state"] in ("stopped", "created") or (view["isReachable"] and view["shimPid"] != pid)
        self.later(self.watch_recovery, spell, is_back, f"the shim of {job.name}")
        return job.name

    def kill_successor(self):
        """A shim, and the next one as soon as it answers."""
        name = self.kill_shim()
        job = next((job for job in self.jobs if job.name == name), None)
        if job is not None:
            self.background[-1].join()
            self.kill_shim_of(job, job.shim_pid(), signal.SIGKILL)
        return name

    def kill_many(self):
        """hydrad and the shims of a tenth of all containers, in one moment."""
        names = [self.kill_daemon(), *(self.kill_shim() for _ in range(len(self.jobs) // 10))]
        return " ".join(names)

    def kill_daemon(self):
        if self.weather.troubles("hydrad") or self.weather.troubles("hydra-monitor"):
            return "nobody"
        spell = self.weather.begin("hydrad")
        self.host.kill("hydrad")
        self.ledger.count("killed hydrad by SIGKILL")
        self.later(self.watch_recovery, spell, lambda: self.host.answers("hydrad.sock"), "hydrad")
        return ""

    def kill_monitor(self):
        if self.weather.troubles("hydra-monitor") or self.weather.troubles("hydrad"):
            return "nobody"
        spell = self.weather.begin("hydra-monitor")
        self.host.kill("hydra-monitor")
        self.ledger.count("killed hydra-monitor by SIGKILL")
        self.later(self.restart_monitor, spell)
        return ""

    def restart_monitor(self, spell):
        """As systemd would. A shim that is killed before it has deposited again would take its container along."""
        self.host.services["hydra-monitor"].wait()
        time.sleep(0.1)
        with self.ledger.checks("no recovery", "hydra-monitor"):
            self.host.start("hydra-monitor")
        self.watch_recovery(spell, self.everything_is_deposited, "hydra-monitor with all deposits")

    def everything_is_deposited(self):
        connections = self.host.run("ss", "-Hx", "state", "established", "src", "*store.sock").stdout.splitlines()
        return len(connections) >= len([pid for pid in self.host.pids("hydra-shim") if not has_ended(pid)])

    def hold(self, name):
        """Stops a program for a while."""
        seconds = self.random.choice((0.1, 0.5, 1.5, 2.5))
        if name == "hydrad":
            pids = [] if self.weather.troubles("hydrad") else self.host.pids("hydrad")
            target = "hydrad"
        else:
            job, inner = self.victim()
            pids = [pid for pid in self.host.pids("hydra-shim") if inner and self.inner_pid(pid) == inner]
            target = f"shim {job.name}" if job is not None else ""
        if not pids:
            return "nobody"
        spell = self.weather.begin(target)
        for pid in pids:
            signal_if_there(pid, signal.SIGSTOP)
        self.ledger.count(f"stopped {name} for a while")
        self.later(self.let_go, spell, pids, seconds)
        return f"{target} for {seconds} s"

    @staticmethod
    def inner_pid(pid):
        try:
            text = pathlib.Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return 0
        return int(next(line for line in text.splitlines() if line.startswith("NSpid:")).split()[-1])

    def let_go(self, spell, pids, seconds):
        time.sleep(seconds)
        for pid in pids:
            signal_if_there(pid, signal.SIGCONT)
        spell["ended"] = time.monotonic()

    def hold_daemon(self):
        return self.hold("hydrad")

    def hold_shim(self):
        return self.hold("hydra-shim")

    def upgrade(self, what, target, name, *arguments):
        self.other_binary = not self.other_binary
        binary = f"/run/new/{name}" if self.other_binary else program(name)
        if self.weather.troubles(target):
            return "nobody"
        done = self.host.ctl("upgrade", what, "--binary", binary, *arguments, check=False, timeout=2 * DEADLINE)
        if done.returncode == 0:
            self.ledger.count(f"upgraded {name}")
        elif "has no shim that runs" not in done.stderr and "no container" not in done.stderr:
            self.ledger.break_promise("upgrade failed", f"{what} {' '.join(arguments)}: {done.stderr.strip()}")
        return f"{' '.join(arguments)} to {binary}"

    def upgrade_daemon(self):
        return self.upgrade("daemon", "hydrad", "hydrad")

    def upgrade_monitor(self):
        return self.upgrade("monitor", "hydra-monitor", "hydra-monitor")

    def upgrade_shim(self):
        job, pid = self.victim()
        return self.upgrade("shim", f"shim {job.name}", "hydra-shim", job.name) if pid else "nobody"

    ACTIONS = ((kill_shim, 32), (kill_successor, 4), (kill_many, 2), (kill_daemon, 12), (kill_monitor, 5), (hold_daemon, 5), (hold_shim, 10), (upgrade_daemon, 8),
               (upgrade_monitor, 8), (upgrade_shim, 17))

    def disturb(self):
        end = time.monotonic() + self.options.minutes * 60
        told = 0.0
        while time.monotonic() < end:
            action = self.random.choices([action for action, _ in self.ACTIONS], [weight for _, weight in self.ACTIONS])[0]
            pause = self.random.uniform(0, 0.6)
            what = action(self)
            if self.options.verbose:
                self.say(f"{action.__name__} {what}")
            self.background = [thread for thread in self.background if thread.is_alive()]
            if time.monotonic() - told > 5:
                told = time.monotonic()
                self.progress()
            self.over.wait(pause)

    # from the beginning to the end

    def say(self, text):
        print(f"{time.monotonic() - self.ledger.began:7.2f} {text}", flush=True)

    def progress(self):
        counts = self.ledger.counts
        self.say(f"{sum(job.exists for job in self.jobs)} containers, {sum(n for what, n in counts.items() if what.startswith('killed'))} kills,"
                 f" {sum(n for what, n in counts.items() if what.startswith('upgraded'))} upgrades, {counts['requests']} requests,"
                 f" {sum(len(texts) for texts in self.ledger.broken.values())} broken promises")

    def prepare(self):
        self.own = set(self.host.pids())
        self.host.path(DATA).mkdir(parents=True)
        self.host.path("/run/new").mkdir()
        for name in ("hydra-shim", "hydra-setup", "hydra", "hydrad", "hydra-monitor", "hydra-checkpoint", "hydra-pager"):
            shutil.copy(program(name), self.host.path("/run/new"))
        self.host.start("hydra-monitor")
        wait_for(lambda: self.host.answers("hydrad.sock"), "hydrad")

    def run(self):
        self.created = threading.Barrier(REQUESTERS + 1)
        requesters = [threading.Thread(target=self.request, args=(number,)) for number in range(REQUESTERS)]
        for requester in requesters:
            requester.start()
        self.created.wait()
        self.say(f"{len(self.jobs)} containers run")
        self.disturb()
        self.over.set()
        for thread in (*requesters, *self.background):
            thread.join()
        self.say("everything is let go; now all is compared")
        self.compare()
        self.each(lambda job: job.finish())
        self.each(lambda job: job.remove())
        self.look_for_leaks()

    def each(self, work):
        """For all jobs, by as many as there were requesters."""
        def some(jobs):
            for job in jobs:
                with self.ledger.checks("state", job):
                    work(job)
        threads = [threading.Thread(target=some, args=(self.jobs[number::REQUESTERS],)) for number in range(REQUESTERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def compare(self):
        """What hydrad says of all, what each shim says and what was asked for."""
        with self.ledger.checks("state", "hydrad's list"):
            names = sorted(job.name for job in self.jobs if job.exists)
            wait_for(lambda: sorted(item["id"] for item in self.host.json("ps", "-a")) == names, "hydrad to list all and only those", 20)
        with self.ledger.checks("state", "hydrad's and the shims' view"):
            wait_for(self.views_agree, "hydrad and the shims to say the same", 20)

    def views_agree(self):
        listed = {item["id"]: item for item in self.host.json("ps", "-a")}
        steady = [job for job in self.jobs if job.exists and job.pid]
        return all((view := job.view()) is not None and (view["state"], view["pid"]) == (listed[job.name]["state"], listed[job.name]["pid"])
                   for job in steady)

    def look_for_leaks(self):
        with self.ledger.checks("leaked", "on the host"):
            self.host.assert_clean()
        for name in ("hydra-monitor", "hydrad"):
            self.host.run("kill", *map(str, map(self.inner_pid, self.host.pids(name))), check=False)
        left = []

        def processes_are_gone():
            left[:] = [pid for pid in self.host.pids() if pid not in self.own and not has_ended(pid)]
            return not left
        try:
            wait_for(processes_are_gone, "", 20)
        except AssertionError:
            for pid in left:
                self.ledger.break_promise("leaked", f"process {pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()}")

    def summary(self):
        counts, broken = self.ledger.counts, self.ledger.broken
        print(f"\nseed {self.options.seed}, {self.options.minutes} minutes")
        for what in sorted(counts):
            print(f"{what + ':':<42} {counts[what]}")
        for target, times in sorted(self.weather.recoveries.items()):
            print(f"{f'recovery of {target}:':<42} median {1000 * statistics.median(times):.0f} ms, longest {1000 * max(times):.0f} ms")
        for kind in PROMISES:
            print(f"{f'broken: {kind}:':<42} {len(broken[kind])}")
        failed = sum(1 for kind in PROMISES if broken[kind])
        print(f"{len(PROMISES) - failed} passed, {failed} failed")
        return 1 if any(broken.values()) else 0


def parse():
    parser = argparse.ArgumentParser(prog="chaos", description="kills, stops and upgrades everything while containers and requests go on")
    parser.add_argument("--minutes", type=float, default=3, metavar="N", help="how long (default 3)")
    parser.add_argument("--seed", default=None, metavar="S", help="of the order of actions (default: a new one, printed)")
    parser.add_argument("--containers", type=int, default=100, metavar="N", help="how many at a time (default 100)")
    parser.add_argument("--verbose", action="store_true", help="print each action")
    options = parser.parse_args()
    options.seed = options.seed or secrets.token_hex(4)
    return options


def main():
    options = parse()
    with tempfile.TemporaryDirectory(prefix="hydra-chaos-") as folder, Host("chaos") as host:
        campaign = Campaign(host, make_rootfs(pathlib.Path(folder)), options)
        campaign.say(f"seed {options.seed}: starting {options.containers} containers")
        campaign.prepare()
        campaign.run()
        return campaign.summary()


if __name__ == "__main__":
    sys.exit(main())
