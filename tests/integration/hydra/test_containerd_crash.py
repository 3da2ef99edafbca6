# SPDX-License-Identifier: Apache-2.0
"""Shims of containerd's tasks that are killed under hydra-monitor: containerd, its clients and the task see a pause at most."""
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from containerd_host import Containerd
from hosts import program, wait_for

ECHO = "while read x; do echo got $x; done; exit 3"


@pytest.fixture
def host(rootfs, tmp_path):
    with Containerd("containerd") as made:
        made.rootfs = str(tmp_path / "rootfs")
        shutil.copytree(rootfs, made.rootfs, symlinks=True)
        made.start("hydra-monitor")
        yield made
        made.stop_and_go(signal.SIGCONT)
        made.forget_faults()
        made.remove_tasks()
        made.assert_clean()


def kill_shim(host, name, signal_number=signal.SIGKILL):
    before = host.shim_of(name)
    os.kill(before, signal_number)
    wait_for(lambda: host.shim_of(name) not in (None, before), "the successor")


def converse(session, numbers):
    for number in numbers:
        session.stdin.write(f"{number}\n")
        session.stdin.flush()
        assert session.stdout.readline() == f"got {number}\n"


def finish(session):
    session.stdin.close()
    rest = session.stdout.read()
    session.stdout.close()
    return rest, session.wait(60)


class Run:
    """ctr run, whose output goes into a file: at the task's end it forgets what its own reader has not taken yet."""

    def __init__(self, host, name, script, **options):
        self.path = host.path("/run/output")
        with open(self.path, "wb") as output:
            self.process = host.popen(["ctr", "-a", "/run/c/c.sock", "run", "--rm", *host.options(), name, "/bin/sh", "-c", script],
                                      stdin=subprocess.DEVNULL, stdout=output, **options)

    def finish(self):
        self.process.send_signal(signal.SIGCONT)  # nsenter stops with what it started
        status = self.process.wait(60)
        return self.path.read_text(), status


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_task_outlives_its_shims(host, signal_number):
    host.start_task("web")
    pid = host.status("web")
    for _ in range(3):
        kill_shim(host, "web", signal_number)
        assert host.status("web") == pid
        assert host.ctr("task", "exec", "--exec-id", "e", "web", "/bin/echo", "again").stdout == "again\n"


def test_output_is_read_on_and_the_status_is_known(host):
    session = Run(host, "web", "i=0; while [ ! -e /go ]; do i=$((i+1)); echo $i; done; exit 7")
    wait_for(lambda: host.is_running("web"), "the task")
    for _ in range(5):
        kill_shim(host, "web")
    open(f"{host.rootfs}/go", "w").close()
    output, status = session.finish()
    lines = output.splitlines()
    assert status == 7 and len(lines) > 100
    assert lines == [str(number) for number in range(1, len(lines) + 1)]


def test_a_session_goes_on(host):
    host.start_task("web")
    session = host.session("task", "exec", "--exec-id", "e", "web", "/bin/sh", "-c", ECHO, text=True)
    for life in range(5):
        converse(session, range(life * 10, life * 10 + 10))
        kill_shim(host, "web")
    converse(session, range(3))
    assert finish(session) == ("", 3)


def test_a_terminal_goes_on(host):
    session = host.popen(["script", "-qec", f"ctr -a /run/c/c.sock run --rm -t {' '.join(host.options())} web /bin/sh -c "
                          "'stty -echo -onlcr; echo ready; while read x; do echo got $x; done; exit 5'", "/dev/null"],
                         stdin=-1, stdout=-1, text=True)
    while session.stdout.readline().strip() != "ready":
        pass
    for life in range(3):
        for number in range(5):
            session.stdin.write(f"{life}.{number}\n")
            session.stdin.flush()
            line = session.stdout.readline().strip()
            while line != f"got {life}.{number}":
                assert line == f"{life}.{number}", "only ctr's own terminal may echo"
                line = session.stdout.readline().strip()
        kill_shim(host, "web")
    session.stdin.write("\x04")
    session.stdin.close()
    session.stdout.read()
    session.stdout.close()
    assert session.wait(60) == 5


