# SPDX-License-Identifier: Apache-2.0
"""A database moves again and again while transactions are made: each one that was acknowledged is in its memory and on its disk."""
import json
import os
import pathlib
import subprocess
import sys

from cluster import DEADLINE, wait_for

CLIENT = pathlib.Path(__file__).with_name("database_client.py")
MOVES = int(os.environ.get("HYDRA_DATABASE_MOVES", "20"))
REDIS = ("/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--appendonly", "yes", "--appendfsync", "always",
         "--dir", "/data")


def client(cluster, address, what, **options):
    return subprocess.Popen(cluster.client.inside(sys.executable, str(CLIENT), address, what), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def address_of(host):
    return host.inspect("redis")["network"]["ip"].split("/")[0]


def is_ready(host, times):
    return host.ctl("logs", "redis").stdout.count("Ready to accept") >= times


def check(cluster, host, expected):
    checker = client(cluster, address_of(host), "check")
    _, problem = checker.communicate(expected, timeout=DEADLINE * 2)
    assert checker.returncode == 0, problem


def test_no_transaction_is_lost_in_memory_or_on_disk(cluster, redis_rootfs):
    host = cluster.a
    host.ctl("run", "-d", "--rootfs", redis_rootfs, "--name", "redis", "--network", "lan", *REDIS)
    wait_for(lambda: is_ready(host, 1), "redis")
    loader = client(cluster, address_of(host), "load")
    assert loader.stdout.readline() == "begun\n", loader.stderr.read()
    for _ in range(MOVES):
        cluster.migrate("redis", host, timeout=DEADLINE * 2)
        host = cluster.other(host)
    expected, problem = loader.communicate("stop\n", timeout=DEADLINE * 2)
    assert loader.returncode == 0, problem
    said = json.loads(expected)
    print({"moves": MOVES, "transactions": said["count"], "longest_ms": said["longest_ms"]})
    assert said["count"] > MOVES
    check(cluster, host, expected)
    host.ctl("kill", "-s", "KILL", "redis")  # now only what is on disk counts
    wait_for(lambda: host.inspect("redis")["state"] == "stopped", "its end")
    host.ctl("start", "redis")
    wait_for(lambda: is_ready(host, 1) and host.inspect("redis")["state"] == "running", "redis")
    check(cluster, host, expected)
