# SPDX-License-Identifier: Apache-2.0
"""Attached clients while shims die: a pause, no hang-up, no byte lost or doubled, in either direction."""
import hashlib
import json
import os
import pty

import pytest

from hosts import program, wait_for
from ttrpc import Connection, bytes_field, text_field

ECHO = "while read x; do echo got $x; done; exit 3"
COUNT = "i=0; while [ $i -lt {0} ]; do i=$((i+1)); echo $i; done; while [ ! -e /data/go ]; do sleep 0.05; done; exit 4"


def kill_shim(host, name):
    before = host.inspect(name)["shimPid"]
    host.run("kill", "-9", str(before))
    wait_for(lambda: (seen := host.inspect(name))["isReachable"] and seen["shimPid"] != before, "the successor")


@pytest.fixture
def web(daemon_host, rootfs):
    daemon_host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sleep", "1000")
    return daemon_host


def start_session(host, *arguments, **options):
    return host.popen([program("hydractl"), *arguments], stdin=-1, stdout=-1, **options)


def finish(session, status):
    if session.stdin and not session.stdin.closed:
        session.stdin.close()
    rest = session.stdout.read()
    session.stdout.close()
    assert session.wait(60) == status
    return rest


def converse(session, numbers):
    for number in numbers:
        session.stdin.write(f"{number}\n")
        session.stdin.flush()
        assert session.stdout.readline() == f"got {number}\n"


def test_an_exec_session_goes_on(web):
    session = start_session(web, "exec", "-i", "web", "sh", "-c", ECHO, text=True)
    for life in range(5):
        converse(session, range(life * 10, life * 10 + 10))
        kill_shim(web, "web")
    converse(session, range(3))
    assert finish(session, 3) == ""


def test_what_is_typed_while_no_shim_is_there_arrives(web):
    session = start_session(web, "exec", "-i", "web", "sh", "-c", ECHO, text=True)
    converse(session, range(2))
    web.kill("hydra-shim")
    lines = [f"{number}\n" for number in range(100)]
    session.stdin.write("".join(lines))
    session.stdin.close()
    assert finish(session, 3) == "".join(f"got {line}" for line in lines)


def test_a_container_is_attached_to_while_its_shims_die(daemon_host, rootfs):
    host = daemon_host
    host.ctl("create", "--name", "echo", "-i", "--rootfs", rootfs, "sh", "-c", ECHO)
    host.ctl("start", "echo")
    sessions = [start_session(host, "attach", "echo", text=True) for _ in range(2)]
    converse(sessions[0], [0])
    sessions[1].stdin.write("1\n")
    sessions[1].stdin.flush()
    while sessions[1].stdout.readline() != "got 1\n":
        pass  # both are there from now on
    assert sessions[0].stdout.readline() == "got 1\n"
    for life in range(3):
        kill_shim(host, "echo")
        converse(sessions[life % 2], [life])
        assert sessions[1 - life % 2].stdout.readline() == f"got {life}\n"
    sessions[1].stdin.close()
    assert finish(sessions[0], 3) == "" and finish(sessions[1], 3) == ""
    assert host.ctl("logs", "echo").stdout == "got 0\ngot 1\ngot 0\ngot 1\ngot 2\n"


@pytest.mark.parametrize("kind", ["exec", "attach"])
def test_much_output_comes_once_and_whole(web, rootfs, kind):
    host = web
    if kind == "exec":
        session = start_session(host, "exec", "web", "sh", "-c", COUNT.format(200000))
        name = "web"
    else:
        name = "count"
        host.ctl("create", "--name", name, "-i", "--rootfs", rootfs, "-v", "/var/lib/hydra:/data", "sh", "-c",
                 "read x; " + COUNT.format(200000))
        host.ctl("start", name)
        session = start_session(host, "attach", name)
        session.stdin.write(b"go\n")
        session.stdin.flush()
    seen = b""
    kills = 0
    while len(seen) < 1288895:  # the numbers up to 200000, a line each
        if len(seen) > kills * 300000:
            kills += 1
            kill_shim(host, name)
        seen += os.read(session.stdout.fileno(), 65536)
    host.path("/var/lib/hydra/go").touch()
    assert finish(session, 4) == b""
    assert seen == b"".join(b"%d\n" % number for number in range(1, 200001))
    host.path("/var/lib/hydra/go").unlink()


