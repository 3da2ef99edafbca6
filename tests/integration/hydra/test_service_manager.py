# SPDX-License-Identifier: Apache-2.0
"""What hydra-monitor and hydrad say to a service manager, and what they get from it; tests/integration/systemd has the real one."""
import re
import signal
import socket
import subprocess

import pytest

from hosts import program, signal_if_there, wait_for
from logs import lines, log_bytes
from service_manager import ServiceManager

# of each container: both outputs, the socket for requests to its shim, its process, the requests themselves; and more (shim/deposit.c)
CONTAINER, EXEC, INPUT, SESSION, REQUEST = ["1", "2", "l", "p", "q"], ["1", "2", "p"], ["0"], ["a", "f"], ["k"]
COUNT = "i=0; while [ ! -e /data/go ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo end $i; exit 5"


@pytest.fixture
def monitor(host):
    host.path("/run/config").mkdir()
    host.path("/run/config/log-level").write_text("debug")
    with ServiceManager(host, "hydra-monitor", "--no-daemon", HYDRA_CONFIG="/run/config") as manager:
        manager.start()
        yield manager


def counting(host, rootfs, name="web", *options):
    host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", *options, "sh", "-c", COUNT)


def kinds_of(log):
    """By container, what the monitor has taken and not dropped: names without numbers and without ids of execs."""
    kept = {}
    for done, container, name in re.findall(r"descriptor (deposited|dropped) container=default/(\S+) name=(\S+)$", log, re.M):
        names = kept.setdefault(container, set())
        (names.add if done == "deposited" else names.discard)(name)
    return {container: sorted(name[0] for name in names) for container, names in kept.items()}


def keep(host, monitor, **wanted):
    """Waits until just this is kept of each container. What a request needs is kept, too, until it is answered."""
    wanted = {container: sorted(kinds) for container, kinds in wanted.items()}
    wait_for(lambda: monitor.hear() or (kinds_of(host.log("service")) == wanted and len(monitor.kept) == sum(map(len, wanted.values()))),
             f"{wanted} to be kept, not {kinds_of(host.log('service'))}")


def kill_all(host, monitor):
    """The monitor and all shims, in one moment."""
    for pid in host.pids("hydra-monitor") + host.pids("hydra-shim"):
        signal_if_there(pid, signal.SIGKILL)
    host.kill("hydra-shim")  # returns when they are gone
    monitor.kill()


def reachable(host, name):
    return wait_for(lambda: (seen := host.inspect(name))["isReachable"] and seen, f"the shim of {name}")


def finish(host, name="web"):
    """Ends what counts, and looks that nothing is missing in its log and nothing there twice."""
    host.path("/var/lib/hydra/go").touch()
    assert host.ctl("wait", name).stdout == "5\n"
    *counted, last = log_bytes(host, name).splitlines(keepends=True)
    assert b"".join(counted) == lines(1, len(counted)) and last == f"end {len(counted)}\n".encode()
    host.path("/var/lib/hydra/go").unlink()


def test_what_shims_deposit_is_kept_until_their_containers_end(host, monitor, rootfs):
    counting(host, rootfs)
    keep(host, monitor, web=CONTAINER)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{11}", name) for name, _ in monitor.kept)
    host.ctl("exec", "-d", "web", "sh", "-c", "while [ ! -e /data/go ]; do sleep 0.05; done")
    keep(host, monitor, web=CONTAINER + EXEC)
    finish(host)
    wait_for(lambda: monitor.hear() or not monitor.kept, "nothing to be kept")


def test_a_monitor_and_a_shim_killed_together_lose_nothing(host, monitor, rootfs):
    counting(host, rootfs)
    counting(host, rootfs, "other")
    keep(host, monitor, web=CONTAINER, other=CONTAINER)
    for _ in range(3):
        kill_all(host, monitor)
        assert [host.inspect(name)["state"] for name in ("web", "other")] == ["unknown", "unknown"]
        monitor.start()
        reachable(host, "web")
        reachable(host, "other")
    host.path("/var/lib/hydra/go").touch()
    assert host.ctl("wait", "other").stdout == "5\n"
    finish(host)
    wait_for(lambda: monitor.hear() or not monitor.kept, "nothing to be kept")


