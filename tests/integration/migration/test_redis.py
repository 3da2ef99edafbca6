# SPDX-License-Identifier: Apache-2.0
"""redis with 256 MiB of data moves back and forth; one client writes and reads all the time over one connection."""
import json
import pathlib
import subprocess
import sys

from cluster import DEADLINE, wait_for

CLIENT = pathlib.Path(__file__).with_name("redis_client.py")
MIB = 256


class Client:
    def __init__(self, cluster, address):
        self.process = subprocess.Popen(cluster.client.inside(sys.executable, str(CLIENT), address, str(MIB)), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line == "filled\n", line + self.process.stderr.read()

    def end(self):
        out, error = self.process.communicate("stop\n", timeout=DEADLINE * 4)
        assert self.process.returncode == 0, error
        print(error)
        return json.loads(out)


def start_redis(cluster, redis_rootfs):
    cluster.a.ctl("run", "-d", "--rootfs", redis_rootfs, "--name", "redis", "--network", "lan", "/usr/bin/redis-server", "--bind", "0.0.0.0",
                  "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", "/tmp")
    wait_for(lambda: "Ready to accept" in cluster.a.ctl("logs", "redis").stdout, "redis")
    return cluster.a.inspect("redis")["network"]["ip"].split("/")[0]


def test_five_migrations_and_no_lost_write(cluster, redis_rootfs):
    client = Client(cluster, start_redis(cluster, redis_rootfs))
    source = cluster.a
    for _ in range(5):
        print(cluster.migrate("redis", source, timeout=DEADLINE * 4).stdout)
        source = cluster.other(source)
    seen = client.end()
    print(seen)
    assert seen["operations"] > 100 and seen["verified_mib"] == MIB
    assert source.inspect("redis")["state"] == "running"


ASK = """
import socket, sys
one = socket.create_connection((sys.argv[1], 6379), timeout=float(sys.argv[2]))
one.sendall(b"PING\\r\\n")
print(one.recv(100))
"""


def test_an_idle_server_is_found_at_its_new_place(cluster, redis_rootfs):
    """Nothing but its announcement tells the switch where it is now."""
    address = start_redis(cluster, redis_rootfs)

    def ask():
        done = subprocess.run(cluster.client.inside(sys.executable, "-c", ASK, address, str(DEADLINE)), capture_output=True, text=True)
        assert "PONG" in done.stdout, done.stderr
    source = cluster.a
    for _ in range(3):
        ask()
        cluster.migrate("redis", source)
        source = cluster.other(source)
    ask()
