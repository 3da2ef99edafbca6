# SPDX-License-Identifier: Apache-2.0
"""Another binary takes a shim's place: same pid, and nobody notices more than a pause."""
import json
import os
import shutil
import socket
import subprocess

import pytest

from hosts import BUILD, program, wait_for

REFUSER = """#!/usr/bin/python3
import os, sys
name = os.path.basename(sys.argv[0])
if sys.argv[1] == "--version":
    print(name, 99)
    sys.exit()
previous = sys.argv[sys.argv.index("--previous-fd") + 1]
os.execv(f"/proc/self/fd/{previous}", [name, *sys.argv[1:5], "--refused", "it is too old for me", *sys.argv[5:]])
"""
COUNT = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.01; done"
READ = 'while read line; do echo "got $line"; done; exit 9'


@pytest.fixture
def other_shim(host):
    """The same programs in another place."""
    host.path("/run/new").mkdir()
    for name in ("hydra-shim", "hydra-setup", "hydra", "hydrad", "hydra-monitor"):
        shutil.copy(program(name), host.path("/run/new"))
    return "/run/new/hydra-shim"


def run(host, rootfs, name, *command, options=()):
    host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, *options, *command)


def shim_file(host, name):
    return host.run("readlink", f"/proc/{host.inspect(name)['shimPid']}/exe").stdout.strip()


def upgrade(host, name, *options, **others):
    return host.ctl("upgrade", "shim", *options, name, **others)


def refuser(host, name):
    """A "new" binary that doesn't understand the state."""
    path = host.path(f"/run/{name}")
    path.write_text(REFUSER)
    path.chmod(0o755)
    return f"/run/{name}"


def numbers(text):
    return [int(word) for word in text.split()]


def test_the_pid_stays_and_output_has_no_gap(daemon_host, rootfs, other_shim):
    host = daemon_host
    run(host, rootfs, "web", "sh", "-c", COUNT)
    before = host.inspect("web")
    for _ in range(3):
        upgrade(host, "web", "--binary", other_shim)
        seen = len(numbers(host.ctl("logs", "web").stdout))
        wait_for(lambda: len(numbers(host.ctl("logs", "web").stdout)) > seen + 3, "further output")  # noqa: B023
    after = host.inspect("web")
    assert (after["pid"], after["shimPid"]) == (before["pid"], before["shimPid"]) and after["state"] == "running"
    assert shim_file(host, "web") == other_shim
    host.ctl("stop", "-t", "0", "web")
    got = numbers(host.ctl("logs", "web").stdout)
    assert got == list(range(1, len(got) + 1))
    assert host.inspect("web")["exit"]["exitCode"] == 137
    assert host.ctl("events", "web").stdout.count("upgraded") == 3


def test_sessions_and_waiting_calls_go_on(daemon_host, rootfs, other_shim):
    host = daemon_host
    run(host, rootfs, "web", "sh", "-c", READ, options=("-i",))
    session = host.popen([program("hydractl"), "exec", "-i", "web", "sh", "-c", READ], stdin=-1, stdout=-1, text=True)
    waiter = host.popen([program("hydractl"), "wait", "web"], stdout=-1, text=True)
    events = host.popen([program("hydractl"), "events", "--follow", "web"], stdout=-1, text=True)
    attached = host.popen([program("hydractl"), "attach", "web"], stdin=-1, stdout=-1, text=True)
    for number in range(5):
        for one in (session, attached):
            one.stdin.write(f"line {number}\n")
            one.stdin.flush()
            assert one.stdout.readline() == f"got line {number}\n"
        upgrade(host, "web", "--binary", other_shim)
    for one in (session, attached):
        one.stdin.close()
        assert one.wait(60) == 9
        one.stdout.close()
    assert waiter.communicate(timeout=60)[0] == "9\n"
    assert events.communicate(timeout=60)[0].count("upgraded") == 5