def test_a_terminal_session_goes_on(web):
    ours, theirs = pty.openpty()
    session = web.popen([program("hydractl"), "exec", "-it", "web", "sh", "-c", "stty -echo raw; echo ready; cat"], stdin=theirs, stdout=theirs)
    os.close(theirs)
    seen = b""

    def wait_for_bytes(size):
        nonlocal seen
        while len(seen) < size:
            seen += os.read(ours, 65536)

    wait_for_bytes(len(b"ready\n"))
    start = len(seen)
    payload = hashlib.sha512(b"x").hexdigest().encode() * 8
    for life in range(5):
        os.write(ours, payload)
        kill_shim(web, "web")
        wait_for_bytes(start + len(payload) * (life + 1))
    assert seen[start:] == payload * 5
    session.kill()
    session.wait(60)
    os.close(ours)


@pytest.mark.parametrize("kind", ["exec", "attach"])
def test_what_a_terminal_says_is_not_lost(daemon_host, rootfs, kind):
    host = daemon_host
    script = "stty -echo raw; read x; echo said $x; exit 5"
    host.ctl("create", "--name", "web", "-t", "-i", "--rootfs", rootfs, "sh", "-c", script if kind == "attach" else "sleep 1000")
    host.ctl("start", "web")
    ours, theirs = pty.openpty()
    command = ["attach", "web"] if kind == "attach" else ["exec", "-it", "web", "sh", "-c", script]
    host.order_fault("shim.terminal-taken")
    session = host.popen([program("hydractl"), *command], stdin=theirs, stdout=theirs)
    os.close(theirs)
    os.write(ours, b"hello\n")
    seen = b""
    while b"said hello\n" not in seen:
        seen += os.read(ours, 65536)
    assert session.wait(60) == 5 and host.has_arrived("shim.terminal-taken") and seen.count(b"said hello") == 1
    os.close(ours)
    if kind == "attach":
        wait_for(lambda: host.inspect("web")["state"] == "stopped", "its end")
        assert host.ctl("logs", "web").stdout.count("said hello\n") == 1


POINTS = ["shim.client-joined", "shim.client-told", "shim.feed-taken", "shim.feed-sent", "shim.frame-acted-upon"]


@pytest.mark.parametrize("point", POINTS)
def test_a_shim_killed_at_any_step_hangs_up_on_nobody(web, point):
    web.order_fault(point)
    session = start_session(web, "exec", "-i", "web", "sh", "-c", ECHO, text=True)
    converse(session, range(20))
    assert finish(session, 3) == ""
    assert web.has_arrived(point)


@pytest.mark.parametrize("point", ["shim.output-taken", "shim.feed-appended", "shim.before-log", "shim.after-log", "shim.before-exit-record",
                                   "shim.after-exit-record", "shim.exit-noted", "shim.stopped"])
def test_a_shim_killed_at_any_step_of_an_attached_container(daemon_host, rootfs, point):
    host = daemon_host
    host.ctl("create", "--name", "echo", "-i", "--rootfs", rootfs, "sh", "-c", ECHO)
    host.ctl("start", "echo")
    session = start_session(host, "attach", "echo", text=True)
    converse(session, range(5))
    host.order_fault(point)
    converse(session, range(20))
    assert finish(session, 3) == ""
    assert host.has_arrived(point)
    wait_for(lambda: host.inspect("echo")["state"] == "stopped", "its end")
    assert host.ctl("logs", "echo").stdout == "".join(f"got {number}\n" for number in [*range(5), *range(20)])


def send_frame(connection, kind, data=b"", step=0):
    frame = bytes([kind]) + len(data).to_bytes(4, "big") + data
    for at in range(0, len(frame), step or len(frame)):
        connection.socket.sendall(frame[at:at + (step or len(frame))])


def receive_frame(connection):
    header = connection.receive(5)
    return header[0], connection.receive(int.from_bytes(header[1:], "big"))


IN, OUT, RESIZE, IN_END, EXIT = 0, 1, 3, 4, 5


