# SPDX-License-Identifier: Apache-2.0
"""What is said to a container while it stands still is not lost: datagrams, which nobody sends a second time."""
import signal
import subprocess
import sys

import pytest

from cluster import wait_for
from witness import PORT, start_witness

SAY = """
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 7002))
for line in sys.stdin:
    one.sendto(line.encode(), (sys.argv[1], int(sys.argv[2])))
    print("said", flush=True)
"""


class Speaker:
    """Sends lines from one port of the client."""

    def __init__(self, cluster, address):
        self.process = subprocess.Popen(cluster.client.inside(sys.executable, "-c", SAY, address, str(PORT)), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "said\n"

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def listener(cluster, rootfs):
    speaker = Speaker(cluster, start_witness(cluster, cluster.a, rootfs, 16, "ear"))

    def is_heard():
        speaker.say("before")  # until it listens, and its address is known
        return "before" in cluster.a.ctl("logs", "ear").stdout
    wait_for(is_heard, "it to hear")
    yield cluster, speaker
    speaker.close()


def stand_still(cluster, speaker):
    cluster.b.order_fault("phase.target.prepared", "stop")
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "ear", cluster.b.address])
    wait_for(lambda: cluster.b.has_arrived("phase.target.prepared"), "the standstill")
    for number in range(5):
        speaker.say(f"during {number}")
    return moving


def said_during(host):
    return [line for line in host.ctl("logs", "ear").stdout.splitlines() if line.startswith("during")]


def test_it_is_heard_at_the_target(listener):
    cluster, speaker = listener
    moving = stand_still(cluster, speaker)
    cluster.b.kill("hydra-pager", signal.SIGCONT)
    assert moving.wait(60) == 0
    wait_for(lambda: said_during(cluster.b) == [f"during {number}" for number in range(5)], "all that was said")
    speaker.say("after")
    wait_for(lambda: "after" in cluster.b.ctl("logs", "ear").stdout, "what is said now")


def test_it_is_heard_at_the_source_when_the_migration_is_called_off(listener):
    cluster, speaker = listener
    moving = stand_still(cluster, speaker)
    for pid in cluster.a.pids("hydractl"):
        subprocess.run(["kill", "-INT", str(pid)], check=True)
    assert moving.wait(60) == 130
    cluster.b.kill("hydra-pager", signal.SIGCONT)
    wait_for(lambda: said_during(cluster.a) == [f"during {number}" for number in range(5)], "all that was said")
    wait_for(lambda: cluster.a.inspect("ear")["state"] == "running", "it to be in service again")