def test_a_terminal_and_a_stop_under_way(daemon_host, rootfs, other_shim):
    host = daemon_host
    run(host, rootfs, "web", "sh", "-c", "trap 'sleep 0.5; exit 4' TERM; echo ready; while true; do sleep 0.1; done", options=("-t",))
    wait_for(lambda: "ready" in host.ctl("logs", "web").stdout, "the program")
    stop = host.popen([program("hydractl"), "stop", "-t", "30", "web"])
    wait_for(lambda: host.inspect("web")["stopWasAsked"], "the order")
    upgrade(host, "web", "--binary", other_shim)
    assert stop.wait(60) == 0
    assert host.inspect("web")["exit"]["exitCode"] == 4


def test_a_binary_that_refuses_leaves_the_old_one(daemon_host, rootfs):
    host = daemon_host
    binary = refuser(host, "hydra-shim")
    run(host, rootfs, "web", "sh", "-c", COUNT)
    before = host.inspect("web")["shimPid"]
    refused = upgrade(host, "web", "--binary", binary, check=False)
    assert refused.returncode == 125 and "it is too old for me" in refused.stderr and "the old one goes on" in refused.stderr
    assert host.inspect("web")["shimPid"] == before
    seen = len(numbers(host.ctl("logs", "web").stdout))
    wait_for(lambda: len(numbers(host.ctl("logs", "web").stdout)) > seen + 3, "further output")
    got = numbers(host.ctl("logs", "web").stdout)
    assert got == list(range(1, len(got) + 1))
    assert upgrade(host, "web").returncode == 0


@pytest.mark.parametrize("path, message", [("/nowhere", "/nowhere"), ("/bin/true", "is no hydra-shim"), ("/etc/passwd", "/etc/passwd")])
def test_what_is_no_shim_is_refused(daemon_host, rootfs, path, message):
    run(daemon_host, rootfs, "web", "sleep", "1000")
    refused = upgrade(daemon_host, "web", "--binary", path, check=False)
    assert refused.returncode == 125 and message in refused.stderr
    assert daemon_host.inspect("web")["state"] == "running"


def test_all_of_them_with_progress(daemon_host, rootfs, other_shim):
    host = daemon_host
    for name in ("a", "b", "c"):
        run(host, rootfs, name, "sleep", "1000")
    run(host, rootfs, "ended", "true")
    wait_for(lambda: host.inspect("ended")["state"] == "stopped", "its end")
    assert sorted(host.ctl("upgrade", "shim", "--all", "--binary", other_shim).stdout.split(": ")[0] for _ in (0,)) != []
    done = json.loads(host.ctl("--format", "json", "upgrade", "shim", "--all").stdout)
    assert sorted(item["name"] for item in done) == ["a", "b", "c"]
    assert {shim_file(host, name) for name in ("a", "b", "c")} == {os.path.realpath(BUILD / "shim" / "hydra-shim")}


def test_a_successor_takes_over_from_an_upgraded_shim(daemon_host, rootfs, other_shim):
    host = daemon_host
    run(host, rootfs, "web", "sh", "-c", COUNT)
    upgrade(host, "web", "--binary", other_shim)
    before = host.inspect("web")["shimPid"]
    host.run("kill", "-9", str(before))
    wait_for(lambda: (seen := host.inspect("web"))["isReachable"] and seen["shimPid"] != before, "the successor")
    seen = len(numbers(host.ctl("logs", "web").stdout))
    wait_for(lambda: len(numbers(host.ctl("logs", "web").stdout)) > seen + 3, "further output")


def test_upgrades_under_load_lose_no_request(daemon_host, rootfs, other_shim):
    host = daemon_host
    run(host, rootfs, "web", "sleep", "1000")
    loads = [host.popen(["sh", "-c", f"for i in $(seq 50); do {program('hydractl')} exec web true || exit 1; "
                         f"{program('hydractl')} inspect web >/dev/null || exit 2; done"], stdout=subprocess.DEVNULL)
             for _ in range(2)]
    count = 0
    while any(load.poll() is None for load in loads):
        upgrade(host, "web", "--binary", other_shim)
        count += 1
    assert [load.wait() for load in loads] == [0, 0] and count > 3


def exe_of(host, name):
    pid = host.pid_of(name)
    return pid, os.readlink(f"/proc/{pid}/exe")


