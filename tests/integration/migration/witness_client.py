# SPDX-License-Identifier: Apache-2.0
"""One TCP connection to the witness (tests/programs/witness.c): writes and reads pages all the time and knows what each must be.
Commands on standard input, one answer a line: "check" looks at every page, "end" ends. Whatever is wrong ends it with a message."""
import json
import random
import select
import socket
import struct
import sys
import time

WRITE, READ, SUM = 1, 2, 3


class Witness:
    def __init__(self, address, port, pages):
        self.socket = socket.create_connection((address, port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.values = [0] * pages
        self.random = random.Random(7)
        self.operations, self.longest = 0, 0.0

    def ask(self, operation, page, value=0):
        began = time.monotonic()
        self.socket.sendall(struct.pack("<IIQ", operation, page, value))
        data = b""
        while len(data) < 16:
            part = self.socket.recv(16 - len(data))
            if not part:
                raise SystemExit("the connection was closed")
            data += part
        self.longest = max(self.longest, time.monotonic() - began)
        self.operations += 1
        before, bad = struct.unpack("<QQ", data)
        if bad:
            raise SystemExit(f"{bad} wrong words")
        return before

    def expect(self, what, got, expected):
        if got != expected:
            raise SystemExit(f"{what} is {got}, was written as {expected}")

    def step(self):
        page = self.random.randrange(len(self.values))
        if self.random.random() < 0.5:
            self.expect(f"page {page}", self.ask(READ, page), self.values[page])
            return
        value = self.operations + 1
        self.expect(f"page {page}", self.ask(WRITE, page, value), self.values[page])
        self.values[page] = value

    def check(self):
        self.expect("the sum", self.ask(SUM, 0), sum(self.values))
        for page, value in enumerate(self.values):
            self.expect(f"page {page}", self.ask(READ, page), value)

    def report(self):
        print(json.dumps({"operations": self.operations, "longest_ms": 1000 * self.longest}), flush=True)
        self.longest = 0.0


def main():
    witness = Witness(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    witness.check()
    witness.report()
    while True:
        if not select.select([sys.stdin], [], [], 0)[0]:
            witness.step()
            continue
        command = sys.stdin.readline().strip()
        if command == "check":
            witness.check()
        witness.report()
        if command in ("end", ""):
            return


try:
    main()
except OSError as problem:
    sys.exit(f"the connection broke: {problem}")