@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_client_that_sends_its_input_in_frames(daemon_host, rootfs, step):
    """As those of the version before do; whole, or in pieces that make no sense alone."""
    host = daemon_host
    host.ctl("create", "--name", "echo", "-i", "--rootfs", rootfs, "sh", "-c", "while read x; do echo ${#x}; done; exit 3")
    host.ctl("start", "echo")
    with Connection(str(host.path("/run/hydra/default/echo/shim.sock"))) as connection:
        connection.call("hydra.v1.Shim", "State", step=step)
        connection.call("hydra.v1.Shim", "Attach", bytes([2 << 3, 1]), step=step)
        for size in (1, 100, 5000):
            send_frame(connection, IN, b"x" * size + b"\n", step)
            assert receive_frame(connection) == (OUT, f"{size}\n".encode())
        send_frame(connection, RESIZE, bytes([0, 80, 0, 25]), step)
        send_frame(connection, 77, b"of another version", step)
        send_frame(connection, IN, b"12", step)
        send_frame(connection, IN, b"3\n", step)
        assert receive_frame(connection) == (OUT, b"3\n")
        kill_shim(host, "echo")
        send_frame(connection, IN, b"after\n", step)
        assert receive_frame(connection) == (OUT, b"5\n")
        send_frame(connection, IN_END, b"", step)
        kind, record = receive_frame(connection)
        assert kind == EXIT and record
        with pytest.raises(ConnectionError):
            connection.receive(1)


def test_a_client_that_sends_nonsense_is_hung_up_on_alone(daemon_host, rootfs):
    host = daemon_host
    host.ctl("create", "--name", "echo", "-i", "--rootfs", rootfs, "sh", "-c", ECHO)
    host.ctl("start", "echo")
    session = start_session(host, "attach", "echo", text=True)
    converse(session, [1])
    for nonsense in (b"\0\xff\xff\xff\xff", bytes([RESIZE]) + (60000).to_bytes(4, "big")):
        with Connection(str(host.path("/run/hydra/default/echo/shim.sock"))) as connection:
            connection.call("hydra.v1.Shim", "Attach", bytes([2 << 3, 1]))
            connection.socket.sendall(nonsense)
            with pytest.raises(ConnectionError):
                connection.receive(1)
    converse(session, [2])
    assert finish(session, 3) == ""


