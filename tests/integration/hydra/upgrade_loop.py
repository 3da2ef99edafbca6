# SPDX-License-Identifier: Apache-2.0
"""hydrad, hydra-monitor and a shim replaced again and again under 200 requests a second: no request may fail, no connection may be
closed, no byte of output may be lost."""
import collections
import shutil
import subprocess
import threading
import time

from hosts import program
from ttrpc import Connection

REQUESTERS = 4
REQUESTS_PER_S = 200
NEW_CONNECTION_EVERY = 10
RESIDENT = {"daemon": "hydrad", "monitor": "hydra-monitor", "shim": "hydra-shim"}
QUESTIONS = (("hydrad.sock", "hydra.v1.Daemon", "Info"), ("default/web/shim.sock", "hydra.v1.Shim", "State"),
             ("monitor.sock", "hydra.v1.Monitor", "Status"), ("hydrad.sock", "hydra.v1.Daemon", "List"),
             ("default/web/shim.sock", "hydra.v1.Shim", "Stats"), ("monitor.sock", "hydra.v1.Monitor", "Ledger"))
COUNT = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.002; done"


class UpgradeLoop:
    def __init__(self, host, rootfs):
        self.host, self.rootfs = host, rootfs
        self.counts, self.failures, self.latencies = collections.Counter(), [], []
        self.over = threading.Event()

    def path(self, name):
        return str(self.host.path(f"/run/hydra/{name}"))

    def ask(self, number, kept):
        name, service, method = QUESTIONS[number % len(QUESTIONS)]
        if number % NEW_CONNECTION_EVERY == 0:
            with Connection(self.path(name)) as connection:
                connection.call(service, method)
            return
        if name not in kept:
            kept[name] = Connection(self.path(name))
        kept[name].call(service, method)

    def request(self, first):
        """Every so-manyth of REQUESTS_PER_S, at its time or as soon as the one before is answered."""
        kept, number, began = {}, first, time.monotonic()
        while not self.over.wait(max(0, began + (number - first) / REQUESTS_PER_S - time.monotonic())):
            start = time.monotonic()
            try:
                self.ask(number, kept)
                self.counts["requests"] += 1
            except (OSError, RuntimeError) as error:
                self.failures.append(f"{QUESTIONS[number % len(QUESTIONS)]}: {error!r}")
                break
            self.latencies.append(time.monotonic() - start)
            number += REQUESTERS
        for connection in kept.values():
            connection.close()

    def upgrade(self, what, turn):
        name = RESIDENT[what]
        binary = f"/run/new/{name}" if turn % 2 == 0 else program(name)
        arguments = ["web"] if what == "shim" else []
        done = self.host.ctl("upgrade", what, "--binary", binary, *arguments, check=False)
        if done.returncode != 0:
            self.failures.append(f"upgrade {what}: {done.stderr.strip()}")
        self.counts[f"upgrades of {name}"] += 1

    def prepare(self):
        self.host.path("/run/new").mkdir(exist_ok=True)
        for name in ("hydra-shim", "hydra-setup", "hydra", "hydrad", "hydra-monitor"):
            shutil.copy(program(name), self.host.path("/run/new"))
        self.host.ctl("run", "-d", "--name", "web", "--rootfs", self.rootfs, "sh", "-c", COUNT)
        self.pids = self.resident_pids()
        self.readers = [self.host.popen([program("hydractl"), *words, "web"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
                        for words in (["attach"], ["logs", "-f"])]
        self.outputs = [[], []]
        self.threads = [threading.Thread(target=self.read, args=pair) for pair in zip(self.readers, self.outputs)]
        self.threads += [threading.Thread(target=self.request, args=(first,)) for first in range(REQUESTERS)]

    @staticmethod
    def read(reader, output):
        output.extend(int(line) for line in reader.stdout)

    def resident_pids(self):
        return {name: self.host.pids(name) for name in RESIDENT.values()}

    def run(self, seconds):
        self.prepare()
        for thread in self.threads:
            thread.start()
        end = time.monotonic() + seconds
        turn = 0
        try:
            while time.monotonic() < end and not self.failures:
                for what in RESIDENT:
                    self.upgrade(what, turn)
                turn += 1
            if self.resident_pids() != self.pids:
                self.failures.append(f"other processes: {self.pids}, {self.resident_pids()}")
        finally:
            self.over.set()
            self.host.ctl("stop", "-t", "0", "web")
            for thread in self.threads:
                thread.join()
            for reader in self.readers:
                reader.wait()
                reader.stdout.close()
        self.check_output()

    def check_output(self):
        written = [int(line) for line in self.host.ctl("logs", "web").stdout.split()]
        if written != list(range(1, len(written) + 1)):
            self.failures.append("the log has holes")
        for what, output in zip(("attach", "logs -f"), self.outputs):
            if not output or output != list(range(output[0], written[-1] + 1)):
                self.failures.append(f"{what}: not what is in the log ({len(output)} lines of {len(written)})")
        self.counts["lines of output"] = len(written)
        self.host.ctl("rm", "web")

    def summary(self):
        slowest = sorted(self.latencies)
        counted = ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items()))
        return (f"{counted}; a request took {1000 * slowest[len(slowest) // 2]:.1f} ms (median), {1000 * slowest[-1]:.0f} ms at most; "
                f"{len(self.failures)} failures")
