# SPDX-License-Identifier: Apache-2.0
"""Transactions on redis with an append-only file: two keys in one MULTI, and a counter. Prints what was acknowledged at the end; with
that as its input it checks that all of it is there.

    database_client.py ADDRESS load  < commands ("stop")
    database_client.py ADDRESS check < what load printed"""
import json
import select
import sys
import time

from redis_client import Redis


def transact(redis, number):
    """Both keys or none; the answers of all three commands say that it is on disk (appendfsync always)."""
    key = number % 500
    redis.call("MULTI")
    for words in (("SET", f"left:{key}", number), ("SET", f"right:{key}", number), ("INCR", "count")):
        if redis.call(*words) != b"QUEUED":
            raise SystemExit("a command was not queued")
    answers = redis.call("EXEC")
    if answers != b"3":
        raise SystemExit(f"EXEC was answered by {answers!r}")
    return [redis.stream.readline() for _ in range(3)][2]


def load(redis):
    acknowledged, count, longest = {}, 0, 0.0
    print("begun", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        began = time.monotonic()
        if transact(redis, count) != b":%d\r\n" % (count + 1):
            raise SystemExit("the counter is wrong")
        longest = max(longest, time.monotonic() - began)
        acknowledged[count % 500] = count
        count += 1
    print(json.dumps({"acknowledged": acknowledged, "count": count, "longest_ms": 1000 * longest}), flush=True)


def check(redis):
    expected = json.load(sys.stdin)
    if redis.call("GET", "count") != str(expected["count"]).encode():
        raise SystemExit(f"the counter is {redis.call('GET', 'count')}, {expected['count']} transactions were acknowledged")
    for key, number in expected["acknowledged"].items():
        for side in ("left", "right"):
            if redis.call("GET", f"{side}:{key}") != str(number).encode():
                raise SystemExit(f"{side}:{key} is not what was acknowledged last")


if __name__ == "__main__":
    {"load": load, "check": check}[sys.argv[2]](Redis(sys.argv[1], 6379))
