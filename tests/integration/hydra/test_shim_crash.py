# SPDX-License-Identifier: Apache-2.0
"""A shim that dies: its container runs on, a successor takes over stdio, execs and the end."""
import pathlib
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
    # the shim is not this monitor's child, but deposits with it
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


def start_lives(host, rootfs, name, failures):
    """Fails that many times, each life noted in a file of the host, then succeeds."""
    lives = host.path("/var/lib/hydra/lives")
    lives.write_text("")
    host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, "--restart", "on-failure:9", "-v", "/var/lib/hydra:/data", "sh", "-c",
             f"echo life >>/data/lives; [ $(wc -l </data/lives) -gt {failures} ]")
    return lives


@pytest.mark.parametrize("point", ["shim.before-exit-record", "shim.after-exit-record", "shim.exit-noted"])
def test_an_end_is_known_when_the_shim_dies_of_it(daemon_host, rootfs, point):
    host = daemon_host
    host.order_fault(point)
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sh", "-c", "echo last words; exit 7")
    wait_for(lambda: host.has_arrived(point), "the fault")
    wait_for(lambda: host.inspect("web")["state"] == "stopped", "the successor to note the end")
    assert host.inspect("web")["exit"]["exitCode"] == 7
    assert host.ctl("wait", "web").stdout == "7\n"
    assert host.ctl("logs", "web").stdout == "last words\n"


@pytest.mark.parametrize("point", ["shim.before-create", "shim.created"])
def test_a_creation_whose_shim_dies_is_undone(daemon_host, rootfs, point):
    host = daemon_host
    host.order_fault(point)
    done = host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000", check=False)
    assert done.returncode == 125 and host.has_arrived(point)
    host.assert_clean()


@pytest.mark.parametrize("point", ["shim.before-create", "shim.created", "shim.exit-noted", "shim.before-exit-record"])
def test_a_restart_is_due_also_when_the_shim_dies_before_it(daemon_host, rootfs, point):
    host = daemon_host
    lives = start_lives(host, rootfs, "web", 3)
    host.order_fault(point)
    wait_for(lambda: host.has_arrived(point), "the fault")
    wait_for(lambda: (seen := host.inspect("web"))["state"] == "stopped" and seen["exit"]["exitCode"] == 0, "the life that succeeds")
    assert lives.read_text() == "life\n" * 4
    assert host.inspect("web")["restartCount"] == 3


def test_what_a_process_used_is_known_although_its_shim_died(daemon_host, rootfs):
    """The monitor is its parent then, and tells the successor."""
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sh", "-c", "while [ ! -e /data/go ]; do :; done; exit 5")
    host.kill("hydra-shim")
    wait_for(lambda: host.inspect("web")["isReachable"], "the successor")
    host.path("/var/lib/hydra/go").touch()
    wait_for(lambda: host.inspect("web")["state"] == "stopped", "the end")
    end = host.inspect("web")["exit"]
    assert end["isKnown"] and end["exitCode"] == 5 and int(end["usage"]["userUs"]) > 0 and int(end["usage"]["maxRssKib"]) > 0


def test_an_end_is_told_after_an_upgrade_of_the_monitor(daemon_host, rootfs):
    """It has reaped what had no shim, and its next binary still knows how that ended."""
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    host.order_fault("shim.adopting", "stop")
    host.kill("hydra-shim")
    wait_for(lambda: host.has_arrived("shim.adopting"), "a successor that hangs")
    host.run("kill", "-TERM", str(host.inspect("web")["pid"]))
    host.run("kill", "-KILL", str(host.inspect("web")["pid"]))
    wait_for(lambda: not pathlib.Path(f"/proc/{host.pid}/root/proc/{host.inspect('web')['pid']}").exists(), "the monitor to reap it")
    host.ctl("upgrade", "monitor", "--binary", program("hydra-monitor"))
    host.kill("hydra-shim", signal.SIGCONT)
    wait_for(lambda: host.inspect("web")["state"] == "stopped", "the end")
    assert host.inspect("web")["exit"]["signal"] == 9


def test_an_end_is_known_although_nobody_was_its_parent(daemon_host, rootfs):
    """Its shim was another monitor's, so pid 1 reaps it; but somebody has had a pidfd of it all the time, and the kernel tells by that."""
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sh", "-c", "while [ ! -e /data/go ]; do sleep 0.01; done; exit 5")
    pid = host.inspect("web")["pid"]
    host.kill("hydra-monitor")
    host.services["hydra-monitor"].wait()
    host.start("hydra-monitor")
    wait_for(lambda: len(host.run("ss", "-Hx", "state", "established", "src", "*store.sock").stdout.splitlines()) == 1, "its deposits")
    host.order_fault("shim.adopting", "stop")
    host.kill("hydra-shim")
    wait_for(lambda: host.has_arrived("shim.adopting"), "a successor that hangs")
    host.path("/var/lib/hydra/go").touch()
    wait_for(lambda: not host.path(f"/proc/{pid}").exists(), "pid 1 to reap it")
    host.kill("hydra-shim", signal.SIGCONT)
    wait_for(lambda: host.inspect("web")["state"] == "stopped", "the end")
    end = host.inspect("web")["exit"]
    assert end["isKnown"] and end["exitCode"] == 5


