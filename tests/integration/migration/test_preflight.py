# SPDX-License-Identifier: Apache-2.0
"""What is in the way of a migration is found before anything is stopped: all of it, with what can be done about it."""
import json
import os
import pathlib
import pty
import shutil
import socket

import pytest

from cluster import COUNT, assert_counts_on, lines, names, run, wait_for


def dry_run(cluster, name, *options):
    done = cluster.a.ctl("--format", "json", "migrate", "--dry-run", *options, name, cluster.b.address, check=False)
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["canMigrate"] else 1)
    assert all(problem["object"] and problem["reason"] and problem["host"] for problem in report["problems"]), report
    return report


def reasons(report):
    return "\n".join(f"{problem['object']}: {problem['reason']}" for problem in report["problems"])


def test_nothing_is_in_the_way_and_nothing_changes(counter):
    before = counter.a.inspect("counter")
    report = dry_run(counter, "counter")
    assert report["canMigrate"] and report["problems"] == [] and report["mode"] == "post-copy" and report["modeReason"]
    assert report["memoryBytes"] > 0 and report["tasks"] >= 1 and report["expectedDowntimeMs"] > 0
    after = counter.a.inspect("counter")
    assert (after["state"], after["pid"], after["migration"]) == (before["state"], before["pid"], before["migration"])
    assert "migration" not in counter.a.ctl("events", "counter").stdout
    assert not list(counter.a.path("/run/hydra/.migrations").glob("*"))
    assert names(counter.b) == set() and not counter.b.path("/var/lib/hydra/default/counter").exists()
    assert_counts_on(counter.a)


def test_people_read_it_as_text(counter):
    said = counter.a.ctl("migrate", "--dry-run", "--mode", "cold", "counter", counter.b.address).stdout
    assert "mode        cold: it was asked for" in said and "in the way  nothing" in said and "downtime    about" in said


def test_everything_in_the_way_is_told_at_once(cluster, rootfs, tmp_path):
    """At the source and at the target."""
    shutil.copytree(rootfs, tmp_path / "only" / "rootfs", symlinks=True)
    (tmp_path / "data").mkdir()
    run(cluster.a, str(tmp_path / "only" / "rootfs"), "many", "sh", "-c", COUNT, options=("-v", f"{tmp_path}/data:/data", "--network", "host"))
    run(cluster.b, rootfs, "many", "sleep", "1000")
    cluster.b.run("mount", "-t", "tmpfs", "tmpfs", str(tmp_path))
    session = cluster.a.popen([cluster.a.program("hydractl"), "exec", "many", "sleep", "1000"])
    try:
        wait_for(lambda: cluster.a.inspect("many").get("execs"), "the exec")
        report = dry_run(cluster, "many")
        said = reasons(report)
    finally:
        session.kill()
        session.wait()
    assert "it uses the network of this host" in said
    assert "exec '" in said
    assert f"'{tmp_path}/data' is missing here" in said
    assert "'many' is here already" in said
    assert {problem["host"] for problem in report["problems"]} != {""}
    assert all(problem["remedy"] for problem in report["problems"])
    done = cluster.a.ctl("migrate", "many", cluster.b.address, check=False)
    assert done.returncode == 125 and cluster.a.inspect("many")["state"] == "running"
    assert "freeze" not in done.stdout


@pytest.mark.parametrize("mode", ["cold", "post-copy"])
def test_a_mode_can_be_chosen(counter, mode):
    last = lines(counter.a, "counter")[-1]
    counter.migrate("counter", counter.a, "--mode", mode)
    wait_for(lambda: len(lines(counter.b, "counter")) > 5, "it to count on")
    seen = lines(counter.b, "counter")
    assert seen == list(range(seen[0], seen[0] + len(seen))) and seen[0] > last


def test_a_mode_that_does_not_exist(counter):
    done = counter.a.ctl("migrate", "--mode", "warm", "counter", counter.b.address, check=False)
    assert done.returncode == 125 and "expected auto, post-copy, pre-copy, hybrid or cold" in done.stderr


def test_exec_sessions_are_ended_when_that_is_asked_for(counter):
    session = counter.a.popen([counter.a.program("hydractl"), "exec", "counter", "sh", "-c", "touch /data/here; sleep 1000"])
    wait_for(counter.a.path("/var/lib/hydra/default/counter/upper/data/here").exists, "the exec")
    refused = counter.a.ctl("migrate", "counter", counter.b.address, check=False)
    assert refused.returncode == 125 and "can't be moved" in refused.stderr
    counter.migrate("counter", counter.a, "--exec-sessions", "end")
    assert session.wait(30) == 137
    assert_counts_on(counter.b)


OBSTACLES = {
    "io_uring": "an io_uring", "userfaultfd": "a userfaultfd", "counter": "a performance counter", "crypto": "its address family",
    "outside": "its other end is outside", "tracer": "it is traced by process",
}


def test_what_cannot_be_saved_is_named_before_anything_is_stopped(cluster, rootfs, tmp_path):
    """With the process and its descriptor; what this kernel does not have can't be in the way."""
    with socket.socket(socket.AF_UNIX) as listener:
        (tmp_path / "data").mkdir()
        listener.bind(str(tmp_path / "data/outside.sock"))
        listener.listen()
        run(cluster.a, rootfs, "held", "obstacles", *OBSTACLES, options=("-v", f"{tmp_path}/data:/data", "--privileged"))
        ready = wait_for(lambda: [line for line in cluster.a.ctl("logs", "held").stdout.split("\n") if line.startswith("READY")], "it")
        had = ready[0].split()[1:]
        assert "outside" in had and "tracer" in had
        server, _ = listener.accept()
        report = dry_run(cluster, "held")
        said = reasons(report)
        for name in had:
            assert OBSTACLES[name] in said, (name, said)
        assert not [name for name in OBSTACLES if name not in had and OBSTACLES[name] in said], said
        assert all("process" in problem["object"] for problem in report["problems"])
        done = cluster.a.ctl("migrate", "held", cluster.b.address, check=False)
        assert done.returncode == 125 and "freeze" not in done.stdout and f"and {len(report['problems'])}" not in done.stderr
        assert cluster.a.inspect("held")["state"] == "running"
        server.close()


def test_a_job_in_the_foreground_of_a_terminal(cluster, rootfs):
    run(cluster.a, rootfs, "shell", "sh", options=("-t", "-i"))
    leader, follower = pty.openpty()
    session = cluster.a.popen([cluster.a.program("hydractl"), "attach", "shell"], stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    os.write(leader, b"sleep 1000\r")
    try:
        report = wait_for(lambda: (lambda found: found if found["problems"] else None)(dry_run(cluster, "shell")), "the job")
        assert "in the foreground" in reasons(report)
        os.write(leader, b"\x03")
        wait_for(lambda: dry_run(cluster, "shell")["canMigrate"], "the end of the job")
    finally:
        cluster.a.kill("hydractl")
        session.wait()
        os.close(leader)
    cluster.migrate("shell", cluster.a)
    assert cluster.b.inspect("shell")["state"] == "running"


def test_a_target_with_too_little_memory(counter):
    """A limit above all containers of the target counts."""
    if os.path.isdir("/sys/fs/cgroup/memory"):
        group, limit = pathlib.Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
    else:
        group, limit = pathlib.Path("/sys/fs/cgroup"), "memory.max"
    group /= counter.b.env["HYDRA_CGROUP"].lstrip("/")
    group.mkdir(exist_ok=True)
    (group / limit).write_text("65536")
    try:
        assert "are allowed here" in reasons(dry_run(counter, "counter"))
    finally:
        group.rmdir()
