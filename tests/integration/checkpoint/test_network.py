# SPDX-License-Identifier: Apache-2.0
"""redis moves between two hosts and back while a client talks to it over one TCP connection."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from conftest import PAGER, libc, make_rootfs, run, wait_for
from migration import Listener, make_certificates
from test_migrate import faults, migrate  # noqa: F401 (a fixture)

CONTAINER_IP, CONTAINER_MAC, PORT = "10.77.0.9", "02:00:00:00:77:09", 6379
PIDFD_GETFD, TCP_REPAIR, ESTABLISHED = 438, 19, b"\1"

CLIENT = r"""
import json, select, socket, sys, time
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
expected, stalls, began = 0, [], None
print("connected", flush=True)
while expected < 50 or not select.select([sys.stdin], [], [], 0)[0]:
    start = time.monotonic()
    sock.sendall(b"INCR counter\r\n")
    answer = b""
    while not answer.endswith(b"\r\n"):
        part = sock.recv(100)
        if not part:
            raise SystemExit("connection closed")
        answer += part
    expected += 1
    if answer != b":%d\r\n" % expected:
        raise SystemExit(f"{answer} instead of {expected}")
    stalls.append(time.monotonic() - start)
print(json.dumps({"count": expected, "longest_ms": 1000 * max(stalls)}))
"""


class Network:
    """A switch, two hosts with a bridge each, a client; the container's namespace on both hosts, plugged in on one."""

    def __init__(self):
        self.names = [f"{name}{os.getpid()}" for name in ("sw", "ha", "hb", "cl", "ca", "cb")]
        self.switch, self.a, self.b, self.client, self.ca, self.cb = self.names
        for name in self.names:
            run(["ip", "netns", "add", name])
            self.ip(name, "link", "set", "lo", "up")
        for name in (self.switch, self.a, self.b):
            self.ip(name, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
            self.ip(name, "link", "set", "br0", "up")
        for number, name in enumerate((self.a, self.b, self.client)):
            self.ip(self.switch, "link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            self.ip(self.switch, "link", "set", f"p{number}", "master", "br0", "up")
            self.ip(name, "link", "set", "eth0", "up")
        self.ip(self.a, "link", "set", "eth0", "master", "br0")
        self.ip(self.b, "link", "set", "eth0", "master", "br0")
        self.ip(self.client, "addr", "add", "10.77.0.1/24", "dev", "eth0")
        for inside, host in ((self.ca, self.a), (self.cb, self.b)):
            self.ip(inside, "link", "add", "eth0", "address", CONTAINER_MAC, "type", "veth", "peer", "name", "vc", "netns", host)
            self.ip(inside, "addr", "add", f"{CONTAINER_IP}/24", "dev", "eth0")
            self.ip(inside, "link", "set", "eth0", "up")
        self.ip(self.a, "link", "set", "vc", "master", "br0", "up")

    @staticmethod
    def ip(namespace, *arguments):
        run(["ip", "-n", namespace, *arguments])

    @staticmethod
    def inside(namespace):
        return ["nsenter", f"--net=/run/netns/{namespace}", "--"]

    def close(self):
        for name in self.names:
            run(["ip", "netns", "del", name], check=False)
        run(["umount", "/run/netns"], check=False)


@pytest.fixture
def network():
    one = Network()
    yield one
    one.close()


def redis_rootfs(path):
    root = make_rootfs(path)
    files = ["/usr/bin/redis-server"] + [word for word in run(["ldd", "/usr/bin/redis-server"]).stdout.split()
                                         if word.startswith("/")]
    for name in files:
        (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(name), root / name[1:])
    return root


def start_redis(container, network, tmp_path):
    one = container("/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--appendonly", "no",
                    "--dir", "/tmp", rootfs=redis_rootfs(tmp_path / "redis"), net_namespace=f"/run/netns/{network.ca}")
    while "Ready to accept" not in one.stdio.stdout.line():
        pass
    return one


def start_client(network):
    client = subprocess.Popen([*network.inside(network.client), sys.executable, "-c", CLIENT, CONTAINER_IP, str(PORT)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "connected\n"
    return client


def end_client(client):
    out, error = client.communicate("stop\n", timeout=60)
    assert client.returncode == 0, error
    return json.loads(out)


def move_to(migrate, network, one, source, target, target_inside, **options):
    veth = ["--veth", "vc", "--bridge", "br0"]
    return migrate(one, source_args=[*veth, "--mac", CONTAINER_MAC], source_prefix=network.inside(source), target_prefix=network.inside(target),
                   restore_prefix=network.inside(target), restore_args=["--netns", f"/run/netns/{target_inside}", *veth], **options)


def test_redis_goes_and_comes_back_and_its_client_never_notices(container, migrate, network, tmp_path):
    one = start_redis(container, network, tmp_path)
    client = start_client(network)
    places = [(network.a, network.ca), (network.b, network.cb)]
    for turn in range(4):
        here, there = places[turn % 2], places[(turn + 1) % 2]
        move = move_to(migrate, network, one, here[0], there[0], there[1])
        one.pid = move.expect_moved()
    seen = end_client(client)
    assert seen["count"] > 100
    print(f"longest stall of the client: {seen['longest_ms']:.1f} ms of {seen['count']} requests")


@pytest.mark.parametrize("point", ["receive__images", "receive__prepared"])
def test_a_failed_migration_keeps_the_connection(container, migrate, network, tmp_path, point):
    one = start_redis(container, network, tmp_path)
    client = start_client(network)
    move = move_to(migrate, network, one, network.a, network.b, network.cb,
                   target_env=faults(tmp_path / "faults", **{point: "kill"}))
    assert move.sender.wait() == 1
    seen = end_client(client)
    assert seen["count"] > 0
    move.restore.communicate(timeout=60)


def test_recover_after_a_killed_source_worker(container, migrate, network, tmp_path):
    one = start_redis(container, network, tmp_path)
    move = move_to(migrate, network, one, network.a, network.b, network.cb,
                   source_env=faults(tmp_path / "faults", send__prepared="kill"))
    assert move.sender.wait() == -9
    run([*network.inside(network.a), PAGER, "recover", "--pid", str(one.pid), "--veth", "vc", "--bridge", "br0"])
    client = start_client(network)
    assert end_client(client)["count"] > 0
    move.restore.communicate(timeout=60)


def state_of(pid):
    """As ps tells it: "t" is held by a tracer, "T" stopped by a signal."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def stopped_guard():
    words = b"hydra-checkpoint\0guard\0"
    return next((int(pid) for pid in run(["pgrep", "-x", "hydra-checkpoin"], check=False).stdout.split()
                 if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().startswith(words) and state_of(pid) == "T"), None)


def is_in_repair(pid):
    """Of any of its established TCP connections: whether it is as CRIU left it."""
    pidfd = os.pidfd_open(pid)
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
            found.append(socket.socket(fileno=libc.syscall(PIDFD_GETFD, pidfd, int(name), 0)))
    os.close(pidfd)
    connected = [one for one in found if one.family == socket.AF_INET and one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == ESTABLISHED]
    states = [one.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR) for one in connected]
    for one in found:
        one.close()
    assert states, "the client's connection"
    return any(states)


def test_connections_are_given_back_before_the_tasks_run(container, migrate, network, tmp_path):
    """The guard gives them back before CRIU lets go of the tasks: one that ran before that would find its socket unusable."""
    one = start_redis(container, network, tmp_path)
    client = start_client(network)
    move = move_to(migrate, network, one, network.a, network.b, network.cb,
                   source_env=faults(tmp_path / "faults", send__prepared="kill", guard__idle="stop"))
    assert move.sender.wait() == -9
    guard = wait_for(stopped_guard, "the guard to stop")
    assert state_of(one.pid) == "t" and is_in_repair(one.pid)
    os.kill(guard, signal.SIGCONT)
    wait_for(lambda: state_of(one.pid) != "t", "the task to run")
    assert not is_in_repair(one.pid)
    run([*network.inside(network.a), PAGER, "recover", "--pid", str(one.pid), "--veth", "vc", "--bridge", "br0"])
    assert end_client(client)["count"] > 0
    move.restore.communicate(timeout=60)


class ListenerThere(Listener):
    """A listener in another network namespace."""

    def __init__(self, namespace, address):
        made = []

        def listen():
            with open(f"/run/netns/{namespace}") as file:
                os.setns(file.fileno(), os.CLONE_NEWNET)
            made.append(Listener(address))

        thread = threading.Thread(target=listen)
        thread.start()
        thread.join()
        self.socket, self.address = made[0].socket, made[0].address


def test_a_cut_network_is_waited_for(container, migrate, network, tmp_path):
    """Nothing says that the other host is not reachable any more: it is just silent, for longer than patience lasts."""
    for host, address in ((network.a, "10.77.0.11/24"), (network.b, "10.77.0.12/24")):
        network.ip(host, "addr", "add", address, "dev", "br0")
    certificates = make_certificates(tmp_path / "tls")
    listener = ListenerThere(network.b, "10.77.0.12")
    one = container("/bin/ticker", "64")
    one.stdio.stdout.line("START")
    move = migrate(one, listener=listener, source_prefix=network.inside(network.a), source_args=[*certificates[0], "--patience", "1"],
                   target_args=[*certificates[1], "--patience", "1"],
                   target_env=faults(tmp_path / "faults", receive__committed="stop"))
    wait_for(lambda: (tmp_path / "faults" / "receive.committed.arrived").exists(), "the commit")
    network.ip(network.switch, "link", "set", "p1", "down")
    move.receiver.kill(signal.SIGCONT)
    move.stdio.stdin.write("verify\n")
    move.receiver.phase("source-lost")
    move.sender.phase("reconnecting")
    network.ip(network.switch, "link", "set", "p1", "up")
    assert move.stdio.stdout.line("VERIFY") == "VERIFY bad=0 pages=16384"
    move.expect_moved()
    assert move.worker(2).wait() == 0
    listener.close()
