#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The inner part of scripts/demo."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

here = pathlib.Path(__file__).parent.parent / "tests/integration/migration"
sys.path.insert(0, str(here))

from cluster import Cluster, make_certificates, wait_for  # noqa: E402
from roots import make_rootfs  # noqa: E402

MIB = 256


class Step:
    """Says what happens; on a terminal, for how long already."""

    def __init__(self, title):
        self.title, self.ends, self.began = title, threading.Event(), time.monotonic()

    def show(self, end):
        sys.stderr.write(f"\r{self.title:<58} {end}")
        sys.stderr.flush()

    def tick(self):
        while not self.ends.wait(0.2):
            self.show(f"{time.monotonic() - self.began:4.0f}s ")

    def __enter__(self):
        self.thread = threading.Thread(target=self.tick if sys.stderr.isatty() else lambda: None)
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ends.set()
        self.thread.join()
        self.show(f"{'ok' if kind is None else 'FAILED'}, {time.monotonic() - self.began:.1f}s\n")


class Client:
    def __init__(self, cluster, address):
        self.process = subprocess.Popen(cluster.client.inside(sys.executable, str(here / "redis_client.py"), address, str(MIB)),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if line != "filled\n":
            raise SystemExit(f"the client could not fill redis: {line}{self.process.stderr.read()}")

    def end(self):
        out, error = self.process.communicate("stop\n", timeout=300)
        if self.process.returncode != 0:
            raise SystemExit(f"\nA PROMISE BROKE: the client says: {error}")
        return json.loads(out)


def start_redis(host, rootfs):
    host.ctl("run", "-d", "--rootfs", rootfs, "--name", "redis", "--network", "lan", "/usr/bin/redis-server", "--bind", "0.0.0.0",
             "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", "/tmp")
    wait_for(lambda: "Ready to accept" in host.ctl("logs", "redis").stdout, "redis")
    return host.inspect("redis")["network"]["ip"].split("/")[0]


def kill_daemon(host):
    old = host.json("daemon")["pid"]
    began = time.monotonic()
    host.kill("hydrad")

    def successor():
        done = host.ctl("--format", "json", "daemon", check=False)
        info = json.loads(done.stdout) if done.returncode == 0 else None
        return info if info is not None and info["pid"] != old and int(info["recoveryUs"]) > 0 else None
    info = wait_for(successor, "the next hydrad")
    return int(info["recoveryUs"]) / 1000, 1000 * (time.monotonic() - began)


def migrate(cluster, source):
    lines = source.ctl("--format", "json", "migrate", "redis", cluster.other(source).address, timeout=300).stdout.splitlines()
    return json.loads(lines[-1])


def perform(cluster, rootfs):
    with Step("starting two hosts with hydra-monitor and hydrad"):
        cluster.start()
    with Step("starting redis in a container on host a"):
        address = start_redis(cluster.a, rootfs)
    with Step(f"writing {MIB} MiB into it, over one TCP connection"):
        client = Client(cluster, address)
    pid = cluster.a.inspect("redis")["pid"]
    with Step("killing hydrad of host a (SIGKILL)"):
        recovery, outage = kill_daemon(cluster.a)
    if cluster.a.inspect("redis")["pid"] != pid:
        raise SystemExit("A PROMISE BROKE: redis is not the same process any more")
    with Step("moving the container to host b"):
        there = migrate(cluster, cluster.a)
    with Step("and back to host a"):
        back = migrate(cluster, cluster.b)
    with Step("checking every byte and every acknowledged write"):
        seen = client.end()
    if cluster.a.inspect("redis")["state"] != "running":
        raise SystemExit("A PROMISE BROKE: redis does not run")
    print(f"""
hydrad killed:            knew every container again {recovery:.1f} ms after its start; answered after {outage:.0f} ms in all
containers stopped by it: 0 (redis is still process {pid})""")
    for name, move in (("a -> b", there), ("b -> a", back)):
        print(f"migration {name}:         stood still for {int(move['downtimeUs']) / 1000:.1f} ms;"
              f" {move.get('pagesDone', 0)} pages, {move.get('faults', 0)} fetched by a fault")
    print(f"client:                   {seen['operations']} operations over one connection, {seen['errors']} errors,"
          f" longest stall {seen['longest_ms']:.0f} ms")
    print(f"data:                     {seen['verified_mib']} MiB compared, byte for byte the same")


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hydra-demo-"))
    (folder / "redis").mkdir()
    folder.chmod(0o755)
    rootfs = make_rootfs(folder / "redis", "/usr/bin/redis-server")
    with Step("making certificates"):
        certificates = make_certificates(folder / "certificates", "a", "b")
    with Cluster(certificates) as cluster:
        try:
            perform(cluster, rootfs)
        finally:
            with Step("cleaning up"):
                cluster.clean()
    print("every promise was kept")


os.environ.setdefault("HYDRA_TEST_DEADLINE", "120")
main()
