# SPDX-License-Identifier: Apache-2.0
"""Published ports follow their container."""
import json
import subprocess
import sys

import pytest

from cluster import NETWORK, names, run, wait_for

FETCH = "import socket, sys; s=socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print(s.makefile().readline(), end='')"
SERVE = 'while true; do echo "$(hostname) answers" | nc -l -p 80; done'


@pytest.fixture
def published(cluster):
    """The cluster, whose network publishes ports."""
    network = json.loads(json.dumps(NETWORK))
    network["plugins"].append({"type": "portmap", "capabilities": {"portMappings": True}})
    for host in (cluster.a, cluster.b):
        host.path("/run/cni.d/lan.conflist").write_text(json.dumps(network))
        host.run("sysctl", "-w", "net.ipv4.ip_forward=1")
    return cluster


def answer(cluster, host, port=8080):
    """What the client hears at a port of the host."""
    command = cluster.client.inside(sys.executable, "-c", FETCH, host.address.split(":")[0], str(port))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def rules(host):
    return [line for line in host.run("iptables-save", "-t", "nat").stdout.splitlines() if "8080" in line]


def serve(host, rootfs, *options):
    run(host, rootfs, "web", "sh", "-c", SERVE, options=("--network", "lan", "--publish", "8080:80", *options))


def test_a_port_follows_and_is_gone_where_it_was(published, rootfs):
    serve(published.a, rootfs, "-p", "127.0.0.1:8081:80/tcp")
    ports = published.a.inspect("web")["network"]["ports"]
    assert [(port["hostIp"], port["hostPort"], port["containerPort"], port["protocol"]) for port in ports] == [
        ("", 8080, 80, "tcp"), ("127.0.0.1", 8081, 80, "tcp")]
    for source in (published.a, published.b):
        target = published.other(source)
        wait_for(lambda: answer(published, source) == "web answers", "an answer")  # noqa: B023
        assert rules(source) and not rules(target) and answer(published, target) == ""
        published.migrate("web", source)
        wait_for(lambda: answer(published, target) == "web answers", "an answer of the new host")  # noqa: B023
        assert rules(target) and not rules(source) and answer(published, source) == ""
    published.a.ctl("rm", "-f", "web")
    assert not rules(published.a) and not rules(published.b)


def test_a_migration_that_fails_leaves_no_rules(published, rootfs):
    serve(published.a, rootfs)
    published.b.order_fault("receive.prepared")
    assert published.a.ctl("--plain", "migrate", "web", published.b.address, check=False).returncode == 125
    wait_for(lambda: not rules(published.b) and names(published.b) == set(), "the target to be empty")
    wait_for(lambda: answer(published, published.a) == "web answers", "an answer")


def test_a_port_that_is_taken_is_refused(published, rootfs):
    serve(published.a, rootfs)
    run(published.b, rootfs, "other", "sleep", "1000", options=("--network", "lan", "--publish", "8080:81"))
    done = published.a.ctl("--plain", "migrate", "web", published.b.address, check=False)
    assert done.returncode == 125 and "port 8080/tcp of this host is published by container 'other' already" in done.stderr
    done = published.a.ctl("run", "-d", "--rootfs", rootfs, "--name", "more", "--network", "lan", "-p", "10.88.0.11:8080:1", "true", check=False)
    assert done.returncode == 125 and "published by container 'web' already" in done.stderr
    published.a.ctl("run", "-d", "--rootfs", rootfs, "--name", "udp", "--network", "lan", "-p", "8080:1/udp", "sleep", "1000")
    assert names(published.a) == {"web", "udp"}


def test_what_can_not_be_published_is_refused(cluster, rootfs):
    for options, complaint in ((("--publish", "80"), "expected [IP:]HOSTPORT:PORT"), (("--publish", "x:1:2"), "expected [IP:]"),
                               (("--publish", "0:1"), "expected [IP:]"), (("--publish", "1:2/icmp"), "expected [IP:]")):
        done = cluster.a.ctl("run", "-d", "--rootfs", rootfs, "--network", "lan", *options, "true", check=False)
        assert done.returncode == 125 and complaint in done.stderr
    done = cluster.a.ctl("run", "-d", "--rootfs", rootfs, "--network", "lan", "--publish", "1:2", "true", check=False)
    assert done.returncode == 125 and "portmap" in done.stderr
    done = cluster.a.ctl("run", "-d", "--rootfs", rootfs, "--publish", "1:2", "true", check=False)
    assert done.returncode == 125 and "needs --network" in done.stderr
    assert names(cluster.a) == set()
