# SPDX-License-Identifier: Apache-2.0
"""hydrad and hydra-setup killed at any moment: nothing stops, nothing is lost, half-done things are finished or undone."""
import json
import os
import random
import signal
import threading

import pytest

from hosts import Host, program, wait_for

KILLS = int(os.environ.get("HYDRA_TEST_KILLS", "200"))


def test_killing_the_daemon_stops_nothing(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sh", "-c", "i=0; while true; do i=$((i+1)); echo $i; done")
    before = host.inspect("web")["pid"]
    for _ in range(5):
        pid = host.pids("hydrad")
        host.kill("hydrad")
        wait_for(lambda: host.pids("hydrad") not in ([], pid) and host.answers("hydrad.sock"), "the next daemon")
    assert host.inspect("web")["pid"] == before
    host.ctl("stop", "-t", "0", "web")
    lines = host.ctl("logs", "web").stdout.split()
    first = int(lines[0])
    assert [int(line) for line in lines[:-1]] == list(range(first, first + len(lines) - 1))


def test_the_daemon_knows_everything_again(daemon_host, rootfs):
    host = daemon_host
    for number in range(10):
        host.ctl("run", "-d", "--name", f"c{number}", "--rootfs", rootfs, "sleep", "1000")
    pid = host.json("daemon")["pid"]
    host.kill("hydrad")
    info = wait_for(lambda: host.answers("hydrad.sock") and (seen := host.json("daemon"))["pid"] != pid and
                    seen["reachable"] == 10 and seen, "the next daemon to know all")
    assert info["containers"] == 10 and info["recoveryUs"] > 0


def test_a_hung_shim_delays_nobody_and_is_unknown(daemon_host, rootfs):
    host = daemon_host
    for name in ("good", "hung"):
        host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, "sleep", "1000")
    shim = host.inspect("hung")["shimPid"]
    host.run("kill", "-STOP", str(shim))
    pid = host.json("daemon")["pid"]
    host.kill("hydrad")
    wait_for(lambda: host.answers("hydrad.sock") and (seen := host.json("daemon"))["pid"] != pid and
             seen["reachable"] == 1, "the good one")
    assert host.inspect("hung")["state"] == "unknown" and host.inspect("good")["state"] == "running"
    host.run("kill", "-CONT", str(shim))
    wait_for(lambda: host.json("daemon")["reachable"] == 2, "the hung one")


@pytest.mark.parametrize("point", ["setup.intent", "setup.network", "setup.bundle", "setup.launched", "setup.created"])
def test_a_creation_that_died_is_undone_by_the_next_daemon(daemon_host, rootfs, point):
    host = daemon_host
    host.order_fault(point)
    done = host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000", check=False)
    assert done.returncode == 125 and host.has_arrived(point)
    host.kill("hydrad")
    wait_for(lambda: host.answers("hydrad.sock"), "the next daemon")
    if point in ("setup.launched", "setup.created"):  # its shim may live: then the container is there, and can be removed
        host.ctl("rm", "-f", "web", check=False)
    host.assert_clean()
    host.ctl("run", "--rm", "--name", "web", "--rootfs", rootfs, "true")


def test_a_creation_that_is_finished_while_the_next_daemon_looks_at_it_is_kept(daemon_host, rootfs):
    """What it has read is old then: neither its worker nor its shim is there any more, because all is done."""
    host = daemon_host
    host.order_fault("setup.intent", "stop")
    asking = host.popen([program("hydractl"), "run", "-d", "--name", "web", "--rootfs", rootfs, "sh", "-c", "exit 7"])
    wait_for(lambda: host.has_arrived("setup.intent"), "the creation")
    host.order_fault("hydrad.record-read", "stop")
    host.kill("hydrad")
    asking.wait()
    wait_for(lambda: host.has_arrived("hydrad.record-read"), "the next daemon")
    host.kill("hydra-setup", signal.SIGCONT)
    wait_for(lambda: not host.pids("hydra-setup") and host.inspect("web")["state"] == "stopped" and not host.pids("hydra-shim"), "its end")
    host.kill("hydrad", signal.SIGCONT)
    wait_for(lambda: host.answers("hydrad.sock") and not host.pids("hydra-setup"), "the daemon")
    assert [item["id"] for item in host.json("ps", "-a")] == ["web"]
    assert host.ctl("wait", "web", check=False).stdout.strip() == "7"
    host.ctl("rm", "web")
    host.assert_clean()


@pytest.mark.parametrize("point", ["setup.remove.intent", "setup.remove.runtime", "setup.remove.network", "setup.remove.bundle"])
def test_a_removal_that_died_is_finished_by_the_daemon(daemon_host, rootfs, point):
    host = daemon_host
    host.ctl("run", "--name", "web", "--rootfs", rootfs, "true")
    wait_for(lambda: host.inspect("web")["state"] == "stopped", "the end")
    host.order_fault(point)
    assert host.ctl("rm", "web", check=False).returncode == 125
    assert host.has_arrived(point)
    host.assert_clean()


@pytest.mark.parametrize("point", ["hydrad.listening", "hydrad.recovered"])
def test_a_daemon_that_dies_while_starting_is_started_again(host, rootfs, point):
    host.start("hydra-monitor")
    wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    host.order_fault(point)
    host.kill("hydrad")
    wait_for(lambda: host.has_arrived(point), "the fault")
    wait_for(lambda: host.answers("hydrad.sock") and host.json("daemon")["reachable"] == 1, "the daemon after it")


