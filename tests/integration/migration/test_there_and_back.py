# SPDX-License-Identifier: Apache-2.0
"""A container moves and is itself afterwards."""
import os
import pty
import re
import select
import shutil
import tty

import pytest

from cluster import BUILD, COUNT, DEADLINE, lines, names, run, wait_for


def test_a_counter_goes_and_comes_back(cluster, rootfs):
    run(cluster.a, rootfs, "counter", "sh", "-c", COUNT)
    wait_for(lambda: len(lines(cluster.a, "counter")) > 5, "it to count")
    last = 0
    for source in (cluster.a, cluster.b, cluster.a, cluster.b):
        target = cluster.other(source)
        last = lines(source, "counter")[-1]
        cluster.migrate("counter", source)
        assert names(source) == set()
        assert target.inspect("counter")["state"] == "running"
        wait_for(lambda: len(lines(target, "counter")) > 5, "it to count on")
        seen = lines(target, "counter")
        assert seen == list(range(seen[0], seen[0] + len(seen))) and seen[0] > last
        assert target.ctl("exec", "counter", "sh", "-c", "echo hello; exit 3", check=False).stdout == "hello\n"
    cluster.a.ctl("stop", "counter")
    assert cluster.a.inspect("counter")["exit"]["exitCode"] == 7


def test_files_and_verbs_of_a_container_that_moved(cluster, rootfs):
    run(cluster.a, rootfs, "files", "sh", "-c", "echo secret >/data/note; rm /bin/wget; while true; do sleep 1; done",
        options=("--memory", "128m", "--pids", "50"))
    wait_for(lambda: cluster.a.ctl("exec", "files", "cat", "/data/note", check=False).stdout == "secret\n", "the file")
    cluster.migrate("files", cluster.a)
    host = cluster.b
    assert host.ctl("exec", "files", "cat", "/data/note").stdout == "secret\n"
    assert host.ctl("exec", "files", "test", "-e", "/bin/wget", check=False).returncode == 1
    host.ctl("pause", "files")
    assert host.inspect("files")["state"] == "paused"
    host.ctl("resume", "files")
    assert host.json("stats", "files")["memoryLimitBytes"] in (128 << 20, str(128 << 20))
    host.ctl("kill", "-s", "KILL", "files")
    wait_for(lambda: host.inspect("files")["state"] == "stopped", "its end")
    assert host.inspect("files")["exit"]["signal"] == 9
    host.ctl("start", "files")
    assert host.inspect("files")["state"] == "running"


def test_a_root_that_is_read_only_and_has_no_tmp(cluster, rootfs, tmp_path):
    """CRIU needs a folder there, for a moment; afterwards the root is what it was."""
    root = tmp_path / "root"
    shutil.copytree(rootfs, root, symlinks=True)
    (root / "tmp").rmdir()
    run(cluster.a, root, "counter", "sh", "-c", COUNT, options=("--read-only",))
    wait_for(lambda: len(lines(cluster.a, "counter")) > 5, "it to count")
    for source in (cluster.a, cluster.b):
        cluster.migrate("counter", source)
        host = cluster.other(source)
        wait_for(lambda: len(lines(host, "counter")) > 5, "it to count on")
        assert "tmp" not in host.ctl("exec", "counter", "ls", "/").stdout.split()
        assert host.ctl("exec", "counter", "mkdir", "/tmp", check=False).returncode == 1


def test_memory_arrives_whole(cluster, rootfs):
    """ticker fills memory with a pattern and checks it again and again while it moves."""
    run(cluster.a, rootfs, "memory", "sh", "-c",
        "dd if=/dev/urandom bs=1M count=24 of=/tmp/data 2>/dev/null; v=$(base64 </tmp/data | head -c 20000000); "
        "s=$(echo \"$v\" | md5sum); echo ready; while true; do t=$(echo \"$v\" | md5sum); "
        "[ \"$s\" = \"$t\" ] && echo same || echo DIFFERENT; done")
    wait_for(lambda: "same" in cluster.a.ctl("logs", "memory").stdout, "the memory")
    cluster.migrate("memory", cluster.a)
    wait_for(lambda: cluster.b.ctl("logs", "memory").stdout.count("same") > 1, "the comparison after the move")
    assert "DIFFERENT" not in cluster.b.ctl("logs", "memory").stdout


def ask(host, name, question):
    """One line of a container's program, in answer to one of ours; the session ends without ending its input."""
    session = host.popen([host.program("hydractl"), "attach", name], stdin=-1, stdout=-1, text=True)
    session.stdin.write(question + "\n")
    session.stdin.flush()
    while not (line := session.stdout.readline()).startswith(question.upper()):
        assert line, "the session ended"
    host.kill("hydractl")  # before its input ends: it would tell the program
    session.wait()
    session.stdin.close()
    session.stdout.close()
    return line.strip()


def test_256_mib_are_the_same_page_by_page(cluster, rootfs):
    cluster.a.ctl("create", "-i", "--name", "hash", "--rootfs", rootfs, "ticker", "256")
    cluster.a.ctl("start", "hash")
    assert ask(cluster.a, "hash", "verify") == "VERIFY bad=0 pages=65536"
    cluster.migrate("hash", cluster.a)
    assert ask(cluster.b, "hash", "verify") == "VERIFY bad=0 pages=65536"
    cluster.migrate("hash", cluster.b)
    assert ask(cluster.a, "hash", "verify") == "VERIFY bad=0 pages=65536"


