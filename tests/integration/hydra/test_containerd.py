# SPDX-License-Identifier: Apache-2.0
"""Debian's containerd with --runtime io.containerd.hydra.v1: tasks that outlive containerd."""
import shutil

import pytest

from containerd_host import Containerd
from hosts import wait_for


@pytest.fixture
def host(rootfs, tmp_path):
    assert shutil.which("containerd"), "containerd is not installed: it is in scripts/packages"
    with Containerd("containerd") as made:
        # containerd's client writes into a root file system that it is given as a folder
        made.rootfs = str(tmp_path / "rootfs")
        shutil.copytree(rootfs, made.rootfs, symlinks=True)
        yield made
        made.remove_tasks()
        made.assert_clean()


def test_run_has_output_and_status(host):
    done = host.ctr("run", "--rm", *host.options(), "web", "/bin/sh", "-c", "echo out; echo err >&2; exit 7",
                    check=False)
    assert (done.stdout, done.returncode) == ("out\n", 7) and "err" in done.stderr


def test_exec_pause_kill_and_delete(host):
    host.start_task("web")
    assert host.ctr("task", "exec", "--exec-id", "e1", "web", "/bin/echo", "from exec").stdout == "from exec\n"
    assert host.ctr("task", "exec", "--exec-id", "e2", "web", "/bin/cat", input="x" * 100000).stdout == "x" * 100000
    assert host.ctr("task", "exec", "--exec-id", "e3", "web", "/bin/sh", "-c", "exit 5", check=False).returncode == 5
    host.ctr("task", "pause", "web")
    assert host.status("web")[1] == "PAUSED"
    host.ctr("task", "resume", "web")
    assert host.status("web")[1] == "RUNNING"
    assert "pids.current" in host.ctr("task", "metrics", "web").stdout
    assert str(host.status("web")[0]) in host.ctr("task", "ps", "web").stdout
    host.ctr("task", "kill", "-s", "TERM", "web")
    host.ctr("task", "kill", "-s", "KILL", "web", check=False)
    wait_for(lambda: host.status("web")[1] == "STOPPED", "the end")
    host.ctr("task", "rm", "web", check=False)
    assert host.status("web") is None


def test_a_missing_program_is_named(host):
    done = host.ctr("run", "--rm", *host.options(), "web", "/no/such/program", check=False)
    assert done.returncode == 1 and "/no/such/program" in done.stderr and "OCI runtime create failed" in done.stderr


def test_containerd_may_die_and_finds_its_task_again(host):
    host.start_task("web")
    pid = host.status("web")[0]
    for _ in range(3):
        host.crash()
        host.start_containerd()
        assert host.status("web") == (pid, "RUNNING")
    assert host.ctr("task", "exec", "--exec-id", "e", "web", "/bin/echo", "again").stdout == "again\n"


def test_the_end_of_a_task_found_again_is_reported(host):
    host.start_task("web", "while [ ! -e /go ]; do sleep 0.05; done; exit 9")
    host.crash()
    host.start_containerd()
    with open(f"{host.rootfs}/go", "w"):
        pass
    wait_for(lambda: host.status("web")[1] == "STOPPED", "the end to be reported")
    assert "exit code 9" in host.ctr("task", "rm", "web", check=False).stderr


def test_what_ended_while_containerd_was_away_leaves_nothing(host):
    host.start_task("web", "while [ ! -e /go ]; do sleep 0.05; done; exit 9")
    host.crash()
    with open(f"{host.rootfs}/go", "w"):
        pass
    wait_for(lambda: "go ]" not in host.run("ps", "ax").stdout, "the program to end")
    host.start_containerd()  # which deletes tasks without processes when it loads them
    wait_for(lambda: host.status("web") is None, "containerd to collect it")