def test_exit_statuses_are_right_when_asked_after_a_crash(daemon_host, rootfs):
    host = daemon_host
    go = host.path("/var/lib/hydra/go")
    for code in range(8):
        host.ctl("run", "-d", "--name", f"c{code}", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sh", "-c",
                 f"while [ ! -e /data/go ]; do sleep 0.05; done; exit {code}")
    host.kill("hydra-monitor")
    host.kill("hydrad")
    go.touch()
    for code in range(8):
        wait_for(lambda: host.inspect(f"c{code}")["state"] == "stopped", "the end")
    go.unlink()
    host.start("hydra-monitor")
    assert [host.inspect(f"c{code}")["exit"]["exitCode"] for code in range(8)] == list(range(8))


def churn(host, rootfs, name, stop, results):
    """Starts and stops containers; a request that the daemon's death interrupts may fail, its container may not be lost."""
    number = 0
    while not stop.is_set():
        number += 1
        code = number % 100
        container = f"{name}-{number}"
        created = host.ctl("run", "-d", "--name", container, "--rootfs", rootfs, "sh", "-c", f"echo {container}; exit {code}",
                           check=False)
        known = wait_for(lambda: host.ctl("wait", container, check=False), "an answer")
        results.append((container, code, created.returncode, known.returncode, known.stdout.strip(), created.stderr + known.stderr))
        if known.returncode == 0:
            wait_for(lambda: host.ctl("rm", "-f", container, check=False).returncode == 0 or
                     "no container" in host.ctl("rm", container, check=False).stderr, "the removal")


def view_of(host, name):
    """None: there is no such container, any more."""
    done = host.ctl("--format", "json", "inspect", name, check=False)
    assert done.returncode == 0 or "no container" in done.stderr, done.stderr
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_killed_at_random_moments_under_load_nothing_is_lost(daemon_host, rootfs):
    host = daemon_host
    random.seed(4711)
    host.ctl("run", "-d", "--name", "steady", "--rootfs", rootfs, "sleep", "100000")
    steady = host.inspect("steady")["pid"]
    stop, results = threading.Event(), []
    workers = [threading.Thread(target=churn, args=(host, rootfs, f"w{n}", stop, results)) for n in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(KILLS):
            threading.Event().wait(random.uniform(0.0, 0.08))  # the moment is the subject
            host.kill("hydrad")
            wait_for(lambda: host.pids("hydrad"), "the next daemon")
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert host.inspect("steady")["pid"] == steady
    assert len(results) > 10
    for container, code, created, known, status, message in results:
        if known == 0:
            assert status == str(code), (container, status, message)
        else:  # it was never made: then whoever asked was told so
            assert created != 0, (container, message)
    wait_for(lambda: host.answers("hydrad.sock"), "the last daemon")
    # what a worker finished after its asker was told of the daemon's death is there, and is right
    for name in [item["id"] for item in host.json("ps", "-a") if item["id"] != "steady"]:
        wait_for(lambda: not (seen := view_of(host, name)) or seen["state"] in ("created", "stopped"), f"{name} to be finished or undone")  # noqa: B023
        view = view_of(host, name)
        if view:
            assert view["state"] == "created" or view["exit"]["exitCode"] == int(name.split("-")[1]) % 100
            host.ctl("rm", "-f", name)
    assert [item["id"] for item in host.json("ps", "-a")] == ["steady"]


def test_a_second_daemon_says_so_and_goes(daemon_host):
    done = daemon_host.run(program("hydrad"), check=False)
    assert done.returncode == 1 and "another hydrad" in done.stderr


def test_without_a_monitor_shims_need_nobody(rootfs):
    with Host("alone") as host:
        host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
        assert host.inspect("web")["state"] == "running"
        host.ctl("rm", "-f", "web")
        host.assert_clean()


def test_a_monitor_that_died_comes_back_to_running_shims(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    pid = host.inspect("web")["pid"]
    host.kill("hydra-monitor")
    host.services["hydra-monitor"].wait()
    host.kill("hydrad")
    host.start("hydra-monitor")
    wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
    assert host.inspect("web")["pid"] == pid
    host.ctl("run", "--rm", "--rootfs", rootfs, "true")


def test_metrics_are_prometheus_text(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    host.kill("hydrad", signal.SIGKILL)
    wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
    code = ("import socket; s=socket.socket(socket.AF_UNIX); s.connect('/run/hydra/metrics.sock');"
            "s.sendall(b'GET /metrics HTTP/1.1\\r\\n\\r\\n'); print(s.makefile().read())")
    text = host.run("python3", "-c", code).stdout
    assert "hydra_shims 1" in text and "hydra_daemon_restarts_total 1" in text


def test_metrics_are_there_on_a_loopback_port_when_asked_for(host):
    host.start("hydra-monitor", "--metrics-port", "9464")
    wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
    code = "import urllib.request as u; r = u.urlopen('http://127.0.0.1:9464/metrics'); print(r.headers['Content-Type'], r.read().decode())"
    text = host.run("python3", "-c", code).stdout
    assert text.startswith("text/plain; version=0.0.4") and "hydra_daemon_restarts_total 0" in text
    assert not [line for line in host.run("ss", "-Hltn", "sport", "=", "9464").stdout.splitlines() if "127.0.0.1:9464" not in line]