def test_an_application_that_writes_while_nobody_reads_goes_on(host):
    """The reader is stopped, containerd is dead, and the shim is killed as well."""
    session = Run(host, "web", "while [ ! -e /start ]; do sleep 0.05; done; seq 1 400000; : > /written; while [ ! -e /go ]; do sleep 0.05; done; echo end; exit 9", stderr=subprocess.STDOUT)
    wait_for(lambda: host.is_running("web"), "the task")
    host.stop_and_go(signal.SIGSTOP)
    open(f"{host.rootfs}/start", "w").close()
    wait_for(lambda: os.path.exists(f"{host.rootfs}/written"), "the application to have written everything")
    kill_shim(host, "web")
    host.stop_and_go(signal.SIGCONT)
    wait_for(lambda: session.path.read_text().endswith("400000\n"), "ctr to have read what waited")
    open(f"{host.rootfs}/go", "w").close()
    output, status = session.finish()
    dropped = [int(number) for number in re.findall(r"\[hydra: (\d+) bytes of output could not be written here\]", output)]
    rest = re.sub(r"\[hydra: \d+ bytes of output could not be written here\]\n", "", output)
    written = sum(len(f"{number}\n") for number in range(1, 400001)) + len("end\n")
    assert status == 9 and dropped and output.endswith("end\n")
    # in the middle of a line a mark begins with an end of line of its own
    assert 0 <= sum(dropped) + len(rest) - written <= len(dropped)


