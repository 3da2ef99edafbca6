# SPDX-License-Identifier: Apache-2.0
"""Logs that can't be written: what the application notices, what is in the log afterwards, and a shim that dies meanwhile."""
import re
import signal

import pytest

from hosts import wait_for
from logs import DISK, Disk, counters, fill, lines, log_bytes, log_options, log_path, run, touch, wait_for_written

COUNT = 50000  # lines; more than pipes hold, less than spills do
SIZE = len(lines(1, COUNT))


@pytest.fixture
def disk(host):
    made = Disk(host)
    yield made
    host.ctl("rm", "-f", "web", check=False)
    made.remove()


def start_when_full(host, rootfs, disk, tmp_path, *options):
    """Says "ready" while there is room, COUNT lines when there is none any more, and then makes /data/done."""
    run(host, rootfs, "web", f"echo ready; while [ ! -e /data/go ]; do sleep 0.05; done; seq 1 {COUNT}; touch /data/done; exec sleep 1000",
        *log_options(path=disk.path), *options, mount=tmp_path)
    wait_for_written(host, "web", len("ready\n"))
    disk.fill()
    touch(tmp_path, "go")


def test_a_full_disk_spills_and_nothing_is_lost(host, rootfs, disk, tmp_path):
    start_when_full(host, rootfs, disk, tmp_path)
    wait_for((tmp_path / "done").exists, "the application, which nothing holds up")
    stats = wait_for(lambda: (now := counters(host, "web"))["logReadBytes"] == SIZE + 6 and now, "its output to be read")
    assert stats["logSpilledBytes"] > 0 and stats["logDroppedBytes"] == 0 and stats["logProblem"] == "No space left on device"
    assert f"{stats['logSpilledBytes']} further bytes are not in the log yet: No space left on device" in host.ctl("logs", "web").stderr
    disk.relieve()
    assert wait_for_written(host, "web", SIZE + 6)["logProblem"] == ""
    assert log_bytes(host, "web") == b"ready\n" + lines(1, COUNT)
    assert host.path("/run/hydra/default/web/spill").stat().st_size <= 65536, "the spill file is given back"


def test_with_the_run_directory_full_as_well_the_application_goes_on(host, rootfs, disk, tmp_path):
    run(host, rootfs, "web", f"echo ready; while [ ! -e /data/go ]; do sleep 0.05; done; seq 1 {COUNT}; touch /data/done; exec sleep 1000",
        *log_options(path=disk.path), mount=tmp_path)
    wait_for_written(host, "web", len("ready\n"))
    disk.fill()
    host.run("mount", "-o", "remount,size=8m", "/run")
    fill(host.path("/run/filler"))
    touch(tmp_path, "go")
    wait_for((tmp_path / "done").exists, "the application, which nothing holds up")
    wait_for(lambda: counters(host, "web")["logReadBytes"] == SIZE + 6, "its output to be read")
    host.path("/run/filler").unlink()
    disk.relieve()
    stats = wait_for(lambda: (now := counters(host, "web"))["logSpilledBytes"] == 0 and now, "the rest in the log")
    before, _, after = log_bytes(host, "web").partition(b"[hydra: %d bytes of output could not be written here]\n" % stats["logDroppedBytes"])
    assert len(before) + len(after) == stats["logBytes"] and stats["logDroppedBytes"] <= 65536
    said = b"ready\n" + lines(1, COUNT)
    assert said.startswith(before) and said.endswith(after)


@pytest.mark.parametrize("options", [{"policy": "drop-oldest"}, {"policy": "spill", "spill_size": "64k"}])
def test_what_is_too_much_is_dropped_counted_and_marked(host, rootfs, disk, tmp_path, options):
    start_when_full(host, rootfs, disk, tmp_path, *log_options(**options))
    wait_for((tmp_path / "done").exists, "the application, which nothing holds up")
    stats = wait_for(lambda: (now := counters(host, "web"))["logReadBytes"] == SIZE + 6 and now, "its output to be read")
    assert 0 < stats["logSpilledBytes"] <= 65536 and stats["logDroppedBytes"] > 0
    disk.relieve()
    stats = wait_for(lambda: (now := counters(host, "web"))["logSpilledBytes"] == 0 and now, "the rest in the log")
    mark = f"[hydra: {stats['logDroppedBytes']} bytes of output could not be written here]\n".encode()
    before, after = log_bytes(host, "web").split(mark)
    assert len(before) + len(after) == stats["logBytes"] and len(before + after) + stats["logDroppedBytes"] == SIZE + 6
    said = b"ready\n" + lines(1, COUNT)
    assert said.startswith(before) and said.endswith(after)


