# SPDX-License-Identifier: Apache-2.0
"""What the containers of the campaign do, and what must be true of them.

Each belongs to one requester: nobody else asks for changes of it, so the requester knows what must be true.
"""
import json
import re
import subprocess
import time

from hosts import DEADLINE, wait_for

DATA = "/var/lib/hydra/chaos"
BURST = "n=0; while true; do i=0; while [ $i -lt {size} ]; do i=$((i+1)); n=$((n+1)); echo $n=$n; done; sleep {pause}; done"
UNCLEAR = re.compile(r"\A(?!hydractl: \S.{8,})", re.S)


class Failed(Exception):
    """A request that failed while what it needs was disturbed."""


class Job:
    """One container. options and command: of `hydractl run`."""

    options = ()

    def __init__(self, campaign, name, random):
        self.campaign, self.name, self.random = campaign, name, random
        self.host, self.ledger, self.weather = campaign.host, campaign.ledger, campaign.weather
        self.shim_kills = 0
        self.exists = False
        self.pid = 0

    def __str__(self):
        return self.name

    def history(self):
        """The last that was noted of it."""
        lines = self.host.ctl("events", self.name, check=False).stdout.splitlines()[-25:]
        log = self.host.path(f"/run/hydra/default/{self.name}/shim.log")
        lines += log.read_text().splitlines()[-5:] if log.exists() else []
        return "".join(f"\n        {line}" for line in lines)

    # requests

    def ask(self, *arguments, needs=("hydra-monitor",), status=0):
        """One request. It may fail only while something it needs is disturbed, and must then say why. A shim's death alone is no excuse:
        its successor answers."""
        targets = [f"shim {self.name}" if need == "shim" else need for need in needs]
        began = time.monotonic()
        self.ledger.count("requests")
        try:
            done = self.host.ctl(*arguments, check=False, timeout=2 * DEADLINE)
        except subprocess.TimeoutExpired:
            self.ledger.break_promise("request hung", f"{' '.join(arguments)}{self.history()}")
            raise Failed("no answer") from None
        if done.returncode == status:
            return done
        self.ledger.count("requests failed")
        if not self.weather.excuses(targets, began):
            self.ledger.break_promise("request failed", f"{' '.join(arguments)}: status {done.returncode}, {done.stderr.strip()}")
        if done.returncode == 125 and UNCLEAR.search(done.stderr):
            self.ledger.break_promise("unclear error", f"{' '.join(arguments)}: {done.stderr!r}")
        if done.returncode != 125 and status != 125:
            self.ledger.break_promise("wrong answer", f"{' '.join(arguments)}: status {done.returncode} instead of {status}, {done.stderr.strip()}")
        raise Failed(done.stderr.strip())

    def ask_all(self, *arguments, **options):
        """Asks until it succeeds."""
        def attempt():
            try:
                return self.ask(*arguments, **options)
            except Failed:
                time.sleep(0.05)
                return None
        return wait_for(attempt, f"'{' '.join(arguments)}' to succeed")

    def view(self):
        """What is known of it; None when there is no such container."""
        done = self.host.ctl("--format", "json", "inspect", self.name, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
        assert "no container" in done.stderr, f"inspect: {done.stderr}"
        return None

    def settled(self, *states):
        """Its view, as soon as somebody answers for it in one of these states."""
        seen = {}

        def look():
            view = self.view()
            seen["view"] = view and {key: view.get(key) for key in ("state", "isReachable", "shimPid", "pid", "exit")}
            return view if view is not None and view["state"] in states else None
        try:
            return wait_for(look, "")
        except AssertionError:
            raise AssertionError(f"not {' or '.join(states)} after {DEADLINE:.0f} s but {seen['view']}") from None

    def shim_pid(self):
        view = self.view()
        return view["shimPid"] if view is not None and view["isReachable"] else 0

    # life

    def command(self):
        return ["sleep", "100000"]

    def create(self):
        arguments = ["run", "-d", "--name", self.name, "--rootfs", self.campaign.rootfs, "-v", f"{DATA}:/data", "--stop-timeout", "1",
                     *self.options]
        while not self.exists:
            try:
                # a creation that failed may have run for a moment: nothing of it may count for the next
                self.ask(*arguments, *self.command(), needs=("hydrad", "hydra-monitor", "shim"))
                self.exists = True
            except Failed:
                self.undo()
        self.ledger.count("containers")
        self.begin_run()

    def begin_run(self):
        self.pid = self.settled("running", "paused")["pid"]

    def undo(self):
        """A creation that failed: it is undone, or the container is there and can be removed."""
        def is_over():
            view = self.view()
            return view is None or view["state"] in ("created", "running", "stopped")
        with self.ledger.checks("half-done creation", self):
            wait_for(is_over, "the creation to be finished or undone")
        self.remove()

    def remove(self):
        def attempt():
            if self.view() is None:
                return True
            try:
                self.ask("rm", "-f", self.name, needs=("hydrad", "hydra-monitor", "shim"))
            except Failed as failure:
                if "no container" not in str(failure):
                    return False
            return self.view() is None
        with self.ledger.checks("not removed", self):
            wait_for(attempt, "its removal")
        self.exists = False

    def step(self):
        """One thing that its requester does."""
        getattr(self, self.random.choice(self.steps))()

    def look(self):
        self.campaign.expect_running(self)

    def pause(self):
        self.turn("pause", "running", "paused")
        self.turn("resume", "paused", "running")

    def turn(self, verb, before, after):
        while True:
            try:
                self.ask(verb, self.name)
                break
            except Failed:
                if self.settled(before, after)["state"] == after:
                    break
        view = self.settled(after)
        assert view["pid"] == self.pid, f"its process {self.pid} became {view['pid']}"

    def finish(self):
        """At the end: everything that was promised of it."""
        with self.ledger.checks("lost container", self):
            self.look()
        with self.ledger.checks("exit record", self):
            self.ask_all("stop", "-t", "0", self.name)
            self.expect_exit(self.settled("stopped")["exit"], 137)

    def expect_exit(self, record, *codes):
        """Its end as recorded: right, or honestly unknown."""
        if record is None:
            self.ledger.break_promise("missing exit record", f"{self}")
        elif not record["isKnown"]:
            self.ledger.count("exit records unknown")
            if not record["reason"]:
                self.ledger.break_promise("exit record", f"{self}: unknown without a reason")
        elif record["exitCode"] not in codes:
            self.ledger.break_promise("wrong exit record", f"{self}: {record['exitCode']} instead of {codes}")
        else:
            self.ledger.count("exit records right")


class Lines(Job):
    """Writes numbers all the time; each must be in the log once."""

    options = ("--log-opt", "max-file=100")
    steps = ("look", "pause", "tail")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.size, self.pause_s = self.random.choice(((10, 0.1), (10, 0.3), (100, 1), (2000, 2)))

    def command(self):
        return ["sh", "-c", BURST.format(size=self.size, pause=self.pause_s)]

    def tail(self):
        self.ask("logs", "--tail", "3", self.name)

    def finish(self):
        super().finish()
        if self.exists:
            with self.ledger.checks("unaccounted bytes", self):
                self.check_log(self.ask_all("logs", self.name).stdout)

    def check_log(self, text):
        """Nothing is missing, nothing is there twice."""
        last = 0
        lines = text.replace("\r\n", "\n").split("\n")
        for line in lines[:-1]:
            match = re.fullmatch(r"(\d+)=\1", line)
            assert match is not None, f"behind {last} comes {line!r}"
            number = int(match[1])
            assert number == last + 1, f"{number} after {last}: {'written twice' if number <= last else 'some are missing'}"
            last = number
        self.ledger.count("lines checked", last)
        assert last > 0, "it wrote nothing"


class Terminal(Lines):
    """The same over a terminal."""

    options = ("-t", *Lines.options)
    steps = ("look", "pause", "tail", "run")

    def run(self):
        code = self.random.randrange(100)
        try:
            done = self.ask("exec", "-t", self.name, "sh", "-c", f"tty >/dev/null && echo on a tty; exit {code}", status=code)
            assert "on a tty" in done.stdout, f"exec -t said {done.stdout!r} {done.stderr!r}"
        except Failed:
            pass


class Execs(Job):
    """Further processes with known ends; stopped and started again."""

    steps = ("look", "run", "run", "run_detached", "run_detached", "again", "pause")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.expected = {}

    def run(self):
        code = self.random.randrange(100)
        seconds = self.random.choice(("0", "0.2", "0.8"))
        began = time.monotonic()
        try:
            done = self.ask("exec", self.name, "sh", "-c", f"echo first; sleep {seconds}; echo last; exit {code}", status=code)
        except Failed:
            return
        self.ledger.count("exec statuses right")
        if not self.weather.excuses(("hydra-monitor",), began):
            assert done.stdout == "first\nlast\n", f"exec said {done.stdout!r}"

    def run_detached(self):
        code = self.random.randrange(100)
        seconds = self.random.choice(("0", "0.5", "1.5"))
        try:
            done = self.ask("exec", "-d", self.name, "sh", "-c", f"sleep {seconds}; exit {code}")
        except Failed:
            return
        exec_id = done.stdout.strip()
        text = wait_for(lambda: re.search(rf"exec-exited exec={exec_id} (.*)", self.host.ctl("events", self.name, check=False).stdout),
                        f"the end of exec {exec_id}")[1]
        if f"status={code}" in text.split():
            self.ledger.count("exec statuses right")
        elif "unknown" in text:
            self.ledger.count("exec statuses unknown")
        else:
            self.ledger.break_promise("wrong exec status", f"{self}: {exec_id} {text} instead of {code}")

    def again(self):
        self.ask_all("stop", "-t", "0", self.name)
        self.expect_exit(self.settled("stopped")["exit"], 137)
        while True:
            try:
                self.ask("start", self.name, needs=("hydra-monitor", "shim"))
                break
            except Failed:
                if self.settled("running", "created", "stopped")["state"] == "running":
                    break
        self.begin_run()


class Restarts(Job):
    """Fails a known number of times, then succeeds."""

    options = ("--restart", "on-failure:20")
    steps = ("look",)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.number = 0
        self.failures = 0

    def command(self):
        self.number += 1
        self.failures = self.random.randrange(1, 5)
        self.runs = self.host.path(f"{DATA}/{self.name}.{self.number}")
        return ["sh", "-c", f"echo run >>/data/{self.name}.{self.number}; sleep 0.3;"
                            f" [ $(wc -l </data/{self.name}.{self.number}) -gt {self.failures} ]"]

    def begin_run(self):
        pass

    def look(self):
        view = self.view()
        assert view is not None, "it is gone"
        if view["state"] == "stopped" and view["exit"] is not None and view["exit"]["isKnown"] and view["exit"]["exitCode"] == 0:
            self.check()
            self.remove()
            self.create()

    def check(self):
        def is_over():
            view = self.view()
            return view["state"] == "stopped" and view["exit"]["exitCode"] == 0 and view["exit"]["isKnown"] and view
        try:
            view = wait_for(is_over, "")
        except AssertionError:
            raise AssertionError(f"{self.runs.read_text().count('run')} runs of {self.failures + 1}: {self.view()}") from None
        runs = self.runs.read_text().count("run")
        assert runs == self.failures + 1, f"{runs} runs instead of {self.failures + 1}"
        assert view["restartCount"] == self.failures, f"restart count {view['restartCount']} instead of {self.failures}"
        self.ledger.count("restart policies right")

    def finish(self):
        with self.ledger.checks("restart policy", self):
            self.check()


class Short(Job):
    """Lives for a moment and ends with a known status."""

    steps = ("look",)

    def command(self):
        self.code = self.random.randrange(100)
        self.kills_before = self.shim_kills
        return ["sh", "-c", f"echo out; sleep {self.random.choice(('0', '0.1', '0.5', '2'))}; exit {self.code}"]

    def begin_run(self):
        pass

    def look(self):
        self.check()
        self.remove()
        self.create()

    def check(self):
        try:
            answer = self.ask("wait", self.name).stdout.strip()
            if answer != str(self.code):
                self.ledger.break_promise("wrong exit record", f"wait {self}: {answer} instead of {self.code}")
        except Failed:
            pass
        self.expect_exit(self.settled("stopped")["exit"], self.code)
        wait_for(self.said_all, f"its output, which is {self.host.ctl('logs', self.name, check=False).stdout!r}")

    def said_all(self):
        if self.ask_all("logs", self.name).stdout == "out\n":
            return True
        return False  # its shim reads on for a moment after the end

    def finish(self):
        with self.ledger.checks("exit record", self):
            self.check()


SHARES = ((Lines, 30), (Terminal, 15), (Execs, 25), (Restarts, 15), (Short, 15))


def kind_of(number):
    """Which job the container of this number has: all kinds in the same shares from the first on."""
    place = number * 37 % 100
    for kind, share in SHARES:
        if place < share:
            return kind
        place -= share
    raise AssertionError("the shares are 100 in all")
