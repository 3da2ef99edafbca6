# SPDX-License-Identifier: Apache-2.0
"""A shim that dies: its container runs on, a successor takes over stdio, execs and the end."""
import signal

import pytest

from hosts import program, wait_for


def kill_shim(host, name, signal_number=signal.SIGKILL):
    before = host.inspect(name)["shimPid"]
    host.run("kill", f"-{int(signal_number)}", str(before))
    wait_for(lambda: (seen := host.inspect(name))["isReachable"] and seen["shimPid"] != before, "the successor")


def test_the_container_runs_on_and_its_output_is_read_on(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sh", "-c",
             "i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done")
    pid = host.inspect("web")["pid"]
    for signal_number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGKILL):
        kill_shim(host, "web", signal_number)
        seen = len(host.ctl("logs", "web").stdout.split())
        wait_for(lambda: len(host.ctl("logs", "web").stdout.split()) > seen + 3, "further output")
    assert host.inspect("web")["pid"] == pid and host.inspect("web")["state"] == "running"
    host.ctl("stop", "-t", "0", "web")
    assert host.inspect("web")["exit"]["exitCode"] == 137


@pytest.mark.parametrize("command, status", [("exit 7", 7), ("exit 0", 0)])
def test_the_exit_status_is_known_afterwards(daemon_host, rootfs, command, status):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sh", "-c",
             f"while [ ! -e /data/go ]; do sleep 0.05; done; {command}")
    kill_shim(host, "web")
    host.path("/var/lib/hydra/go").touch()
    assert host.ctl("wait", "web").stdout == f"{status}\n"
    host.path("/var/lib/hydra/go").unlink()


def test_all_verbs_work_with_the_successor(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    kill_shim(host, "web")
    assert host.ctl("exec", "-i", "web", "cat", input="x\n").stdout == "x\n"
    host.ctl("pause", "web")
    host.ctl("resume", "web")
    assert host.json("stats", "web")["pids"] >= 1
    assert "adopted" in host.ctl("events", "web").stdout
    host.ctl("stop", "-t", "0", "web")
    host.ctl("start", "web")
    assert host.inspect("web")["state"] == "running"


def test_a_running_exec_is_adopted(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sleep", "1000")
    exec_id = host.ctl("exec", "-d", "web", "sh", "-c", "while [ ! -e /data/go ]; do sleep 0.05; done; exit 5").stdout.strip()
    kill_shim(host, "web")
    host.path("/var/lib/hydra/go").touch()
    wait_for(lambda: f"exec-exited exec={exec_id} status=5" in host.ctl("events", "web").stdout, "its status")
    host.path("/var/lib/hydra/go").unlink()


def test_a_monitor_that_came_back_has_the_deposits(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sh", "-c", "while true; do echo tick; sleep 0.05; done")
    host.kill("hydra-monitor")
    host.services["hydra-monitor"].wait()
    host.kill("hydrad")
    host.start("hydra-monitor")
    # the shim is not this monitor's child: a successor is made when the next monitor looks, or by hand
    assert host.inspect("web")["state"] == "running"
    seen = len(host.ctl("logs", "web").stdout.split())
    wait_for(lambda: len(host.ctl("logs", "web").stdout.split()) > seen, "output")


def test_input_goes_on_after_the_shims_death(daemon_host, rootfs):
    host = daemon_host
    host.ctl("create", "--name", "cat", "-i", "--rootfs", rootfs, "sh", "-c", "while read x; do echo got $x; done")
    host.ctl("start", "cat")
    kill_shim(host, "cat")
    session = host.popen([program("hydractl"), "attach", "cat"], stdin=-1, stdout=-1, text=True)
    session.stdin.write("hello\n")
    session.stdin.flush()
    assert session.stdout.readline() == "got hello\n"
    session.stdin.close()
    assert session.wait(60) == 0
    session.stdout.close()


def test_questions_that_wait_are_asked_the_successor(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sh", "-c",
             "while [ ! -e /data/go ]; do sleep 0.05; done; exit 6")
    waiter = host.popen([program("hydractl"), "wait", "web"], stdout=-1, text=True)
    events = host.popen([program("hydractl"), "events", "--follow", "web"], stdout=-1, text=True)
    assert "created" in events.stdout.readline()
    for _ in range(3):
        kill_shim(host, "web")
    host.path("/var/lib/hydra/go").touch()
    assert waiter.communicate(timeout=60)[0] == "6\n"
    seen = events.communicate(timeout=60)[0]
    assert seen.count("adopted") == 3 and seen.count("exited status=6") == 1
    host.path("/var/lib/hydra/go").unlink()