def test_blocking_makes_the_application_wait(host, rootfs, disk, tmp_path):
    start_when_full(host, rootfs, disk, tmp_path, *log_options(policy="block"))
    wait_for(lambda: counters(host, "web")["logSpilledBytes"] > 0, "output that can't be written")
    # what it says is more than the pipe and one read hold
    assert not (tmp_path / "done").exists() and counters(host, "web")["logReadBytes"] < SIZE
    disk.relieve()
    wait_for((tmp_path / "done").exists, "the application to go on")
    wait_for_written(host, "web", SIZE + 6)
    assert log_bytes(host, "web") == b"ready\n" + lines(1, COUNT) and counters(host, "web")["logDroppedBytes"] == 0


def test_another_policy_lets_a_waiting_application_go_on(host, rootfs, disk, tmp_path):
    start_when_full(host, rootfs, disk, tmp_path, *log_options(policy="block"))
    wait_for(lambda: counters(host, "web")["logSpilledBytes"] > 0, "output that can't be written")
    host.ctl("update", "--log-opt", "policy=spill", "web")
    wait_for((tmp_path / "done").exists, "the application to go on")
    disk.relieve()
    wait_for_written(host, "web", SIZE + 6)
    assert log_bytes(host, "web") == b"ready\n" + lines(1, COUNT)
    assert host.inspect("web")["log"]["policy"] == "LOG_POLICY_SPILL"


def test_another_path_takes_what_waits(host, rootfs, disk, tmp_path):
    start_when_full(host, rootfs, disk, tmp_path)
    wait_for(lambda: counters(host, "web")["logReadBytes"] == SIZE + 6, "the output")
    host.ctl("update", "--log-opt", "path=/run/other.log", "web")
    wait_for_written(host, "web", SIZE + 6)
    disk.relieve()
    files = host.path(disk.path).read_bytes() + host.path("/run/other.log").read_bytes()
    # a line that was read in two parts is in two: P has no end of its own
    assert re.sub(rb"(?m)^\S+ stdout (?:F |P (.*)\n)", rb"\1", files) == log_bytes(host, "web") == b"ready\n" + lines(1, COUNT)


def test_a_blocked_container_can_be_removed(host, rootfs, disk, tmp_path):
    start_when_full(host, rootfs, disk, tmp_path, *log_options(policy="block"))
    wait_for(lambda: counters(host, "web")["logSpilledBytes"] > 0, "output that can't be written")
    host.ctl("rm", "-f", "web")
    assert host.json("ps", "-a") == []


def test_what_waits_at_the_end_is_written_at_the_next_start(host, rootfs, disk, tmp_path):
    run(host, rootfs, "web", "echo ready; while [ ! -e /data/go ]; do sleep 0.05; done; [ -e /data/again ] || seq 1 1000",
        *log_options(path=disk.path), mount=tmp_path)
    wait_for_written(host, "web", 6)
    disk.fill()
    touch(tmp_path, "go")
    wait_for(lambda: (seen := host.inspect("web"))["state"] == "stopped" and not seen["isReachable"], "the end")
    assert f"{len(lines(1, 1000))} further bytes are not in the log yet" in host.ctl("logs", "web").stderr
    disk.relieve()
    touch(tmp_path, "again")
    host.ctl("start", "web")
    wait_for(lambda: host.inspect("web")["state"] == "stopped" and not host.inspect("web")["isReachable"], "the second end")
    assert log_bytes(host, "web") == b"ready\n" + lines(1, 1000) + b"ready\n"
    assert host.inspect("web")["logPendingBytes"] == 0


def test_a_read_only_disk_is_waited_for(host, rootfs, disk):
    host.run("mount", "-o", "remount,ro", DISK)
    run(host, rootfs, "web", f"seq 1 {COUNT}; exec sleep 1000", *log_options(path=disk.path))
    stats = wait_for(lambda: (now := counters(host, "web"))["logReadBytes"] == SIZE and now, "the output")
    assert stats["logProblem"] == "Read-only file system" and stats["logBytes"] == 0
    refused = host.ctl("update", "--log-opt", "format=raw", "web", check=False)
    assert refused.returncode == 125 and "Read-only file system" in refused.stderr
    host.run("mount", "-o", "remount,rw", DISK)
    wait_for_written(host, "web", SIZE)
    assert log_bytes(host, "web") == lines(1, COUNT)