def test_a_session_goes_on_when_the_monitor_and_the_shim_are_killed_together(host, monitor, rootfs):
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    session = host.popen([program("hydractl"), "exec", "-i", "web", "sh", "-c", "while read x; do echo got $x; done"], stdin=-1, stdout=-1, text=True)
    for number in range(3):
        session.stdin.write(f"{number}\n")
        session.stdin.flush()
        assert session.stdout.readline() == f"got {number}\n"
        keep(host, monitor, web=CONTAINER + EXEC + INPUT + SESSION)
        kill_all(host, monitor)
        monitor.start()
        reachable(host, "web")
    session.stdin.close()
    wait_for(lambda: monitor.hear() or session.poll() is not None, "its end")
    assert session.stdout.read() == "" and session.returncode == 0
    session.stdout.close()


def test_who_waits_for_an_answer_gets_it_from_the_successor(host, monitor, rootfs):
    counting(host, rootfs)
    waiting = host.popen([program("hydractl"), "wait", "web"], stdout=-1, text=True)
    keep(host, monitor, web=CONTAINER + REQUEST)
    kill_all(host, monitor)
    monitor.start()
    reachable(host, "web")
    finish(host)
    wait_for(lambda: monitor.hear() or waiting.poll() is not None, "the answer")
    assert waiting.stdout.read() == "5\n"
    waiting.stdout.close()


def test_what_ended_while_the_monitor_and_the_shim_were_dead_is_read_to_its_end(host, monitor, rootfs):
    counting(host, rootfs)
    keep(host, monitor, web=CONTAINER)
    kill_all(host, monitor)
    pid = host.inspect("web")["pid"]
    host.path("/var/lib/hydra/go").touch()
    wait_for(lambda: host.run("kill", "-0", str(pid), check=False).returncode != 0, "its end")
    monitor.start()
    wait_for(lambda: host.inspect("web")["state"] == "stopped" and not host.inspect("web")["isReachable"], "its shim's end")
    *counted, last = log_bytes(host, "web").splitlines(keepends=True)
    assert b"".join(counted) == lines(1, len(counted)) and last == f"end {len(counted)}\n".encode()
    host.path("/var/lib/hydra/go").unlink()


def test_what_is_deposited_again_is_not_kept_twice(host, monitor, rootfs):
    counting(host, rootfs)
    keep(host, monitor, web=CONTAINER)
    monitor.kill()
    monitor.start()
    wait_for(lambda: len(re.findall(r"deposited container=default/web name=[12]$", host.log("service"), re.M)) == 4, "the same outputs again")
    counting(host, rootfs, "other")
    keep(host, monitor, web=CONTAINER, other=CONTAINER)
    assert len({name for name, _ in monitor.kept}) == len(monitor.kept)
    host.path("/var/lib/hydra/go").touch()
    assert host.ctl("wait", "other").stdout == "5\n"
    finish(host)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("command", [["run", "-i", "--name", "cat", "--rootfs"], ["exec", "-i"]], ids=["init", "exec"])
