#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Moves a container that knows every byte of its memory from one network namespace to another, in three ways: by Hydra, by CRIU's
own lazy-pages daemon (in the best configuration known: sockets connected beforehand, in the container's network), and by a full
copy (dump, copy, restore).

downtime: between two looks at the clock inside the container. lazy phase: from there until the last page is in its place.
work: what the program asked for at once (a pass over all of its memory, or as many random pages as it has) is done.
bytes: what came out of the source host. stall: the longest that a client of redis waited for an answer over its one connection.
"""
import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault("HYDRA_TEST_DEADLINE", "300")
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/integration/checkpoint"))

from conftest import Container, Stdio, subreaper, wait_for  # noqa: E402
from migration import Listener, Migration, make_certificates  # noqa: E402
from test_network import Network, end_client, move_to, start_client, start_redis  # noqa: E402

CRIU = "/opt/criu/bin/criu"
ADDRESS = {"a": "10.77.0.11", "b": "10.77.0.12"}
WORK = {"idle": None, "sequential": "verify\n", "random": "random {pages}\n"}
ANSWERS = {"sequential": "VERIFY bad=0", "random": "RANDOM bad=0"}
BUDGET_MS = {64: 20, 512: 40, 2048: 140}


def in_namespace(name, function):
    """function's result, run in a network namespace; sockets stay in the one they were made in."""
    made = []

    def run():
        with open(f"/run/netns/{name}") as file:
            os.setns(file.fileno(), os.CLONE_NEWNET)
        made.append(function())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return made[0]


def connect(network):
    """A connected pair of TCP sockets, one on each host."""
    server = in_namespace(network.b, lambda: socket.create_server((ADDRESS["b"], 0)))
    here = in_namespace(network.a, lambda: socket.create_connection(server.getsockname()))
    there, _ = server.accept()
    server.close()
    return here, there


class Hosts:
    """Two hosts on a switch; rate: of the links, as tc writes it."""

    def __init__(self, folder, rate):
        self.network = Network()
        for host, address in (("a", self.network.a), ("b", self.network.b)):
            self.network.ip(address, "addr", "add", f"{ADDRESS[host]}/24", "dev", "br0")
        for port in ("p0", "p1") if rate else ():
            subprocess.run([*self.network.inside(self.network.switch), "tc", "qdisc", "add", "dev", port, "root", "tbf", "rate", rate,
                            "burst", "256k", "latency", "50ms"], check=True)
        for host in (self.network.a,) if rate else ():
            subprocess.run([*self.network.inside(host), "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "256k",
                            "latency", "50ms"], check=True)
        self.certificates = make_certificates(folder / "tls")

    def sent(self):
        text = subprocess.run([*self.network.inside(self.network.switch), "cat", "/proc/net/dev"], capture_output=True, text=True,
                              check=True).stdout
        return int(next(line for line in text.splitlines() if line.strip().startswith("p0:")).split()[1])


def start(folder, megabytes, kind, file_megabytes=0):
    one = Container(folder / "bundle", ["/bin/ticker", str(megabytes), "200", "3000", kind], "bench").start()
    one.stdio.stdout.line("START")
    if file_megabytes:
        pathlib.Path(f"/proc/{one.pid}/root/dev/file").write_bytes(os.urandom(file_megabytes << 20))
        time.sleep(3)  # a file that was just written is sent twice
    return one


def gap_of(line):
    _, began, ended = line.split()
    return int(began), int(ended)


class Unfinished(Exception):
    """The work was not done within the deadline."""


class Result(dict):
    def work(self, stdio, workload, resumed):
        """In ms from the first instruction."""
        if workload in ANSWERS:
            assert stdio.stdout.line(ANSWERS[workload][:6]).startswith(ANSWERS[workload])
            self["work"] = (time.time_ns() - resumed) / 1e6


def phases(move, began, ended):
    """What the standstill was spent on, in ms."""
    def at(worker, phase, key="time_ns"):
        return next(line[key] for line in worker.lines if line["phase"] == phase)

    sender, receiver = move.sender, move.receiver
    times = [("last tick until the freeze is asked for", began), ("freeze and images by CRIU", at(sender, "committed", "frozen_ns")),
             ("rest of the layer, images to the target", at(sender, "committed", "parked_ns")),
             ("target reads pagemaps", at(sender, "committed", "sent_ns")), ("restore up to its vote", at(receiver, "restore")),
             ("vote, fencing record of the source", at(receiver, "prepared")),
             ("GO, fencing record of the target", at(sender, "committed")),
             ("resume until CRIU says so", at(receiver, "committed")), ("first tick before or after that", at(receiver, "paging"))]
    ends = [time for _, time in times[1:]] + [ended]
    return {what: (end - start) / 1e6 for (what, start), end in zip(times, ends)}


def move_with_hydra(hosts, folder, one, workload, pages, options=()):
    listener = in_namespace(hosts.network.b, lambda: Listener(ADDRESS["b"]))
    move = Migration(one, folder, listener=listener, source_prefix=hosts.network.inside(hosts.network.a),
                     source_args=[*hosts.certificates[0], *options], target_args=hosts.certificates[1])
    if WORK[workload]:
        move.stdio.stdin.write(WORK[workload].format(pages=pages))
    began, ended = gap_of(move.stdio.stdout.line("GAP"))
    result = Result(downtime=(ended - began) / 1e6)
    result.work(move.stdio, workload, ended)
    pid = move.expect_moved()
    result["phases"] = phases(move, began, ended)
    done = next(line for line in move.receiver.lines if line["phase"] == "done")
    result["lazy"] = (done["time_ns"] - ended) / 1e6
    result["faults"] = max(line.get("faults", 0) for line in move.receiver.lines)
    check(move.stdio)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    move.finish()
    listener.close()
    return result


def check(stdio):
    assert stdio.ask("verify", "VERIFY").startswith("VERIFY bad=0")


class Criu:
    """One dump, restore and perhaps page service by CRIU itself."""

    def __init__(self, hosts, folder, one, is_lazy):
        self.hosts, self.one, self.is_lazy = hosts, one, is_lazy
        self.source, self.target = folder / "a", folder / "b"
        for path in (self.source, self.target):
            path.mkdir()
        self.stdio = Stdio()
        self.env = {**os.environ, "CRIU_FAULT": "130"}
        self.common = ["--manage-cgroups=ignore", "-v1"]

    def start(self, command, folder, name, fds=(), prefix=()):
        return subprocess.Popen([*prefix, CRIU, *command, "-D", str(folder), "-o", f"{name}.log", *self.common], pass_fds=fds, env=self.env,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self, process, what):
        _, error = process.communicate()
        assert process.returncode == 0, f"{what}: {error}"

    def dump(self, *options, fds=()):
        inside = ["nsenter", f"--net=/proc/{self.one.pid}/ns/net", "--"]
        return self.start(["dump", "-t", str(self.one.pid), "--network-lock", "skip", *options], self.source, "dump", fds, inside)

    def restore(self):
        keys = [self.one.stdio.stdin.key, self.one.stdio.stdout.key, self.one.stdio.stderr.key]
        fds = [self.stdio.stdin.read_fd, self.stdio.stdout.write_fd, self.stdio.stderr.write_fd]
        inherit = [word for key, fd in zip(keys, fds) for word in ("--inherit-fd", f"fd[{fd}]:{key}")]
        # a network namespace of its own, as the container's
        return self.start(["restore", "-d", "--root", str(self.one.rootfs), "--pidfile", str(self.target / "pid"), *inherit,
                           *(["--lazy-pages"] if self.is_lazy else [])], self.target, "restore", fds, ["unshare", "--net", "--"])

    def copy(self, here, there):
        """Over a connection, as fast as it goes."""
        names = [path.name for path in self.source.iterdir() if path.suffix == ".img"]

        def receive():
            with there.makefile("rb", 1 << 20) as stream:
                for name in names:
                    left = int(stream.readline())
                    with open(self.target / name, "wb", 0) as file:
                        while left > 0:
                            left -= file.write(stream.read(min(left, 1 << 20)))

        thread = threading.Thread(target=receive)
        thread.start()
        for name in names:
            with open(self.source / name, "rb") as file:
                here.sendall(b"%d\n" % os.fstat(file.fileno()).st_size)
                here.sendfile(file)
        thread.join()

    def abandon(self):
        pid = int((self.target / "pid").read_text())
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        self.stdio.close()

    def end(self, result):
        check(self.stdio)
        pid = int((self.target / "pid").read_text())
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        self.stdio.close()
        return result


def move_with_criu(hosts, folder, one, workload, pages):
    job = Criu(hosts, folder, one, True)
    pages_here, pages_there = connect(hosts.network)
    here, there = connect(hosts.network)
    ready, ready_there = os.pipe()
    if WORK[workload]:
        job.stdio.stdin.write(WORK[workload].format(pages=pages))
    dump = job.dump("--lazy-pages", "--ps-socket", str(pages_here.fileno()), "--status-fd", str(ready_there),
                    fds=(pages_here.fileno(), ready_there))
    os.close(ready_there)
    assert os.read(ready, 1), dump.stderr.read()
    job.copy(here, there)
    lazy = job.start(["lazy-pages", "--page-server", "--ps-socket", str(pages_there.fileno())], job.target, "lazy", (pages_there.fileno(),))
    for each in (pages_here, pages_there, here, there):
        each.close()
    wait_for((job.target / "lazy-pages.socket").exists, "CRIU's daemon")
    job.finish(job.restore(), "restore")
    began, ended = gap_of(job.stdio.stdout.line("GAP"))
    result = Result(downtime=(ended - began) / 1e6)
    watcher = threading.Thread(target=lambda: (lazy.wait(), result.update(lazy=(time.time_ns() - ended) / 1e6)), daemon=True)
    watcher.start()
    try:
        result.work(job.stdio, workload, ended)
    except AssertionError as error:
        lazy.kill()
        dump.kill()
        watcher.join()
        os.close(ready)
        job.abandon()
        raise Unfinished from error
    watcher.join()
    job.finish(lazy, "lazy-pages")
    job.finish(dump, "dump")
    os.close(ready)
    return job.end(result)


def move_by_copy(hosts, folder, one, workload, pages):
    job = Criu(hosts, folder, one, False)
    here, there = connect(hosts.network)
    if WORK[workload]:
        job.stdio.stdin.write(WORK[workload].format(pages=pages))
    job.finish(job.dump(), "dump")
    job.copy(here, there)
    here.close()
    there.close()
    job.finish(job.restore(), "restore")
    began, ended = gap_of(job.stdio.stdout.line("GAP"))
    result = Result(downtime=(ended - began) / 1e6, lazy=0.0)
    result.work(job.stdio, workload, ended)
    return job.end(result)


WAYS = {"hydra": move_with_hydra, "criu": move_with_criu, "copy": move_by_copy}


def measure(hosts, way, megabytes, workload, file_megabytes=0):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = pathlib.Path(name)
        one = start(folder, megabytes, "hard", file_megabytes)
        before = hosts.sent()
        try:
            result = WAYS[way](hosts, folder, one, workload, megabytes * 256)
        finally:
            one.remove()
        result["mib"] = (hosts.sent() - before) / 2**20
        return result


def stall(count, megabytes):
    """Of a client of redis that has so much, in ms."""
    values = []
    for _ in range(count):
        with tempfile.TemporaryDirectory(dir="/tmp") as name:
            network, made = Network(), []

            def make(*arguments, **options):
                made.append(Container(pathlib.Path(name) / "bundle", arguments, "redis", **options))
                return made[-1].start()

            one = start_redis(make, network, pathlib.Path(name))
            fill(network, megabytes)
            client = start_client(network)
            moves = []

            def migrate(container, **options):
                folder = pathlib.Path(name) / "move"
                folder.mkdir()
                moves.append(Migration(container, folder, **options))
                return moves[-1]

            pid = move_to(migrate, network, one, network.a, network.b, network.cb).expect_moved()
            values.append(end_client(client)["longest_ms"])
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            moves[0].finish()
            made[0].remove()
            network.close()
    return values


def fill(network, megabytes):
    client = in_namespace(network.client, lambda: socket.create_connection(("10.77.0.9", 6379)))
    with client, client.makefile("rb") as answers:
        for number in range(megabytes):
            value = os.urandom(1 << 20)
            client.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nk%03d\r\n$%d\r\n%s\r\n" % (number, len(value), value))
            assert answers.readline() == b"+OK\r\n"


def median(results, key):
    values = [one[key] for one in results if key in one]
    return statistics.median(values) if values else None


def show(value):
    return "–" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def summary(link, megabytes, workload, results):
    return {"link": link, "MiB": megabytes, "workload": workload,
            **{way: {key: median(several, key) for key in ("downtime", "lazy", "work", "mib", "faults")} for way, several in results.items()}}


def print_row(row):
    for way in (way for way in WAYS if way in row):
        cells = " | ".join(show(row[way][key]) for key in ("downtime", "lazy", "work", "mib"))
        print(f"| {row['link']} | {row['MiB']} | {row['workload']} | {way} | {cells} |", flush=True)


def load(path):
    rows = json.loads(pathlib.Path(path).read_text())["rows"] if path and os.path.exists(path) else []
    return {(row["link"], row["MiB"], row["workload"]): row for row in rows}


def save(path, rows, stalls):
    if path:
        pathlib.Path(path).write_text(json.dumps({"rows": rows, "stalls": stalls}, indent=1))


def attempt(hosts, way, megabytes, workload):
    try:
        return measure(hosts, way, megabytes, workload)
    except Unfinished:
        print(f"{way}, {megabytes} MiB, {workload}: not done within {os.environ['HYDRA_TEST_DEADLINE']} s", flush=True)
        return {}


def plot(rows, stalls, path):
    """Over the size, both logarithmic; one line for each way."""
    panels = [("downtime", "downtime, idle program", "idle", "ms"), ("stall", "longest stall of a redis client", None, "ms"),
              ("lazy", "lazy phase, random access", "random", "ms"), ("mib", "bytes out of the source, idle program", "idle", "MiB")]
    script = [f'set terminal svg size 900,800 dynamic background "white"; set output "{path}"',
              "set multiplot layout 2,2; set logscale xy; set grid; set key left top; set xlabel 'MiB'"]
    for key, title, workload, unit in panels:
        lines = []
        for way in WAYS:
            points = [(row["MiB"], row[way][key]) for row in rows
                      if way in row and row["link"] == "memory" and row["workload"] == workload and row[way].get(key)]
            if key == "stall" and way == "hydra":
                points = [(size, statistics.median(values)) for size, values in stalls.items()]
            if points:
                script.append(f"${key}_{way} << END\n" + "".join(f"{size} {value}\n" for size, value in sorted(points)) + "END")
                lines.append(f'${key}_{way} using 1:2 with linespoints title "{way}"')
        if lines:
            script.append(f"set title '{title}'; set ylabel '{unit}'; plot {', '.join(lines)}")
    subprocess.run(["gnuplot"], input="\n".join(script) + "\nunset multiplot\n", text=True, check=True)


def judge(rows, stalls):
    def say(what, value, limit, is_good):
        print(f"{'kept  ' if is_good else 'MISSED'} {what}: {value} ({limit})")

    for row in rows:
        size, gap = row["MiB"], row.get("hydra", {}).get("downtime")
        if row["link"] == "memory" and row["workload"] == "idle" and size in BUDGET_MS:
            say(f"downtime at {size} MiB", f"{gap:.1f} ms", f"budget {BUDGET_MS[size]} ms", gap <= BUDGET_MS[size])
        if row["link"] == "memory" and row["workload"] == "random" and size == 512 and "criu" in row:
            ratio = row["criu"]["lazy"] / row["hydra"]["lazy"]
            say("lazy phase at 512 MiB, random, against CRIU's", f"{ratio:.1f} x shorter", "budget 10 x", ratio >= 10)
        if row["link"] == "1gbit" and row["workload"] == "idle" and size >= 512:
            share = size * 2**23 / (row["hydra"]["lazy"] / 1e3) / 1e9
            say(f"share of 1 Gbit/s at {size} MiB", f"{share:.2f}", "budget 0.9", share >= 0.9)
    middle = statistics.median(stalls[64])
    say("client stall at 64 MiB", f"{middle:.0f} ms (all: {', '.join(show(one) for one in stalls[64])})", "budget 40 ms", middle <= 40)


def plan(options):
    """(link, MiB, workload, ways, repetitions)"""
    every = tuple(WAYS)
    if options.quick:
        return [("memory", 2, "idle", every, 1), ("memory", 64, "idle", every, 1), ("memory", 64, "random", ("hydra", "criu"), 1),
                ("1gbit", 64, "sequential", ("hydra",), 1)]
    if not options.full:
        return [("memory", 2, "idle", every, 3), ("memory", 64, "idle", every, 5), ("memory", 512, "idle", every, 3),
                ("memory", 64, "random", ("hydra", "criu"), 3), ("memory", 512, "random", ("hydra", "criu"), 1),
                ("memory", 64, "sequential", ("hydra", "criu"), 3), ("1gbit", 64, "idle", every, 1), ("1gbit", 512, "idle", ("hydra", "criu"), 1)]
    sizes = (2, 64, 512, 2048, 4096)
    return ([("memory", size, "idle", every, 5 if size <= 512 else 3) for size in sizes] +
            [("memory", size, work, ("hydra", "criu"), 3 if size <= 512 else 1) for size in sizes[1:4] for work in ("random", "sequential")] +
            [("1gbit", size, work, every if work == "idle" else ("hydra", "criu"), 1) for size in sizes[:4] for work in WORK])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="2 MiB to 4 GiB and everything at 1 Gbit/s too; an hour")
    parser.add_argument("--quick", action="store_true", help="once each, small; to see that it works")
    parser.add_argument("--plot", default="/tmp/migrate.svg", help="where the plot goes")
    parser.add_argument("--json", help="what was measured goes there after each row; what is there is not measured again")
    parser.add_argument("--only", help="WAY,MIB,WORKLOAD,LINK: one measurement, without a table")
    parser.add_argument("--file", type=int, default=0, metavar="MIB", help="with --only: there is also a file of this size in its /dev")
    parser.add_argument("--stalls", metavar="MIB,COUNT", help="only the longest stalls of a client")
    options = parser.parse_args()
    subreaper()
    pathlib.Path("/proc/sys/fs/pipe-max-size").write_text(str(1 << 30))
    subprocess.run([CRIU, "check"], capture_output=True, check=False)  # what it learns about the kernel, it keeps in /run
    if options.stalls:
        megabytes, count = map(int, options.stalls.split(","))
        print(", ".join(show(one) for one in stall(count, megabytes)))
        return
    if options.only:
        way, size, workload, link = options.only.split(",")
        with tempfile.TemporaryDirectory() as name:
            hosts = Hosts(pathlib.Path(name), None if link == "memory" else link)
            print(json.dumps(measure(hosts, way, int(size), workload, options.file)))
            hosts.network.close()
        return
    rows, hosts, link, earlier = [], None, None, load(options.json)
    print("| link | MiB | program | way | downtime ms | lazy phase ms | work ms | MiB sent |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for number, (wanted, size, workload, ways, count) in enumerate(plan(options)):
            if known := earlier.get((wanted, size, workload)):
                rows.append(known)
                print_row(known)
                continue
            if wanted != link:
                if hosts is not None:
                    hosts.network.close()
                place = pathlib.Path(name) / str(number)
                place.mkdir()
                hosts, link = Hosts(place, None if wanted == "memory" else wanted), wanted
            results = {way: [] for way in ways}
            for _ in range(count):  # side by side, so that a noisy neighbour disturbs all of them
                for way in ways:
                    results[way].append(attempt(hosts, way, size, workload))
            rows.append(summary(link, size, workload, results))
            print_row(rows[-1])
            save(options.json, rows, {})
        if hosts is not None:
            hosts.network.close()
        sizes, count = ((64,), 1) if options.quick else ((2, 64, 256), 5 if options.full else 3)
        stalls = {size: stall(count, size) for size in sizes}
        plot(rows, stalls, pathlib.Path(options.plot))
    for size, values in stalls.items():
        print(f"longest stall of a client, redis with {size} MiB, ms: {', '.join(show(one) for one in values)}")
    print()
    judge(rows, stalls)
    save(options.json, rows, stalls)


if __name__ == "__main__":
    if shutil.which("gnuplot") is None:
        sys.exit("bench migrate: gnuplot is missing")
    main()
