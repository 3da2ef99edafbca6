# SPDX-License-Identifier: Apache-2.0
"""hydractl events: every event once, in order, whatever dies or is replaced meanwhile."""
import collections
import json
import os
import signal
import threading

import pytest

from hosts import program, wait_for


class Follower:
    """hydractl events in the background; what it says is collected."""

    def __init__(self, host, *arguments):
        self.host = host
        self.process = host.popen([program("hydractl"), "--format", "json", "events", *arguments], stdin=-3, stdout=-1, text=True)
        self.events = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def of(self, name):
        return [event for event in self.events if event["containerId"] == name]

    def types(self, name):
        return [event["type"] for event in self.of(name)]

    def stop(self):
        self.host.kill("hydractl", signal.SIGTERM)  # the process is nsenter, whose child it is
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


@pytest.fixture
def follow(host):
    made = []

    def begin(*arguments):
        made.append(Follower(host, *arguments))
        # it watches before it reads: what is there after its first look is seen
        return made[-1]

    yield begin
    for follower in made:
        follower.stop()


def begin_following(host, rootfs, follow):
    """A follower that is known to follow: it has told of a container that was made for it."""
    follower = follow()
    numbers = iter(range(1000))

    def is_following():
        name = f"probe{next(numbers)}"
        host.ctl("run", "--rm", "--name", name, "--rootfs", rootfs, "true")
        return follower.events
    wait_for(is_following, "the follower to begin")
    return follower


def assert_without_holes(events):
    sequences = collections.defaultdict(list)
    for event in events:
        sequences[event["containerId"]].append(event["sequence"])
    for name, seen in sequences.items():
        assert seen == list(range(seen[0], seen[0] + len(seen))), (name, seen)


def test_events_of_containers_that_come_later_are_told(any_host, rootfs, follow):
    host = any_host
    follower = begin_following(host, rootfs, follow)
    for name in ("one", "two"):
        host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, "sleep", "1000")
    host.ctl("stop", "-t", "0", "one")
    host.ctl("exec", "two", "true")
    host.ctl("rm", "one")
    host.ctl("run", "-d", "--name", "one", "--rootfs", rootfs, "sleep", "1000")
    wait_for(lambda: follower.types("one")[-2:] == ["created", "started"] and len(follower.types("one")) >= 5, "the second one of that name")
    wait_for(lambda: "exec-exited" in follower.types("two"), "the exec")
    assert follower.types("one")[:3] == ["created", "started", "exited"]
    assert [event["sequence"] for event in follower.of("two")] == list(range(1, 1 + len(follower.of("two"))))


def test_with_a_time_it_begins_there_and_all_are_in_order(any_host, rootfs, follow):
    host = any_host
    for name in ("one", "two"):
        host.ctl("run", "--name", name, "--rootfs", rootfs, "true")
    wait_for(lambda: [host.inspect(name)["state"] for name in ("one", "two")] == ["stopped"] * 2, "the ends")
    follower = follow("--since", "1h")
    wait_for(lambda: follower.types("two")[-1:] == ["exited"], "what was before")
    times = [event["timeNs"] for event in follower.events]
    assert times == sorted(times) and {event["containerId"] for event in follower.events} == {"one", "two"}
    first = follower.of("two")[0]
    text = host.run("date", "-u", "-d", f"@{first['timeNs'] // 10**9}", "+%Y-%m-%dT%H:%M:%SZ").stdout.strip()
    assert json.loads(host.ctl("--format", "json", "events", "--since", text, "two").stdout.splitlines()[0]) == first


@pytest.mark.parametrize("arguments", [["--since", "5"], ["--since", "soon"], ["--since", "x", "web"]])
def test_a_since_that_means_nothing_is_refused(any_host, rootfs, arguments):
    any_host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    done = any_host.ctl("events", *arguments, check=False)
    assert done.returncode == 125 and "option --since" in done.stderr and "a duration such as 10m" in done.stderr


