# SPDX-License-Identifier: Apache-2.0
"""One TCP connection to redis: fills it, writes and reads until told to stop, then checks every byte. Any reset, error
or lost acknowledged write ends it with a message."""
import hashlib
import json
import select
import socket
import sys
import time

CHUNK = 64 << 10


class Redis:
    def __init__(self, address, port):
        self.socket = socket.create_connection((address, port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")

    def call(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise SystemExit("connection closed")
        if line[:1] == b"$":
            size = int(line[1:])
            return None if size < 0 else self.stream.read(size + 2)[:-2]
        if line[:1] == b"-":
            raise SystemExit(f"error answer {line!r}")
        return line[1:-2]


def block(number):
    seed = hashlib.sha256(str(number).encode()).digest()
    return hashlib.shake_256(seed).digest(CHUNK)


def check(what, got, expected):
    if got != expected:
        raise SystemExit(f"{what}: wrong value")


def main():
    address, mib = sys.argv[1], int(sys.argv[2])
    redis = Redis(address, 6379)
    blocks = mib * (1 << 20) // CHUNK
    for number in range(blocks):
        redis.call("SET", f"block:{number}", block(number))
    print("filled", flush=True)
    history, operations, longest, bad = {}, 0, 0.0, 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        key = f"key:{operations % 1000}"
        began = time.monotonic()
        redis.call("SET", key, operations)
        history[key] = operations
        got = redis.call("GET", key)
        took = time.monotonic() - began
        longest = max(longest, took)
        if took > 0.1:
            print(f"stall of {1000 * took:.0f} ms until {time.time():.3f}", file=sys.stderr, flush=True)
        check(key, got, str(operations).encode())
        operations += 1
        if operations % 16 == 0:
            number = operations * 7919 % blocks
            check(f"block {number}", redis.call("GET", f"block:{number}"), block(number))
    for key, value in history.items():
        check(key, redis.call("GET", key), str(value).encode())
    for number in range(blocks):
        check(f"block {number}", redis.call("GET", f"block:{number}"), block(number))
    print(json.dumps({"operations": operations, "errors": bad, "longest_ms": 1000 * longest, "verified_mib": mib}))


if __name__ == "__main__":
    main()