def test_what_ended_while_nobody_was_there_is_stopped_and_its_status_unknown(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    seen = host.inspect("web")
    host.kill("hydra-monitor")
    host.services["hydra-monitor"].wait()
    host.kill("hydra-shim")
    host.run("kill", "-9", str(seen["pid"]))
    wait_for(lambda: host.run("kill", "-0", str(seen["pid"]), check=False).returncode != 0, "its end")
    host.start("hydra-monitor")
    wait_for(lambda: host.inspect("web")["state"] == "stopped", "a successor that says so")
    end = host.inspect("web")["exit"]
    assert not end["isKnown"] and "nobody" in end["reason"]
    assert "nobody" in host.ctl("wait", "web", check=False).stderr


def test_a_shim_of_the_monitor_before_gets_a_successor_too(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sh", "-c", "while true; do echo tick; sleep 0.05; done")
    pid = host.inspect("web")["pid"]
    host.kill("hydra-monitor")
    host.services["hydra-monitor"].wait()
    host.start("hydra-monitor")
    shims = len(host.pids("hydra-shim"))
    wait_for(lambda: len(host.run("ss", "-Hx", "state", "established", "src", "*store.sock").stdout.splitlines()) == shims, "its deposits")
    kill_shim(host, "web")
    seen = len(host.ctl("logs", "web").stdout.split())
    wait_for(lambda: len(host.ctl("logs", "web").stdout.split()) > seen + 3, "further output")
    assert host.inspect("web")["pid"] == pid


@pytest.mark.parametrize("verb, state", [("pause", "running"), ("resume", "paused")])
def test_a_pause_under_way_is_undone_by_the_successor(daemon_host, rootfs, verb, state):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    if verb == "resume":
        host.ctl("pause", "web")
    shim = host.inspect("web")["shimPid"]
    # what the runtime does while its shim is dying
    host.run("kill", "-STOP", str(shim))
    host.run(program("hydra"), "--root", "/run/hydra/default/web/oci", verb, "web")
    host.run("kill", "-9", str(shim))
    wait_for(lambda: (seen := host.inspect("web"))["isReachable"] and seen["shimPid"] != shim, "the successor")
    other = "resume" if verb == "pause" else "pause"
    assert host.inspect("web")["state"] == state
    host.ctl(verb, "web")
    host.ctl(other, "web")
    assert host.inspect("web")["state"] == state


def test_an_exec_that_ended_while_the_shim_was_dead_is_known(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sleep", "1000")
    host.ctl("exec", "-d", "web", "sh", "-c", "while [ ! -e /data/go ]; do sleep 0.05; done; exit 5")
    host.order_fault("shim.before-exit-record")
    host.path("/var/lib/hydra/go").touch()
    wait_for(lambda: host.has_arrived("shim.before-exit-record"), "the fault")
    wait_for(lambda: "exec-exited" in host.ctl("events", "web").stdout, "its end")
    assert "status=5" in host.ctl("events", "web").stdout
    host.path("/var/lib/hydra/go").unlink()


@pytest.mark.parametrize("restart", ["no", "on-failure:1"])
def test_last_words_are_read_when_the_shim_dies_before_it_has_read_them(daemon_host, rootfs, restart):
    host = daemon_host
    host.order_fault("shim.stopped")
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "--restart", restart, "-v", "/var/lib/hydra:/data", "sh", "-c",
             "while [ ! -e /data/go ]; do sleep 0.05; done; head -c 40000 /dev/zero | tr '\\0' x; echo; exit 7")
    seen = host.inspect("web")
    host.run("kill", "-STOP", str(seen["shimPid"]))  # so that much is left to read when it sees the end
    host.path("/var/lib/hydra/go").touch()
    wait_for(lambda: host.path(f"/proc/{seen['pid']}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z", "the end")
    host.run("kill", "-CONT", str(seen["shimPid"]))
    wait_for(lambda: host.has_arrived("shim.stopped"), "the fault")
    lives = 1 if restart == "no" else 2
    wait_for(lambda: host.ctl("logs", "web").stdout == ("x" * 40000 + "\n") * lives, "all of its output")
    wait_for(lambda: not host.pids("hydra-shim"), "the successor to end")
    seen = host.inspect("web")
    assert (seen["state"], seen["exit"]["exitCode"], seen["restartCount"]) == ("stopped", 7, lives - 1)


def test_a_shim_of_the_monitor_before_that_ends_in_order_gets_no_successor(daemon_host, rootfs):
    host = daemon_host
    names = [f"c{number}" for number in range(5)]
    for name in names:
        host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, "sleep", "1000")
    host.kill("hydra-monitor")
    host.services["hydra-monitor"].wait()
    host.start("hydra-monitor")
    wait_for(lambda: len(host.run("ss", "-Hx", "state", "established", "src", "*store.sock").stdout.splitlines()) == 5, "their deposits")
    for name in names:
        host.ctl("stop", "-t", "0", name)
        host.ctl("start", name)
    assert not [name for name in names if "adopted" in host.ctl("events", name).stdout]
