# SPDX-License-Identifier: Apache-2.0
"""hydractl top: on a terminal, as a table, as JSON."""
import contextlib
import json
import os
import pty
import signal
import subprocess

from hosts import program, wait_for


def row(host, name, *arguments):
    found = [item for item in host.json("top", "--once", *arguments)["containers"] if item["id"] == name]
    return found[0] if found else None


def run(host, rootfs, name, *command):
    host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, *(command or ("sleep", "1000")))


def test_one_table_when_the_output_is_no_terminal(any_host, rootfs):
    host = any_host
    run(host, rootfs, "web", "sh", "-c", "echo hello; exec sleep 1000")
    host.ctl("run", "--name", "over", "--rootfs", rootfs, "true")
    wait_for(lambda: not host.inspect("over")["isReachable"], "the end of the other's shim")
    lines = host.ctl("top").stdout.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "HEALTH", "CPU", "%", "MEMORY", "PIDS", "OUTPUT", "DROPPED", "RESTARTS", "SHIM"]
    assert [line.split()[:2] for line in lines[1:]] == [["web", "running"]]
    wait_for(lambda: [line.split()[:2] for line in host.ctl("top", "-a").stdout.splitlines()[1:]] == [["over", "stopped"], ["web", "running"]],
             "the other's end")


def test_what_is_used_is_told(daemon_host, rootfs):
    host = daemon_host
    run(host, rootfs, "busy", "sh", "-c", "while true; do echo line; done")
    seen = wait_for(lambda: (found := row(host, "busy"))["outputBytesPerSecond"] and found, "its output")
    assert seen["cpuPercent"] > 0 and seen["memoryBytes"] > 0 and seen["pids"] == 1 and seen["shim"] == "up"
    host.run("kill", "-KILL", str(seen["shimPid"]))
    wait_for(lambda: (found := row(host, "busy"))["shimRestarts"] == 1 and found["shim"] == "up", "the successor")


def test_a_shim_that_is_stopped_is_unreachable_and_delays_nobody(daemon_host, rootfs):
    host = daemon_host
    for name in ("good", "hung"):
        run(host, rootfs, name)
    shim = host.inspect("hung")["shimPid"]
    host.run("kill", "-STOP", str(shim))
    wait_for(lambda: row(host, "hung")["shim"] == "unreachable", "the monitor to know")
    hung, good = row(host, "hung"), row(host, "good")
    assert hung["state"] == "unknown" and hung["memoryBytes"] is None and hung["cpuPercent"] is None
    assert good["state"] == "running" and good["memoryBytes"] > 0
    host.run("kill", "-CONT", str(shim))
    wait_for(lambda: row(host, "hung")["shim"] == "up", "it to go on")


def test_json_is_one_object_a_look(any_host, rootfs):
    host = any_host
    run(host, rootfs, "web")
    top = host.popen([program("hydractl"), "--format", "json", "top", "--interval", "100ms"], stdin=-3, stdout=-1, text=True)
    looks = [json.loads(top.stdout.readline()) for _ in range(3)]
    run(host, rootfs, "later")
    while len(looks[-1]["containers"]) < 2:
        looks.append(json.loads(top.stdout.readline()))
    host.kill("hydractl", signal.SIGTERM)
    top.wait()
    top.stdout.close()
    assert [[item["id"] for item in look["containers"]] for look in looks[:3]] == [["web"]] * 3
    assert [item["id"] for item in looks[-1]["containers"]] == ["later", "web"]


class Screen:
    """hydractl top on a terminal of its own; what it writes is collected."""

    def __init__(self, host, *arguments):
        self.host = host
        self.ours, theirs = pty.openpty()
        self.process = host.popen([program("hydractl"), "top", *arguments], stdin=subprocess.DEVNULL, stdout=theirs)
        os.close(theirs)
        os.set_blocking(self.ours, False)
        self.text = ""

    def read(self):
        with contextlib.suppress(BlockingIOError, OSError):  # EIO: the other end is closed
            while data := os.read(self.ours, 65536):
                self.text += data.decode()
        return self.text


def test_on_a_terminal_it_is_shown_in_place_and_the_terminal_restored(any_host, rootfs):
    host = any_host
    run(host, rootfs, "web")
    screen = Screen(host, "--interval", "100ms")
    wait_for(lambda: screen.read().count("\033[H1 containers") >= 3, "three looks")
    assert screen.text.startswith("\033[?1049h\033[?25l") and "web" in screen.text
    host.kill("hydractl", signal.SIGINT)
    assert screen.process.wait(60) == 0
    assert screen.read().endswith("\033[?25h\033[?1049l")
    os.close(screen.ours)


def test_an_interval_that_means_nothing_is_refused(any_host):
    done = any_host.ctl("top", "--interval", "soon", check=False)
    assert done.returncode == 125 and "option --interval: 'soon'" in done.stderr


def test_who_uses_most_comes_first_and_who_is_silent_last(daemon_host, rootfs):
    host = daemon_host
    run(host, rootfs, "a-hung")
    run(host, rootfs, "b-idle")
    run(host, rootfs, "c-large", "sh", "-c", "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo ready; exec 2>&-; while true; do sleep 1000; done")
    run(host, rootfs, "d-busy", "sh", "-c", "while true; do :; done")
    wait_for(lambda: host.ctl("logs", "c-large").stdout == "ready\n", "its memory")
    shim = host.inspect("a-hung")["shimPid"]
    host.run("kill", "-STOP", str(shim))

    def order(*arguments):
        return [item["id"] for item in host.json("top", "--once", *arguments)["containers"]]
    assert order() == order("--sort", "name") == ["a-hung", "b-idle", "c-large", "d-busy"]
    assert order("--sort", "memory")[0] == "c-large" and order("--sort", "memory")[-1] == "a-hung"
    wait_for(lambda: order("--sort", "cpu")[0] == "d-busy", "the busy one to have used most")
    assert order("--sort", "cpu")[-1] == "a-hung"
    host.run("kill", "-CONT", str(shim))
    refused = host.ctl("top", "--sort", "age", check=False)
    assert refused.returncode == 125 and "expected name, cpu or memory" in refused.stderr


def test_containers_of_all_namespaces(any_host, rootfs):
    host = any_host
    run(host, rootfs, "web")
    host.ctl("--namespace", "other", "run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    try:
        assert [(item["namespace"], item["id"]) for item in host.json("top", "--once", "-A")["containers"]] == [("default", "web"), ("other", "web")]
        for command in (["top", "--once"], ["ps"]):
            lines = host.ctl(*command, "--all-namespaces").stdout.splitlines()
            assert lines[0].split()[:2] == ["NAMESPACE", "NAME"]
            assert sorted(line.split()[:2] for line in lines[1:]) == [["default", "web"], ["other", "web"]]
            assert [line.split()[0] for line in host.ctl(*command).stdout.splitlines()] == ["NAME", "web"]
        assert sorted(host.ctl("ps", "-qA").stdout.split()) == ["default/web", "other/web"]
        assert sorted(item["namespace"] for item in host.json("ps", "-A")) == ["default", "other"]
    finally:
        host.ctl("--namespace", "other", "rm", "-f", "web")
