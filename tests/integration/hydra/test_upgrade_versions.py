# SPDX-License-Identifier: Apache-2.0
"""Binaries of different versions take each other's place: what one can't take over stays with the other, and nothing is lost."""
import os
import pathlib
import signal

import pytest

import seal
from hosts import program, wait_for

GOLDEN = pathlib.Path(__file__).parents[2] / "unit" / "golden"
COUNT = "i=0; while [ ! -e /data/$0 ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo end; exit 5"
READ = 'while read line; do echo "got $line"; done; exit 9'
MUCH = 150000


def numbers(text):
    return [int(word) for word in text.split()]


def shim_of(host):
    return host.inspect("web")["shimPid"]


def exe_of(host, name):
    pid = host.pid_of(name)
    return pid, os.readlink(f"/proc/{pid}/exe")


def is_stopped(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


class Sessions:
    """A container that counts, and who is connected with it: each must see every number once, and every line answered."""

    def __init__(self, host, rootfs):
        self.host = host
        host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sh", "-c", COUNT, "go-init")
        self.attached, self.counter = self.open("attach", "web"), self.open("exec", "web", "sh", "-c", COUNT, "go-exec")
        self.reader, self.terminal = self.open("exec", "-i", "web", "sh", "-c", READ), self.open("exec", "-it", "web", "sh", "-c", READ)
        self.waiter, self.events = self.open("wait", "web"), self.open("events", "--follow", "web")
        self.seen = {self.counter: [], self.attached: []}
        self.lines = 0

    def open(self, *arguments):
        return self.host.popen([program("hydractl"), *arguments], stdin=-1, stdout=-1, text=True)

    @staticmethod
    def rest_of(client):
        """What it prints up to its end; what communicate() gives is without what readline() took too much of."""
        client.stdin.close()
        rest = client.stdout.read()
        client.stdout.close()
        client.wait(60)
        return rest

    def look(self):
        """A number of each counter, and an answer of each reader: all of them are connected."""
        for counter, seen in self.seen.items():
            for _ in range(3):
                seen.append(int(counter.stdout.readline()))
        self.lines += 1
        for reader in (self.reader, self.terminal):
            reader.stdin.write(f"line {self.lines}\n")
            reader.stdin.flush()
            while (line := reader.stdout.readline().strip()) == f"line {self.lines}":  # the terminal's echo
                pass
            assert line == f"got line {self.lines}"

    def finish(self):
        """Everything to its end, with nothing missing and nothing twice."""
        assert self.rest_of(self.reader) == "" and self.reader.returncode == 9
        for (counter, seen), name in zip(self.seen.items(), ("go-exec", "go-init")):
            self.host.path(f"/var/lib/hydra/{name}").touch()
            rest = self.rest_of(counter).split()
            assert rest.pop() == "end" and counter.returncode == 5
            seen += map(int, rest)
            assert seen == list(range(seen[0], seen[0] + len(seen)))
        assert self.seen[self.counter][0] == 1
        assert self.rest_of(self.waiter) == "5\n"
        logged = self.host.ctl("logs", "web").stdout.split()
        assert logged.pop() == "end" and [int(word) for word in logged] == list(range(1, self.seen[self.attached][-1] + 1))
        self.rest_of(self.terminal)
        for name in ("go-exec", "go-init"):
            self.host.path(f"/var/lib/hydra/{name}").unlink()
        return self.rest_of(self.events)


def test_what_yesterdays_version_seals_is_todays_without_what_is_new():
    assert seal.without((GOLDEN / "sealed-shim.2").read_bytes(), seal.SINCE_THEN) == (GOLDEN / "sealed-shim.1").read_bytes()


def test_the_state_of_yesterdays_shim_is_taken_over(daemon_host, rootfs):
    host = daemon_host
    yesterday = seal.install(host, "/run/yesterday", "play_yesterday", program("hydra-shim"))
    sessions = Sessions(host, rootfs)
    before = host.inspect("web")
    for binary in (yesterday, program("hydra-shim"), yesterday):
        sessions.look()
        host.ctl("upgrade", "shim", "--binary", binary, "web")
    sessions.look()
    assert (host.inspect("web")["pid"], shim_of(host)) == (before["pid"], before["shimPid"])
    # all of it was deposited again, also what yesterday's shim did not know
    host.run("kill", "-9", str(before["shimPid"]))
    sessions.look()
    assert shim_of(host) != before["shimPid"]
    events = sessions.finish()
    assert events.count("upgraded") == 3 and "upgrade-refused" not in events


def test_yesterdays_shim_is_not_given_what_it_would_lose(daemon_host, rootfs):
    host = daemon_host
    yesterday = seal.install(host, "/run/yesterday", "play_yesterday", program("hydra-shim"))
    host.ctl("run", "-d", "--name", "web", "-i", "--rootfs", rootfs, "sh", "-c", f"read line; seq {MUCH}; read line; exit 6")
    client = host.popen([program("hydractl"), "attach", "web"], stdin=-1, stdout=-1, text=True)
    client.stdin.write("\n")
    client.stdin.flush()
    assert client.stdout.readline() == "1\n"
    host.kill("hydractl", signal.SIGSTOP)
    wait_for(lambda: is_stopped(client.pid), "nsenter, which stops with what it runs")
    wait_for(lambda: host.json("stats", "web")["logBytes"] > 900000, "all of its output")
    before = exe_of(host, "hydra-shim")
    refused = host.ctl("upgrade", "shim", "--binary", yesterday, "web", check=False)
    assert refused.returncode == 125 and "does not know bits 0x1" in refused.stderr and "the old one goes on" in refused.stderr
    assert exe_of(host, "hydra-shim") == before
    client.send_signal(signal.SIGCONT)
    assert [client.stdout.readline() for _ in range(2, MUCH + 1)] == [f"{number}\n" for number in range(2, MUCH + 1)]
    # now it has all of it, and nothing would be lost
    host.ctl("upgrade", "shim", "--binary", yesterday, "web")
    client.stdin.write("\n")
    client.stdin.close()
    assert client.wait(60) == 6 and client.stdout.read() == ""
    client.stdout.close()


@pytest.mark.parametrize("field, value, why", [(seal.VERSION, 2, "has format 2"), (seal.NEEDS, seal.LATER_BIT, f"bits {seal.LATER_BIT:#x}")])
def test_the_state_of_tomorrows_shim_is_refused_and_it_goes_on(daemon_host, rootfs, field, value, why):
    host = daemon_host
    tomorrow = seal.install(host, "/run/tomorrow", "play_tomorrow", program("hydra-shim"), field, value)
    sessions = Sessions(host, rootfs)
    before = exe_of(host, "hydra-shim")
    for _ in range(3):
        sessions.look()
        refused = host.ctl("upgrade", "shim", "--binary", tomorrow, "web", check=False)
        assert refused.returncode == 125 and why in refused.stderr and "the old one goes on" in refused.stderr
    assert exe_of(host, "hydra-shim") == before
    sessions.look()
    assert sessions.finish().count("upgrade-refused") == 3


@pytest.mark.parametrize("what, name", [("daemon", "hydrad"), ("monitor", "hydra-monitor")])
@pytest.mark.parametrize("field, value, why", [(seal.VERSION, 2, "has format 2"), (seal.NEEDS, seal.LATER_BIT, f"bits {seal.LATER_BIT:#x}")])
def test_the_state_of_tomorrows_daemon_or_monitor_is_refused(daemon_host, rootfs, what, name, field, value, why):
    host = daemon_host
    tomorrow = seal.install(host, "/run/tomorrow", "play_tomorrow", program(name), field, value)
    sessions = Sessions(host, rootfs)
    before = exe_of(host, name)
    for _ in range(2):
        refused = host.ctl("upgrade", what, "--binary", tomorrow, check=False)
        assert refused.returncode == 125 and why in refused.stderr
        assert exe_of(host, name) == before
        sessions.look()
    host.run("kill", "-9", str(shim_of(host)))  # deposits and watches are still there
    sessions.look()
    sessions.finish()


PAGE = "/run/hydra/default/web/stdio"


def test_output_on_its_way_in_a_format_of_tomorrow_stays_with_tomorrows_shim(daemon_host, rootfs):
    host = daemon_host
    tomorrow = seal.install(host, "/run/tomorrow", "play_tomorrow", program("hydra-shim"), 500, 1, PAGE)
    sessions = Sessions(host, rootfs)
    sessions.look()
    before = exe_of(host, "hydra-shim")
    refused = host.ctl("upgrade", "shim", "--binary", tomorrow, "web", check=False)
    assert refused.returncode == 125 and "the output on its way has a format" in refused.stderr
    assert exe_of(host, "hydra-shim") == before
    sessions.look()
    assert "output-gap" not in sessions.finish()


def test_a_successor_that_does_not_understand_the_counters_says_so(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sh", "-c", COUNT, "go-init")
    wait_for(lambda: len(host.ctl("logs", "web").stdout.split()) > 3, "output")
    seal.write_page_version(host.path(PAGE), 2)
    before = shim_of(host)
    host.run("kill", "-9", str(before))
    wait_for(lambda: (seen := host.inspect("web"))["isReachable"] and seen["shimPid"] != before, "the successor")
    seen = len(host.ctl("logs", "web").stdout.split())
    wait_for(lambda: len(host.ctl("logs", "web").stdout.split()) > seen + 3, "further output")
    assert host.ctl("events", "web").stdout.count("output-gap") == 1
    assert "not understood" in host.path("/run/hydra/default/web/shim.log").read_text()
    assert host.path(f"{PAGE}.unknown").exists()
    assert host.json("stats", "web")["logCountsArePartial"]
    [row] = host.json("top", "--once")["containers"]
    assert row["outputDroppedBytes"] is None
    [shown] = [item for item in host.json("ledger")["subjects"] if item["name"] == "default/web"]
    assert not shown["container"]["outputIsKnown"]
    host.path("/var/lib/hydra/go-init").touch()
    assert host.ctl("wait", "web").stdout == "5\n"
    host.path("/var/lib/hydra/go-init").unlink()