def test_a_disk_that_becomes_read_only_is_noticed_at_rotation(host, rootfs, disk, tmp_path):
    run(host, rootfs, "web", f"echo ready; while [ ! -e /data/go ]; do sleep 0.05; done; seq 1 {COUNT}; exec sleep 1000",
        *log_options(path=disk.path, format="raw", max_size="64k", max_files=100), mount=tmp_path)
    wait_for_written(host, "web", 6)
    host.run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", DISK)
    touch(tmp_path, "go")
    wait_for(lambda: counters(host, "web")["logProblem"] == "Read-only file system", "the failure")
    wait_for(lambda: counters(host, "web")["logReadBytes"] == SIZE + 6, "the output")
    host.run("umount", DISK)
    wait_for_written(host, "web", SIZE + 6)
    assert log_bytes(host, "web") == b"ready\n" + lines(1, COUNT)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_deleted_log_is_made_anew(host, rootfs, tmp_path, what):
    run(host, rootfs, "web", "echo one; while [ ! -e /data/go ]; do sleep 0.05; done; echo two; exec sleep 1000", mount=tmp_path)
    wait_for_written(host, "web", 4)
    path = log_path(host, "web")
    follower = host.popen([host.program("hydractl"), "logs", "-f", "web"], stdout=-1, text=True)
    assert follower.stdout.readline() == "one\n"
    path.unlink()
    if what == "folder":
        path.parent.rmdir()
    touch(tmp_path, "go")
    wait_for_written(host, "web", 8)
    assert log_bytes(host, "web") == b"two\n"
    host.ctl("stop", "-t", "0", "web")
    assert follower.stdout.read() == "two\n" and follower.wait(60) == 0
    follower.stdout.close()


def test_followers_read_nothing_twice_when_the_log_is_deleted(host, rootfs, tmp_path):
    run(host, rootfs, "web", "seq 1 500; while [ ! -e /data/go ]; do sleep 0.05; done; echo end",
        *log_options(max_size="4k", max_files=100), mount=tmp_path)
    wait_for_written(host, "web", len(lines(1, 500)))
    follower = host.popen([host.program("hydractl"), "logs", "-f", "web"], stdout=-1, text=True)
    assert "".join(follower.stdout.readline() for _ in range(500)) == lines(1, 500).decode()
    log_path(host, "web").unlink()
    touch(tmp_path, "go")
    assert follower.stdout.read() == "end\n" and follower.wait(60) == 0
    follower.stdout.close()


def successor(host, before):
    return wait_for(lambda: (seen := host.inspect("web"))["isReachable"] and seen["shimPid"] != before and seen, "the successor")


@pytest.mark.parametrize("policy", ["spill", "drop-oldest", "block"])
def test_a_shim_killed_while_spilling_loses_and_doubles_nothing(daemon_host, rootfs, tmp_path, policy):
    host, disk = daemon_host, Disk(daemon_host)
    start_when_full(host, rootfs, disk, tmp_path, *log_options(policy=policy))
    for _ in range(3):
        wait_for(lambda: counters(host, "web")["logSpilledBytes"] > 0, "output that can't be written")
        pid = host.inspect("web")["shimPid"]
        host.run("kill", f"-{int(signal.SIGKILL)}", str(pid))
        successor(host, pid)
    if policy != "block":
        wait_for(lambda: counters(host, "web")["logReadBytes"] == SIZE + 6, "all output")
    disk.relieve()
    wait_for((tmp_path / "done").exists, "the application")
    stats = wait_for(lambda: (now := counters(host, "web"))["logReadBytes"] == SIZE + 6 and now["logSpilledBytes"] == 0 and now,
                     "everything in the log")
    kept = re.split(rb"\[hydra: \d+ bytes of output could not be written here\]\n", log_bytes(host, "web"))
    assert sum(map(len, kept)) == stats["logBytes"]
    if policy == "drop-oldest":
        assert (b"ready\n" + lines(1, COUNT)).endswith(kept[-1]) and stats["logDroppedBytes"] > 0
    else:
        assert kept == [b"ready\n" + lines(1, COUNT)] and stats["logDroppedBytes"] == 0
    host.ctl("rm", "-f", "web")
    disk.remove()


@pytest.mark.parametrize("point", ["shim.output-taken", "shim.before-log", "shim.after-log"])
@pytest.mark.parametrize("format_name", ["cri", "json-file", "raw"])
def test_a_shim_killed_between_pipe_and_log_loses_and_doubles_nothing(daemon_host, rootfs, tmp_path, point, format_name):
    host = daemon_host
    run(host, rootfs, "web", f"while [ ! -e /data/go ]; do sleep 0.05; done; seq 1 {COUNT}; exec sleep 1000",
        *log_options(format=format_name, max_size="32k", max_files=1000), mount=tmp_path)
    pid = host.inspect("web")["shimPid"]
    deaths = 0
    while deaths < 3 and counters(host, "web")["logReadBytes"] < SIZE:
        host.order_fault(point)
        touch(tmp_path, "go")
        wait_for(lambda: host.has_arrived(point) or counters(host, "web")["logReadBytes"] == SIZE, "the fault, or the end")
        if host.has_arrived(point):
            pid = successor(host, pid)["shimPid"]
            deaths += 1
        host.forget_faults()
    assert deaths > 0
    wait_for_written(host, "web", SIZE)
    assert log_bytes(host, "web") == lines(1, COUNT) and counters(host, "web")["logBytes"] == SIZE
