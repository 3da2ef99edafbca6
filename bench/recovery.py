#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How soon a daemon that was killed answers for every container again: hydrad, and dockerd with live-restore beside it.

From SIGKILL until a new daemon, started by us in the same moment, has given the state of every container over its socket. Ten
shims stopped: until the other ones have their state, and the ten are said to be out of reach.
"""
import argparse
import http.client
import json
import os
import pathlib
import select
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from common import Host, make_rootfs, program, wait_for
from ttrpc import Connection, fields

STOPPED = 10


def list_containers(path):
    """A ListResponse, asked for by hand: starting a client program would be measured too. None: nobody answers yet."""
    try:
        with Connection(path) as connection:
            return connection.call("hydra.v1.Daemon", "List")
    except OSError:
        return None


def reachable(answer):
    """(containers, those that their shims answered for)."""
    items = [dict(fields(item)) for number, item in fields(answer) if number == 1]
    return len(items), sum(item.get(3, 0) for item in items)


class Hydra:
    name = "hydrad"

    def __init__(self, host, rootfs):
        self.host, self.rootfs = host, rootfs
        self.path = str(host.path("/run/hydra/hydrad.sock"))

    def __enter__(self):
        self.host.start("hydra-monitor", "--no-daemon")
        self.start()
        wait_for(lambda: list_containers(self.path) is not None, "hydrad")
        return self

    def __exit__(self, *_):
        # all at once, and without asking: the host goes with its namespaces
        self.host.kill("hydra-monitor")

    def start(self):
        log = open(self.host.path("/run/hydrad.log"), "ab")
        self.daemon = self.host.popen([program("hydrad")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

    def run(self, count):
        run_many(lambda number: self.host.ctl("run", "-d", "--name", f"idle{number}", "--rootfs", self.rootfs, "sleep", "1000000"), count)

    def restart(self):
        victims = [os.pidfd_open(pid) for pid in self.host.pids("hydrad")]
        start = time.perf_counter()
        for pidfd in victims:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [])
            os.close(pidfd)
        self.daemon.wait()
        self.start()
        return start

    def known(self):
        answer = list_containers(self.path)
        return reachable(answer) if answer else (0, 0)

    def own_time(self):
        return self.host.json("daemon")["recoveryUs"] / 1000


class Docker:
    name = "dockerd --live-restore"

    def __init__(self, folder, rootfs):
        self.folder, self.rootfs = folder, rootfs
        self.socket = f"{folder}/docker.sock"
        self.log = open(f"{folder}/dockerd.log", "ab")

    def __enter__(self):
        self.containerd = subprocess.Popen(["containerd", "--root", f"{self.folder}/containerd", "--state", f"{self.folder}/containerd-run",
                                            "--address", f"{self.folder}/containerd.sock"], stdout=self.log, stderr=self.log)
        wait_for(pathlib.Path(f"{self.folder}/containerd.sock").exists, "containerd")
        self.start()
        wait_for(lambda: self.get("/_ping") is not None, "dockerd", 60)
        archive = subprocess.run(["tar", "-C", self.rootfs, "-c", "."], capture_output=True, check=True).stdout
        assert self.ask("POST", "/images/create?fromSrc=-&repo=idle", archive, "application/x-tar") is not None
        return self

    def __exit__(self, *_):
        for item in json.loads(self.get("/containers/json?all=1") or b"[]"):
            self.ask("DELETE", f"/containers/{item['Id']}?force=1")
        self.daemon.kill()
        self.daemon.wait()
        self.containerd.kill()
        self.containerd.wait()

    def start(self):
        self.daemon = subprocess.Popen(
            ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--live-restore", "--data-root", f"{self.folder}/docker",
             "--exec-root", f"{self.folder}/docker-run", "--pidfile", f"{self.folder}/docker.pid", "--host", f"unix://{self.socket}",
             "--containerd", f"{self.folder}/containerd.sock"], stdout=self.log, stderr=self.log)

    def ask(self, method, path, body=None, kind="application/json"):
        """The answer's body; None: nobody answers, or it failed."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(self.socket)
            connection.request(method, path, body, {"Content-Type": kind})
            response = connection.getresponse()
            answer = response.read()
            return answer if response.status < 300 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def get(self, path):
        return self.ask("GET", path)

    def run_one(self, number):
        wanted = {"Image": "idle", "Cmd": ["/bin/sleep", "1000000"], "HostConfig": {"NetworkMode": "none"}}
        assert self.ask("POST", f"/containers/create?name=idle{number}", json.dumps(wanted)) is not None
        assert self.ask("POST", f"/containers/idle{number}/start") is not None

    def run(self, count):
        run_many(self.run_one, count)

    def restart(self):
        start = time.perf_counter()
        self.daemon.kill()
        self.daemon.wait()
        pathlib.Path(f"{self.folder}/docker.pid").unlink(missing_ok=True)
        self.start()
        return start

    def known(self):
        answer = self.get("/containers/json?all=1")
        items = json.loads(answer) if answer else []
        return len(items), sum(item["State"] == "running" for item in items)


def run_many(run, count):
    numbers = iter(range(count))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            run(number)

    workers = [threading.Thread(target=work) for _ in range(os.cpu_count())]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def until_known(engine, count, answering):
    """ms from SIGKILL until the new daemon knows count containers, so many of which answer."""
    start = engine.restart()
    end = start + 30
    while engine.known() != (count, answering):
        if time.perf_counter() > end:
            raise AssertionError(f"{engine.name}: {engine.known()} instead of {(count, answering)}")
        time.sleep(0.0005)
    return (time.perf_counter() - start) * 1000


def show(what, times):
    print(f"{what:66}{statistics.median(times):>10.1f} ({max(times):.1f})", flush=True)


def measure_hydra(rootfs, count, rounds):
    with Host("recovery") as host, Hydra(host, rootfs) as engine:
        began = time.perf_counter()
        engine.run(count)
        print(f"{count} containers made and started in {time.perf_counter() - began:.1f} s", flush=True)
        times, own = [], []
        for _ in range(rounds):
            times.append(until_known(engine, count, count))
            own.append(engine.own_time())
        show(f"hydrad, {count} containers, all answer", times)
        show(f"hydrad, {count} containers, by its own clock", own)
        shims = [host.inspect(f"idle{number}")["shimPid"] for number in range(min(STOPPED, count))]
        host.run("kill", "-STOP", *map(str, shims))
        times = [until_known(engine, count, count - len(shims)) for _ in range(rounds)]
        show(f"hydrad, {len(shims)} shims stopped, the other {count - len(shims)} answer", times)
        states = {host.inspect(f"idle{number}")["state"] for number in range(len(shims))}
        print(f"{'the stopped ones are':66}{', '.join(sorted(states)):>10}", flush=True)
        status = host.json("ledger", "monitor")["subjects"][0]["state"]
        print(f"{'the monitor is':66}{status:>10}", flush=True)


def measure_docker(rootfs, count, rounds):
    with tempfile.TemporaryDirectory(prefix="docker-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        try:
            with Docker(folder, rootfs) as engine:
                engine.run(count)
                times = [until_known(engine, count, count) for _ in range(rounds)]
                show(f"dockerd --live-restore, {count} containers, all listed as running", times)
        finally:
            subprocess.run(["umount", "-l", folder], check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--docker-count", type=int, default=50, help="0: without dockerd")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("median (max) in ms")
    with tempfile.TemporaryDirectory() as name:
        rootfs = make_rootfs(pathlib.Path(name))
        measure_hydra(rootfs, options.count, options.rounds)
        if options.docker_count > 0:
            measure_docker(rootfs, options.docker_count, options.rounds)


main()
