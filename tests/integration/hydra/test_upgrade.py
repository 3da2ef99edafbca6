# SPDX-License-Identifier: Apache-2.0
"""Another binary takes a shim's place: same pid, and nobody notices more than a pause."""
import json
import os
import shutil
import subprocess

import pytest

from hosts import BUILD, program, wait_for

COUNT = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.01; done"
READ = 'while read line; do echo "got $line"; done; exit 9'


@pytest.fixture
def other_shim(host):
    """The same programs in another place."""
    host.path("/run/new").mkdir()
    for name in ("hydra-shim", "hydra-setup", "hydra"):
        shutil.copy(program(name), host.path("/run/new"))
    return "/run/new/hydra-shim"


def run(host, rootfs, name, *command, options=()):
    host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, *options, *command)


def shim_file(host, name):
    return host.run("readlink", f"/proc/{host.inspect(name)['shimPid']}/exe").stdout.strip()


def upgrade(host, name, *options, **others):
    return host.ctl("upgrade", "shim", *options, name, **others)


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
    refuser = host.path("/run/refuser")
    refuser.write_text("""#!/bin/sh
[ "$1" = --version ] && { echo hydra-shim 99; exit; }
for word; do [ "$last" = --previous-fd ] && fd=$word; last=$word; done
exec /proc/self/fd/$fd "$@" --refused "it is too old for me"
""")
    refuser.chmod(0o755)
    run(host, rootfs, "web", "sh", "-c", COUNT)
    before = host.inspect("web")["shimPid"]
    refused = upgrade(host, "web", "--binary", "/run/refuser", check=False)
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