def test_output_is_there_for_a_reader_that_comes_after_the_end(host):
    """As on a busy machine, where a client's thread opens the FIFO when a short command is over."""
    folder = pathlib.Path(host.rootfs) / "fifos"
    folder.mkdir()
    # ctr itself reads until it has gone
    host.ctr("run", "-d", "--fifo-dir", str(folder), *host.options(), "web", "/bin/sh", "-c", "while [ ! -e /go ]; do sleep 0.01; done; echo late")
    pid, _ = host.status("web")
    (pathlib.Path(host.rootfs) / "go").touch()
    wait_for(lambda: not host.path(f"/proc/{pid}").exists(), "its end")
    reader = os.open(next(folder.glob("**/*-stdout")), os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    with open(reader) as output:
        assert output.read() == "late\n"


# What a request does when its shim dies at that point: all of them have their whole effect, once.
@pytest.mark.parametrize("point", ["shim.rootfs-mounted", "shim.before-create", "shim.created", "shim.request-kept", "shim.request-begun",
                                   "shim.answered", "shim.output-taken", "shim.output-delivered", "shim.before-exit-record",
                                   "shim.after-exit-record", "shim.exit-noted", "shim.stopped", "shim.delete-noted"])
def test_a_run_is_carried_out_once(host, point):
    host.order_fault(point)
    done = host.ctr("run", "--rm", *host.options(), "web", "/bin/sh", "-c", "echo run >> /runs; echo out; exit 7", check=False)
    assert host.has_arrived(point)
    assert (done.stdout, done.returncode) == ("out\n", 7), done.stderr
    assert open(f"{host.rootfs}/runs").read() == "run\n"


@pytest.mark.parametrize("point", ["shim.request-kept", "shim.request-begun", "shim.before-exec", "shim.exec-made", "shim.fifo-written",
                                   "shim.input-moved", "shim.exit-noted", "shim.exec-forgotten", "shim.answered"])
def test_an_exec_is_carried_out_once(host, point):
    host.start_task("web")
    host.order_fault(point)
    done = host.ctr("task", "exec", "--exec-id", "e", "web", "/bin/sh", "-c", "echo run >> /runs; cat; exit 5", input="in\n", check=False)
    assert host.has_arrived(point)
    assert (done.stdout, done.returncode) == ("in\n", 5), done.stderr
    assert host.ctr("task", "exec", "--exec-id", "e", "web", "/bin/echo", "its id is free").stdout == "its id is free\n"
    assert open(f"{host.rootfs}/runs").read() == "run\n"


def test_a_death_after_delete_leaves_nothing(host):
    host.order_fault("shim.before-removal")
    done = host.ctr("run", "--rm", *host.options(), "web", "/bin/sh", "-c", "exit 7", check=False)
    assert host.has_arrived("shim.before-removal") and done.returncode == 7
    wait_for(lambda: not host.leftovers(), "nothing to be left")


def test_a_start_that_is_killed_leaves_nothing(host):
    host.order_fault("shim.task-made")
    done = host.ctr("run", "--rm", *host.options(), "web", "/bin/true", check=False)
    assert host.has_arrived("shim.task-made") and done.returncode != 0
    host.forget_faults()
    assert host.ctr("run", "--rm", *host.options(), "web", "/bin/echo", "again").stdout == "again\n"


def test_a_shim_is_upgraded_and_sessions_go_on(host):
    host.start_task("web")
    session = host.session("task", "exec", "--exec-id", "e", "web", "/bin/sh", "-c", ECHO, text=True)
    pid = host.shim_of("web")
    for life in range(3):
        converse(session, range(life * 10, life * 10 + 10))
        host.ctl("upgrade", "shim", "web", "--binary", program("hydra-shim"))
    assert host.shim_of("web") == pid
    converse(session, range(3))
    assert finish(session) == ("", 3)


def test_hydractl_sees_a_task_and_leaves_it_to_containerd(host):
    host.start_task("web")
    assert host.inspect("web")["state"] == "running"
    for arguments in (["rm", "-f", "web"], ["start", "web"]):
        refused = host.ctl(*arguments, check=False)
        assert refused.returncode != 0 and "task of containerd" in refused.stderr, arguments
    assert "containerd" in host.ctl("update", "--restart", "always", "web", check=False).stderr
    assert "policy and spill-size" in host.ctl("update", "--log-opt", "format=raw", "web", check=False).stderr
    host.ctl("pause", "web")
    assert host.status("web")[1] == "PAUSED"
    host.ctl("resume", "web")
    assert host.ctl("exec", "web", "/bin/echo", "from hydractl").stdout == "from hydractl\n"
    assert host.status("web")[1] == "RUNNING"


@pytest.mark.parametrize("policy, is_written", [("block", False), ("drop-oldest", True)])
def test_the_policy_of_output_can_be_chosen(host, policy, is_written):
    session = Run(host, "web", "while [ ! -e /start ]; do sleep 0.05; done; seq 1 100000; : > /written; while [ ! -e /go ]; do sleep 0.05; done; exit 9")
    wait_for(lambda: host.is_running("web"), "the task")
    host.ctl("update", "--log-opt", f"policy={policy}", "web")
    host.stop_and_go(signal.SIGSTOP)
    open(f"{host.rootfs}/start", "w").close()
    if not is_written:
        wait_for(lambda: "pipe_write" in host.run("sh", "-c", "cat /proc/$(pgrep -x seq)/wchan", check=False).stdout, "the application to wait")
    else:
        wait_for(lambda: os.path.exists(f"{host.rootfs}/written"), "the application to have written everything")
    assert os.path.exists(f"{host.rootfs}/written") == is_written
    host.stop_and_go(signal.SIGCONT)
    wait_for(lambda: session.path.read_text().endswith("100000\n"), "ctr to have read what waited")
    open(f"{host.rootfs}/go", "w").close()
    output, status = session.finish()
    numbers = "".join(f"{number}\n" for number in range(1, 100001))
    assert status == 9 and (output == numbers) == (policy == "block")