def test_following_one_ends_with_it(any_host, rootfs, follow):
    host = any_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    follower = follow("-f", "web")
    wait_for(lambda: follower.types("web") == ["created", "started"], "what was before")
    host.ctl("stop", "-t", "0", "web")
    assert follower.process.wait(60) == 0
    follower.reader.join()
    assert follower.types("web") == ["created", "started", "exited"]
    assert host.ctl("events", "-f", "web").stdout.count("\n") == 3


def test_none_is_lost_or_doubled_when_programs_die_or_are_replaced(daemon_host, rootfs, follow):
    host = daemon_host
    follower = begin_following(host, rootfs, follow)
    names = ["one", "two", "three"]
    for name in names:
        host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, "sleep", "1000")
    for turn in range(6):
        for name in names:
            host.ctl("exec", "-d", name, "true")
        host.kill("hydrad")
        if turn % 2:
            for pid in host.pids("hydra-shim"):
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: all(host.inspect(name)["isReachable"] for name in names), "the successors")
        else:
            host.ctl("upgrade", "shim", *names)
        wait_for(lambda: host.answers("hydrad.sock"), "the next daemon")
        host.ctl("upgrade", "daemon")
    for name in names:
        host.ctl("stop", "-t", "0", name)
        written = [json.loads(line) for line in host.ctl("--format", "json", "events", name).stdout.splitlines()]
        wait_for(lambda: len(follower.of(name)) >= len(written), "the last ones")
        assert follower.of(name) == written
    assert_without_holes(follower.events)


def test_a_journal_that_is_rotated_is_followed(any_host, rootfs, follow):
    """64 KiB are some 500 pauses."""
    host = any_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    follower = follow("-f", "web")
    wait_for(lambda: follower.events, "the follower to begin")
    for _ in range(60):
        host.run("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do %s exec -d web true; done" % program("hydractl"))
        if host.path("/run/hydra/default/web/journal.1").exists():
            break
    host.ctl("exec", "web", "true")
    last = int(host.ctl("events", "web").stdout.splitlines()[-1].split()[0])
    wait_for(lambda: follower.events[-1]["sequence"] >= last, "the last one")
    assert [event["sequence"] for event in follower.events] == list(range(1, 1 + len(follower.events)))


def test_events_of_all_namespaces_also_of_those_made_later(any_host, rootfs, follow):
    host = any_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    follower = follow("-A", "--since", "1h")
    wait_for(lambda: follower.types("web") == ["created", "started"], "what was before")
    for namespace in ("second", "third"):
        host.ctl("--namespace", namespace, "run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
        host.ctl("--namespace", namespace, "rm", "-f", "web")
    host.ctl("exec", "web", "true")

    def seen(namespace):
        return [event["type"] for event in follower.events if event["namespace"] == namespace]
    wait_for(lambda: "exec-exited" in seen("default"), "the exec")
    wait_for(lambda: all(seen(namespace)[:3] == ["created", "started", "exited"] for namespace in ("second", "third")), "the others")
    text = host.ctl("events", "web").stdout.splitlines()
    assert text[0].split()[2] == "web"
    refused = host.ctl("events", "-A", "web", check=False)
    assert refused.returncode == 125 and "--all-namespaces" in refused.stderr


def test_an_end_that_nobody_saw_is_said_to_be_unknown(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    exec_id = host.ctl("exec", "-d", "web", "sleep", "2000").stdout.strip()
    for name in ("hydra-monitor", "hydra-shim"):
        host.kill(name)
    host.run("pkill", "-KILL", "-f", "^sleep 2000")
    wait_for(lambda: host.run("pgrep", "-f", "^sleep 2000", check=False).returncode == 1, "its end")
    host.services["hydra-monitor"].wait()
    host.start("hydra-monitor")
    wait_for(lambda: f"exec-exited exec={exec_id} status=unknown\n" in host.ctl("events", "web").stdout, "the successor to say so")