def test_the_end_of_input_arrives_although_somebody_keeps_a_copy(host, monitor, rootfs, command, end):
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    session = host.popen([program("hydractl"), *command, rootfs if command[0] == "run" else "web", "cat"],
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        wanted = {"web": CONTAINER + EXEC + INPUT + SESSION} if command[0] == "exec" else {"web": CONTAINER, "cat": CONTAINER + INPUT + SESSION}
        keep(host, monitor, **wanted)
        wait_for(lambda: command[0] == "exec" or host.inspect("cat")["state"] == "running", "its start")
        keep(host, monitor, **wanted)
        kept = len(monitor.kept)
        monitor.kill(end)
        assert len(monitor.kept) == (kept if end == signal.SIGKILL else kept - 1)
        session.stdin.close()
        if end == signal.SIGKILL:
            monitor.start()
        wait_for(lambda: monitor.hear() or session.poll() is not None, "its end")
        assert session.returncode == 0
    finally:
        host.kill("hydractl")
        session.wait()


def test_what_was_kept_of_a_container_that_is_gone_is_dropped(host, monitor, rootfs):
    counting(host, rootfs)
    keep(host, monitor, web=CONTAINER)
    monitor.kill()
    host.ctl("rm", "-f", "web")
    assert len(monitor.kept) == len(CONTAINER)
    monitor.start()
    wait_for(lambda: monitor.hear() or not monitor.kept, "nothing to be kept")


@pytest.fixture
def unheard(host, monitor, rootfs):
    """A container of a shim that the monitor, which has begun anew, did not hear yet."""
    counting(host, rootfs)
    keep(host, monitor, web=CONTAINER)
    host.kill("hydra-shim", signal.SIGSTOP)
    monitor.kill()
    monitor.start()


def test_what_was_kept_of_a_container_that_goes_before_its_shim_is_heard_again_is_dropped(host, monitor, unheard):
    host.ctl("rm", "-f", "web")
    wait_for(lambda: monitor.hear() or not monitor.kept, "nothing to be kept")


def test_a_shim_that_dies_before_it_deposits_again_has_a_successor(host, monitor, unheard):
    host.kill("hydra-shim")
    reachable(host, "web")
    finish(host)
    wait_for(lambda: monitor.hear() or not monitor.kept, "nothing to be kept")


def test_an_upgraded_monitor_keeps_what_was_kept(host, monitor, rootfs):
    counting(host, rootfs)
    keep(host, monitor, web=CONTAINER)
    names = {name for name, _ in monitor.kept}
    pid = monitor.pid()
    host.ctl("upgrade", "monitor")
    monitor.wait_for("READY=1")
    assert monitor.pid() == pid and {name for name, _ in monitor.kept} == names
    kill_all(host, monitor)
    # systemd would not have kept them twice
    monitor.kept = list({name: (name, fd) for name, fd in monitor.kept}.values())
    monitor.start()
    reachable(host, "web")
    finish(host)


@pytest.mark.parametrize("name, arguments", [("hydra-monitor", ["--no-daemon"]), ("hydrad", [])])
def test_a_reload_reads_the_log_level_and_says_when_it_is_done(host, name, arguments):
    host.path("/run/config").mkdir()
    with ServiceManager(host, name, *arguments, HYDRA_CONFIG="/run/config") as manager:
        manager.start()
        for level in ("debug", "error", "nonsense", "info"):
            host.path("/run/config/log-level").write_text(level + "\n")
            manager.told.clear()
            manager.send(signal.SIGHUP)
            manager.wait_for("READY=1")
            assert manager.told[0] == "RELOADING=1" and re.fullmatch(r"MONOTONIC_USEC=\d+", manager.told[1])
        assert host.log("service").count("reloaded") == 2  # not while errors alone were wanted
        manager.send(signal.SIGTERM)
        manager.wait_for("STOPPING=1")


@pytest.mark.parametrize("name, arguments", [("hydra-monitor", ["--no-daemon"]), ("hydrad", [])])
def test_a_watchdog_hears_that_the_loop_goes_round(host, name, arguments):
    with ServiceManager(host, name, *arguments, WATCHDOG_USEC="20000") as manager:
        manager.start()
        wait_for(lambda: manager.hear() or manager.told.count("WATCHDOG=1") > 5, "signs of life")
    with ServiceManager(host, name, *arguments) as manager:
        manager.start()
        assert "WATCHDOG=1" not in manager.told


def test_hydrad_serves_the_socket_it_is_given(host):
    host.path("/run/hydra").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        listener.bind(str(host.path("/run/hydra/hydrad.sock")))
        listener.listen()
        with ServiceManager(host, "hydrad") as manager:
            waiting = host.popen([program("hydractl"), "daemon"], stdout=-1, text=True)  # its question comes first
            for _ in range(2):
                manager.start([("hydrad.socket", listener.fileno())])
                assert "version" in host.ctl("daemon").stdout
                manager.kill()
            assert "version" in waiting.communicate(timeout=60)[0]
            manager.launch([("hydrad.socket", other.fileno())])
            assert manager.process.wait(60) == 1
        assert "expected a listening Unix socket" in host.log("service")