def exec_request(exec_id, padding=0):
    """Of hydra.v1.ExecRequest; the padding makes it as large as one wants."""
    process = {"args": ["sh", "-c", "echo run >> /data/runs"], "cwd": "/", "env": ["PATH=/bin", *("PADDING=" + "x" * 1000 for _ in range(padding // 1000))]}
    return text_field(1, exec_id) + bytes_field(2, json.dumps(process).encode())


@pytest.mark.parametrize("padding", [0, 50000, 300000])
def test_a_request_that_arrives_in_pieces_outlives_shims(web, padding):
    with Connection(str(web.path("/run/hydra/default/web/shim.sock"))) as connection:
        frame = connection.question("hydra.v1.Shim", "Exec", exec_request("e1", padding))
        for begin, end in zip((0, 5, 12, 40, len(frame) // 2, len(frame) - 1), (5, 12, 40, len(frame) // 2, len(frame) - 1, len(frame))):
            connection.socket.sendall(frame[begin:end])
            if end < len(frame):
                kill_shim(web, "web")
        connection.answer("Exec")
    wait_for(lambda: web.path("/var/lib/hydra/runs").exists(), "the exec")
    assert web.path("/var/lib/hydra/runs").read_text() == "run\n"


@pytest.mark.parametrize("point", ["shim.piece-kept", "shim.piece-taken", "shim.request-whole"])
def test_a_request_that_arrives_in_pieces_is_carried_out_once(web, point):
    with Connection(str(web.path("/run/hydra/default/web/shim.sock"))) as connection:
        web.order_fault(point)
        connection.socket.sendall(connection.question("hydra.v1.Shim", "Exec", exec_request("e1", 200000)))
        connection.answer("Exec")
    assert web.has_arrived(point)
    wait_for(lambda: web.path("/var/lib/hydra/runs").exists(), "the exec")
    assert web.path("/var/lib/hydra/runs").read_text() == "run\n"


def test_who_goes_in_the_middle_of_a_header_is_let_go(web):
    for size in (1, 9, 15):
        with Connection(str(web.path("/run/hydra/default/web/shim.sock"))) as connection:
            connection.socket.sendall(connection.question("hydra.v1.Shim", "State")[:size])
    with Connection(str(web.path("/run/hydra/default/web/shim.sock"))) as connection:
        connection.call("hydra.v1.Shim", "State")
    shim = web.path(f"/proc/{web.inspect('web')['shimPid']}/fd")
    wait_for(lambda: sum("socket" in os.readlink(fd) for fd in shim.iterdir()) <= 4, "the others' connections to be closed")


# requests: answered, and carried out once, whatever step their shim dies at

STEPS = ["shim.request-kept", "shim.request-taken", "shim.answered"]
BEGUN = [*STEPS, "shim.request-begun"]


def killed_at(host, point, *arguments, name="web", **options):
    """A command during which the shim dies at the point; its result."""
    host.order_fault(point)
    done = host.ctl(*arguments, **options)
    wait_for(lambda: host.has_arrived(point), f"the fault {point}")
    wait_for(lambda: (seen := host.inspect(name))["isReachable"] or seen["state"] == "stopped", "the successor")
    return done


@pytest.mark.parametrize("point", [*BEGUN, "shim.before-exec", "shim.exec-made"])
def test_an_exec_runs_once(web, point):
    web.path("/var/lib/hydra/runs").write_text("")
    done = killed_at(web, point, "exec", "web", "sh", "-c", "echo ran >>/data/runs; echo hello; exit 7", check=False)
    assert (done.returncode, done.stdout) == (7, "hello\n"), done.stderr
    assert web.path("/var/lib/hydra/runs").read_text() == "ran\n"
    web.path("/var/lib/hydra/runs").unlink()


@pytest.mark.parametrize("point", BEGUN)
@pytest.mark.parametrize("verb, before, state", [("pause", [], "paused"), ("resume", ["pause"], "running")])
def test_a_pause_or_resume_is_carried_out(web, point, verb, before, state):
    for one in before:
        web.ctl(one, "web")
    killed_at(web, point, verb, "web")
    assert web.inspect("web")["state"] == state
    if state == "paused":
        web.ctl("resume", "web")


@pytest.mark.parametrize("point", BEGUN)
def test_a_container_is_started_once(daemon_host, rootfs, point):
    host = daemon_host
    host.ctl("create", "--name", "web", "--rootfs", rootfs, "sh", "-c", "echo begun; sleep 1000")
    killed_at(host, point, "start", "web")
    wait_for(lambda: host.ctl("logs", "web").stdout == "begun\n", "its output")
    assert host.inspect("web")["state"] == "running"


@pytest.mark.parametrize("point", BEGUN)
def test_a_stop_ends_with_the_status(web, point):
    killed_at(web, point, "stop", "-t", "1", "web")
    seen = web.inspect("web")
    assert (seen["state"], seen["exit"]["exitCode"]) == ("stopped", 137), f"{seen['exit']} {web.ctl('events', 'web').stdout}"


@pytest.mark.parametrize("point", [*BEGUN, "shim.stop-noted", "shim.stop-signal-sent"])
def test_what_is_stopped_is_not_restarted(daemon_host, rootfs, point):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--restart", "always", "--rootfs", rootfs, "sh", "-c", "trap 'exit 6' TERM; while true; do sleep 0.02; done")
    killed_at(host, point, "stop", "-t", "30", "web")
    seen = host.inspect("web")
    assert (seen["state"], seen["exit"]["exitCode"], seen["restartCount"]) == ("stopped", 6, 0)


@pytest.mark.parametrize("point", BEGUN)
def test_a_signal_is_not_sent_twice(daemon_host, rootfs, point):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sh", "-c", "trap 'echo heard' USR1; echo ready; while true; do sleep 0.02; done")
    wait_for(lambda: host.ctl("logs", "web").stdout == "ready\n", "the handler")
    done = killed_at(host, point, "kill", "-s", "USR1", "web", check=False)
    if done.returncode != 0:
        assert "may have been sent" in done.stderr and point == "shim.request-begun"
        host.ctl("kill", "-s", "USR1", "web")
    wait_for(lambda: "heard\n" in host.ctl("logs", "web").stdout, "the signal to be heard")
    host.ctl("stop", "-t", "0", "web")
    assert host.ctl("logs", "web").stdout == "ready\nheard\n"


@pytest.mark.parametrize("point", STEPS)
def test_questions_and_changes_are_answered(web, point):
    assert killed_at(web, point, "stats", "web").returncode == 0
    web.forget_faults()
    killed_at(web, point, "update", "--restart", "always", "web")
    assert "always" in json.dumps(web.inspect("web")["restart"]).lower()