@pytest.mark.parametrize("what, name", [("daemon", "hydrad"), ("monitor", "hydra-monitor")])
def test_the_daemon_and_the_monitor_keep_their_pid(daemon_host, rootfs, other_shim, what, name):
    host = daemon_host
    run(host, rootfs, "web", "sh", "-c", COUNT)
    pid = exe_of(host, name)[0]
    for number in range(3):
        binary = f"/run/new/{name}" if number % 2 == 0 else program(name)
        assert "0.1.0 -> 0.1.0" in host.ctl("upgrade", what, "--binary", binary).stdout
        assert exe_of(host, name) == (pid, os.path.realpath(binary) if number % 2 else binary)
        run(host, rootfs, f"new{number}", "true")
        assert {item["id"] for item in host.json("ps", "-a")} >= {"web", f"new{number}"}
    before = host.inspect("web")["shimPid"]
    host.run("kill", "-9", str(before))  # deposits and watches are still there
    wait_for(lambda: (seen := host.inspect("web"))["isReachable"] and seen["shimPid"] != before, "the successor")
    seen = len(numbers(host.ctl("logs", "web").stdout))
    wait_for(lambda: len(numbers(host.ctl("logs", "web").stdout)) > seen + 3, "further output")


@pytest.mark.parametrize("what, name", [("daemon", "hydrad"), ("monitor", "hydra-monitor")])
def test_a_refused_upgrade_of_the_daemon_or_monitor_changes_nothing(daemon_host, rootfs, what, name):
    host = daemon_host
    run(host, rootfs, "web", "sleep", "1000")
    before = exe_of(host, name)
    refused = host.ctl("upgrade", what, "--binary", refuser(host, name), check=False)
    assert refused.returncode == 125 and "it is too old for me" in refused.stderr
    assert exe_of(host, name) == before
    assert host.ctl("upgrade", what).returncode == 0
    run(host, rootfs, "more", "true")


def test_everything_is_upgraded_under_requests_and_none_fails(daemon_host, rootfs, other_shim):
    host = daemon_host
    run(host, rootfs, "web", "sh", "-c", COUNT)
    ctl = program("hydractl")
    followers = [host.popen([ctl, "events", "--follow", "web"], stdout=-1, text=True), host.popen([ctl, "logs", "-f", "web"], stdout=-1, text=True)]
    loads = [host.popen(["sh", "-c", f"for i in $(seq 25); do {ctl} run -d --name {letter}$i --rootfs {rootfs} true && {ctl} ps >/dev/null "
                         f"&& {ctl} wait {letter}$i >/dev/null && {ctl} rm {letter}$i || exit 1; done"], stdout=subprocess.DEVNULL)
             for letter in "ab"]
    count = 0
    while any(load.poll() is None for load in loads):
        for what in (["daemon"], ["monitor"], ["shim", "web"]):
            name = {"daemon": "hydrad", "monitor": "hydra-monitor", "shim": "hydra-shim"}[what[0]]
            host.ctl("upgrade", *what, "--binary", f"/run/new/{name}")
            count += 1
    assert [load.wait() for load in loads] == [0, 0] and count > 6
    host.ctl("stop", "-t", "0", "web")
    events, logs = (follower.communicate(timeout=60)[0] for follower in followers)
    got = numbers(logs)
    assert got == list(range(1, len(got) + 1))
    assert events.count("upgraded") == count // 3


def test_a_shim_that_ends_while_it_is_asked_is_none_that_runs(host, rootfs):
    """What such a shim does last: it goes from its socket with a request unread."""
    host.ctl("run", "--name", "over", "--rootfs", rootfs, "true")
    wait_for(lambda: not host.inspect("over")["isReachable"], "the end of its shim")
    path = host.path("/run/hydra/default/over/shim.sock")
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        asking = host.popen([program("hydractl"), "upgrade", "shim", "over", "--binary", program("hydra-shim")], stderr=-1, text=True)
        connection = listener.accept()[0]
        connection.recv(1, socket.MSG_PEEK)
        path.unlink()
    connection.close()
    assert "has no shim that runs" in asking.stderr.read()
    asking.stderr.close()
    assert asking.wait(60) != 0