def on_a_terminal(host, *arguments):
    """Runs hydractl with a terminal as stdio. Returns the exit status and what it showed."""
    leader, follower = pty.openpty()
    session = host.popen([str(BUILD / "cli" / "hydractl"), *map(str, arguments)], stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    while select.select([leader], [], [], DEADLINE)[0]:
        try:
            shown += os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
    os.close(leader)
    return session.wait(DEADLINE), shown.decode()


def test_a_terminal_moves_and_progress_is_a_bar(cluster, rootfs):
    run(cluster.a, rootfs, "shell", "sh", "-c", "tty; i=0; while read x; do i=$((i+1)); echo line $i pid $$; done", options=("-t", "-i"))
    wait_for(lambda: "/dev/pts/0" in cluster.a.ctl("logs", "shell").stdout, "the terminal")
    status, shown = on_a_terminal(cluster.a, "migrate", "shell", cluster.b.address)
    assert status == 0, shown
    assert re.search(r"\r\w+ +\[#+ *\] +100%", shown) and "moved to" in shown
    leader, follower = pty.openpty()
    session = cluster.b.popen([str(BUILD / "cli" / "hydractl"), "attach", "shell"], stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    os.write(leader, b"typed\r")
    wait_for(lambda: "line 1 pid 1" in cluster.b.ctl("logs", "shell").stdout, "an answer to what was typed")
    assert cluster.b.ctl("exec", "shell", "readlink", "/proc/1/fd/0").stdout == "/dev/pts/0\n"
    cluster.b.ctl("rm", "-f", "shell")
    session.wait(DEADLINE)
    os.close(leader)


class Typist:
    """Types at a container's terminal; the container begins to read when it is told to."""

    def __init__(self, cluster, rootfs):
        run(cluster.a, rootfs, "typist", "sh", "-c",
            "echo ready; until [ -e /go ]; do sleep 0.05; done; while read x; do echo \"<$x>\"; done", options=("-t", "-i"))
        wait_for(lambda: "ready" in cluster.a.ctl("logs", "typist").stdout, "the terminal")

    def type(self, host, keys, echo):
        leader, follower = pty.openpty()
        tty.setraw(follower)
        session = host.popen([str(BUILD / "cli" / "hydractl"), "attach", "typist"], stdin=follower, stdout=follower, stderr=follower)
        os.close(follower)
        os.write(leader, keys)
        wait_for(lambda: echo in host.ctl("logs", "typist").stdout, "the echo")
        session.kill()
        session.wait(DEADLINE)
        os.close(leader)

    def expect(self, host, *lines_read, shown):
        host.ctl("exec", "typist", "touch", "/go")
        wait_for(lambda: f"<{lines_read[-1]}>" in host.ctl("logs", "typist").stdout, "all of it to be read")
        said = host.ctl("logs", "typist").stdout
        assert re.findall("<.*?>", said) == [f"<{line}>" for line in lines_read] and said.count("first") == shown
        host.ctl("rm", "-f", "typist")


@pytest.mark.parametrize("mode", ["post-copy", "cold"])
def test_what_was_typed_and_not_read_is_read_after_the_move(cluster, rootfs, mode):
    """Whole lines, one that its writer has begun, and what is no text; it is shown no second time."""
    typist = Typist(cluster, rootfs)
    typist.type(cluster.a, b"first\rsecond \x16\x01 line\rthi", "thi")
    cluster.migrate("typist", cluster.a, "--mode", mode)
    typist.type(cluster.b, b"rd\r", "rd")
    typist.expect(cluster.b, "second \x01 line", "third") if False else typist.expect(cluster.b, "first", "second \x01 line", "third", shown=1)


def test_what_was_typed_is_still_there_when_it_is_not_moved(cluster, rootfs):
    typist = Typist(cluster, rootfs)
    typist.type(cluster.a, b"first\rsec", "sec")
    cluster.b.order_fault("receive.prepared")
    assert cluster.migrate("typist", cluster.a, check=False).returncode != 0 and cluster.b.has_arrived("receive.prepared")
    wait_for(lambda: cluster.a.inspect("typist")["state"] == "running", "it to go on")
    typist.type(cluster.a, b"ond\r", "ond")
    typist.expect(cluster.a, "first", "second", shown=2)


def test_a_health_check_moves_along_and_is_not_in_the_way(cluster, rootfs):
    run(cluster.a, rootfs, "checked", "sh", "-c", "while true; do sleep 1; done", options=("--health-cmd", "sleep 0.05", "--health-interval", "20ms"))

    def checked(host):
        return (host.inspect("checked")["health"] or {"checkedNs": 0})["checkedNs"]
    last = 0
    for host in (cluster.a, cluster.b, cluster.a, cluster.b):
        wait_for(lambda: checked(host) > last, "a check here")  # noqa: B023
        assert host.inspect("checked")["health"]["status"] == "HEALTH_HEALTHY"
        last = checked(host)
        cluster.migrate("checked", host)


def test_a_rate_and_a_way_to_compress_can_be_given(cluster, rootfs):
    run(cluster.a, rootfs, "counter", "sh", "-c", COUNT)
    wait_for(lambda: len(lines(cluster.a, "counter")) > 3, "it to count")
    for options, complaint in ((("--bandwidth", "much"), "like 500k"), (("--compress", "gzip"), "expected auto")):
        done = cluster.migrate("counter", cluster.a, *options, check=False)
        assert done.returncode != 0 and complaint in done.stderr
    cluster.migrate("counter", cluster.a, "--bandwidth", "64m", "--compress", "zstd")
    assert names(cluster.a) == set() and cluster.b.inspect("counter")["state"] == "running"
