# SPDX-License-Identifier: Apache-2.0
"""Every verb of hydractl, with and without a daemon."""
import json
import os
import pty
import re
import select
import signal

import pytest

from hosts import program, wait_for

LOOP = "trap 'exit 3' TERM; while true; do sleep 0.1; done"


def start(host, rootfs, name, *command, options=()):
    host.ctl("run", "-d", "--rootfs", rootfs, "--name", name, *options, *(command or ("sh", "-c", LOOP)))


def state(host, name):
    return host.inspect(name)["state"]


def test_run_gives_output_and_exit_status(any_host, rootfs):
    done = any_host.ctl("run", "--rm", "--rootfs", rootfs, "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


def test_run_passes_input_through(any_host, rootfs):
    data = "".join(f"line {number}\n" for number in range(20000))
    done = any_host.ctl("run", "--rm", "-i", "--rootfs", rootfs, "cat", input=data)
    assert done.stdout == data


def test_ps_shows_what_runs_and_with_all_what_stopped(any_host, rootfs):
    start(any_host, rootfs, "runs")
    any_host.ctl("run", "--name", "ended", "--rootfs", rootfs, "true")
    wait_for(lambda: state(any_host, "ended") == "stopped", "it to stop")
    assert [item["id"] for item in any_host.json("ps")] == ["runs"]
    assert {item["id"] for item in any_host.json("ps", "-a")} == {"runs", "ended"}
    assert "runs" in any_host.ctl("ps").stdout
    any_host.ctl("rm", "-f", "runs", "ended")


def test_stop_lets_the_program_end_in_its_own_way(any_host, rootfs):
    start(any_host, rootfs, "web")
    any_host.ctl("stop", "web")
    assert any_host.inspect("web")["exit"]["exitCode"] == 3
    assert any_host.ctl("wait", "web").stdout == "3\n"


def test_stop_kills_what_does_not_listen(any_host, rootfs):
    start(any_host, rootfs, "deaf", "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done")
    any_host.ctl("stop", "-t", "1", "deaf")
    assert any_host.inspect("deaf")["exit"]["signal"] == 9


def test_stop_all_ends_every_container_of_every_namespace(any_host, rootfs):
    start(any_host, rootfs, "web", options=["--restart", "always"])
    start(any_host, rootfs, "deaf", "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done", options=["--stop-timeout", "1"])
    start(any_host, rootfs, "over", "true")
    any_host.ctl("-n", "other", "run", "-d", "--name", "web", "--rootfs", rootfs, "sh", "-c", LOOP)
    assert set(any_host.ctl("stop", "--all").stdout.split()) == {"default/web", "default/deaf", "default/over", "other/web"}
    assert [state(any_host, name) for name in ("web", "deaf", "over")] == ["stopped"] * 3
    assert any_host.inspect("web")["exit"]["exitCode"] == 3 and any_host.inspect("deaf")["exit"]["signal"] == 9
    assert any_host.ctl("-n", "other", "wait", "web").stdout == "3\n"
    any_host.ctl("-n", "other", "rm", "web")
    for wrong in (["stop"], ["stop", "--all", "web"]):
        assert "usage" in any_host.ctl(*wrong, check=False).stderr


def test_a_stopped_container_starts_again_with_what_it_wrote(any_host, rootfs):
    start(any_host, rootfs, "web", "sh", "-c", "echo x >>/tmp/count; " + LOOP)
    any_host.ctl("stop", "web")
    any_host.ctl("start", "web")
    wait_for(lambda: any_host.ctl("exec", "web", "cat", "/tmp/count").stdout == "x\nx\n", "the second line")


def test_created_waits_for_start(any_host, rootfs):
    any_host.ctl("create", "--name", "web", "--rootfs", rootfs, "sh", "-c", LOOP)
    assert state(any_host, "web") == "created"
    any_host.ctl("start", "web")
    assert state(any_host, "web") == "running"


def test_exec_has_streams_status_environment_and_user(any_host, rootfs):
    start(any_host, rootfs, "web", options=("-e", "FROM=container"))
    done = any_host.ctl("exec", "-e", "A=b", "-w", "/tmp", "-u", "7:8", "web", "sh", "-c",
                        "echo $FROM $A $PWD $(id -u):$(id -g); echo err >&2; exit 5", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("container b /tmp 7:8\n", "err\n", 5)
    assert any_host.ctl("exec", "-i", "web", "cat", input="x" * 300000).stdout == "x" * 300000
    assert any_host.ctl("exec", "web", "nosuch", check=False).returncode == 127


def test_pause_freezes_and_resume_thaws(any_host, rootfs):
    start(any_host, rootfs, "web")
    any_host.ctl("pause", "web")
    assert state(any_host, "web") == "paused"
    assert any_host.ctl("exec", "web", "true", check=False).returncode == 125
    any_host.ctl("resume", "web")
    assert state(any_host, "web") == "running"
    any_host.ctl("exec", "web", "true")


def test_a_paused_container_can_be_killed(any_host, rootfs):
    start(any_host, rootfs, "web")
    any_host.ctl("pause", "web")
    any_host.ctl("kill", "web")
    assert any_host.ctl("wait", "web").stdout == "137\n"


def test_kill_takes_names_and_numbers(any_host, rootfs):
    start(any_host, rootfs, "web", "sh", "-c", "trap 'exit 9' USR1; while true; do sleep 0.1; done")
    wait_for(lambda: "sleep" in any_host.ctl("exec", "web", "ps").stdout, "the trap")
    any_host.ctl("kill", "-s", "sigusr1", "web")
    assert any_host.ctl("wait", "web").stdout == "9\n"


def test_rm_refuses_what_runs_unless_forced(any_host, rootfs):
    start(any_host, rootfs, "web")
    refused = any_host.ctl("rm", "web", check=False)
    assert refused.returncode == 125 and "stop it first" in refused.stderr
    any_host.ctl("rm", "-f", "web")
    any_host.assert_clean()


def test_logs_are_whole_in_order_and_limited(any_host, rootfs):
    any_host.ctl("run", "--name", "web", "--rootfs", rootfs, "sh", "-c", "for i in $(seq 1 500); do echo $i; done; printf end")
    whole = any_host.ctl("logs", "web").stdout
    assert whole == "".join(f"{i}\n" for i in range(1, 501)) + "end"
    assert any_host.ctl("logs", "--tail", "2", "web").stdout == "500\nend"
    stamped = any_host.ctl("logs", "-t", "--tail", "2", "web").stdout.splitlines()[0]
    assert stamped.split()[0].endswith("Z") and stamped.split()[1] == "500"


def test_logs_follow_until_the_end(any_host, rootfs):
    start(any_host, rootfs, "web", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done")
    assert any_host.ctl("logs", "-f", "web").stdout == "1\n2\n3\n"


def test_logs_rotate_and_are_read_as_one(any_host, rootfs):
    any_host.ctl("run", "--name", "web", "--rootfs", rootfs, "--log-opt", "max-size=4k", "--log-opt", "max-file=100",
                 "sh", "-c", "for i in $(seq 1 1000); do echo line $i; done")
    assert any_host.ctl("logs", "web").stdout == "".join(f"line {i}\n" for i in range(1, 1001))
    log = any_host.path(any_host.inspect("web")["log"]["path"])
    assert log.stat().st_size <= 4096 and log.with_name("container.log.1").exists()


def test_limits_are_the_kernels(any_host, rootfs):
    start(any_host, rootfs, "web", options=("--memory", "64m", "--pids", "20", "--cpus", "0.5"))
    stats = any_host.json("stats", "web")
    assert (stats["memoryLimitBytes"], stats["pidsLimit"]) == (64 << 20, 20)
    assert stats["pids"] >= 1 and stats["memoryBytes"] > 0


def test_a_container_out_of_memory_says_so(any_host, rootfs):
    any_host.ctl("run", "--name", "hungry", "--rootfs", rootfs, "--memory", "16m", "sh", "-c", "tail /dev/zero", check=False)
    wait_for(lambda: state(any_host, "hungry") == "stopped", "the end")
    events = any_host.ctl("events", "hungry").stdout
    assert "oom" in events and events.index("oom") < events.index("exited")
    assert any_host.inspect("hungry")["exit"]["exitCode"] == 137


def test_mounts_labels_and_hostname(any_host, rootfs, tmp_path):
    (tmp_path / "file").write_text("from the host\n")
    done = any_host.ctl("run", "--rm", "--rootfs", rootfs, "-v", f"{tmp_path}:/data:ro", "--hostname", "box", "sh", "-c",
                        "cat /data/file; hostname; touch /data/x 2>&1", check=False)
    assert done.stdout.startswith("from the host\nbox\n") and "Read-only" in done.stdout


def test_the_root_file_system_stays_as_it_was(any_host, rootfs):
    any_host.ctl("run", "--rm", "--rootfs", rootfs, "sh", "-c", "echo x >/etc/new; rm /bin/ls")
    assert not os.path.exists(f"{rootfs}/etc/new") and os.path.lexists(f"{rootfs}/bin/ls")


def test_a_terminal_is_one(any_host, rootfs):
    leader, follower = pty.openpty()
    session = any_host.popen([program("hydractl"), "run", "--rm", "-it", "--rootfs", rootfs, "sh", "-c", "tty; read x; echo got $x"],
                             stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    output = read_until(leader, b"/dev/pts/0")
    os.write(leader, b"typed\r")
    output += read_until(leader, b"got typed")
    assert session.wait(60) == 0, output
    os.close(leader)


def read_until(fd, text):
    data = b""
    while text not in data:
        assert select.select([fd], [], [], 60)[0], f"waited for {text}, there is {data}"
        data += os.read(fd, 4096)
    return data


def test_attach_sees_output_and_leaves_the_container_alone(any_host, rootfs):
    start(any_host, rootfs, "web", "sh", "-c", "while true; do echo tick; sleep 0.1; done")
    watcher = any_host.popen([program("hydractl"), "attach", "--no-stdin", "web"], stdout=-1, text=True)
    assert watcher.stdout.readline() == "tick\n"
    watcher.kill()
    watcher.wait()
    watcher.stdout.close()
    assert state(any_host, "web") == "running"


def test_signals_go_to_the_container_in_the_foreground(any_host, rootfs):
    session = any_host.popen([program("hydractl"), "run", "--rm", "--rootfs", rootfs, "sh", "-c",
                              "trap 'echo term; exit 4' TERM; echo up; while true; do sleep 0.1; done"], stdout=-1, text=True)
    assert session.stdout.readline() == "up\n"
    any_host.kill("hydractl", signal.SIGTERM)
    assert session.stdout.readline() == "term\n" and session.wait(60) == 4
    session.stdout.close()


def test_restart_policy_counts_and_gives_up(any_host, rootfs):
    start(any_host, rootfs, "web", "sh", "-c", "exit 1", options=("--restart", "on-failure:2"))
    view = wait_for(lambda: (seen := any_host.inspect("web"))["restartCount"] == 2 and seen["state"] == "stopped" and seen,
                    "it to give up")
    assert view["exit"]["exitCode"] == 1
    assert any_host.ctl("logs", "web").stdout == ""


def restarts(host, name):
    """(type, restart count of its exit record or the delay) of each event."""
    events = [json.loads(line) for line in host.ctl("--format", "json", "events", name).stdout.splitlines()]
    return [(event["type"], event["detail"] or event["exit"] and event["exit"]["restartCount"]) for event in events]


def test_restarts_are_told_in_order_with_dockers_delays_and_counts(any_host, rootfs):
    start(any_host, rootfs, "web", "sh", "-c", "exit 1", options=("--restart", "on-failure:3"))
    expected = [("created", None), ("started", None), ("exited", 0)]
    for count, delay in enumerate((100, 200, 400), 1):
        expected += [("restart-due", f"in {delay} ms"), ("created", None), ("started", None), ("exited", count)]
    wait_for(lambda: restarts(any_host, "web") == expected and state(any_host, "web") == "stopped", f"{expected}")
    # somebody's start is none of them, and the counting begins anew
    any_host.ctl("start", "web")
    expected += expected
    wait_for(lambda: restarts(any_host, "web") == expected and state(any_host, "web") == "stopped", f"{expected} twice")
    assert any_host.inspect("web")["restartCount"] == 3


@pytest.mark.parametrize("verb", [["stop"], ["rm", "-f"]])
def test_a_stop_at_any_moment_of_a_restart_ends_it(any_host, rootfs, verb):
    for moment in range(2, 12):
        start(any_host, rootfs, "web", "sh", "-c", "exit 1", options=("--restart", "always"))
        wait_for(lambda: len(restarts(any_host, "web")) >= moment, f"event {moment}")  # noqa: B023
        any_host.ctl(*verb, "web")
        wait_for(lambda: not any_host.pids("hydra-shim"), "its shim to end")
        if verb == ["stop"]:
            assert state(any_host, "web") == "stopped"
            any_host.ctl("rm", "web")


def test_a_restart_that_fails_leaves_it_stopped(any_host, rootfs):
    folder = any_host.path("/run/volume")
    folder.mkdir()
    start(any_host, rootfs, "web", "sh", "-c", "exit 3", options=("--restart", "always", "-v", "/run/volume:/data"))
    folder.rmdir()
    wait_for(lambda: not any_host.pids("hydra-shim"), "its shim to end")
    assert restarts(any_host, "web")[-1][0] == "restart-failed" and "/run/volume" in restarts(any_host, "web")[-1][1]
    view = any_host.inspect("web")
    assert (view["state"], view["exit"]["exitCode"]) == ("stopped", 3)
    folder.mkdir()
    any_host.ctl("start", "web")
    assert any_host.inspect("web")["restartCount"] <= 1


def test_a_stopped_container_is_not_restarted(any_host, rootfs):
    start(any_host, rootfs, "web", options=("--restart", "always"))
    any_host.ctl("stop", "-t", "0", "web")
    wait_for(lambda: state(any_host, "web") == "stopped", "it to stop")


def test_events_have_numbers_and_can_be_asked_for_later(any_host, rootfs):
    any_host.ctl("run", "--name", "web", "--rootfs", rootfs, "true")
    wait_for(lambda: state(any_host, "web") == "stopped", "the end")
    lines = [json.loads(line) for line in any_host.ctl("--format", "json", "events", "web").stdout.splitlines()]
    assert [line["type"] for line in lines] == ["created", "started", "exited"]
    assert [line["sequence"] for line in lines] == [1, 2, 3]
    since = any_host.ctl("--format", "json", "events", "--since", "2", "web").stdout.splitlines()
    assert [json.loads(line)["type"] for line in since] == ["exited"]


def test_update_changes_the_restart_policy(any_host, rootfs):
    start(any_host, rootfs, "web", options=("--restart", "always"))
    any_host.ctl("update", "--restart", "no", "web")
    any_host.ctl("kill", "web")
    wait_for(lambda: state(any_host, "web") == "stopped", "it to stay down")


def test_a_bundle_is_used_as_it_is(any_host, rootfs, tmp_path):
    any_host.run(program("hydra"), "spec", "--bundle", str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"].update(terminal=False, args=["echo", "bundled"])
    config["root"]["path"] = rootfs
    config["linux"]["cgroupsPath"] = f"{any_host.env['HYDRA_CGROUP']}/default/b"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert any_host.ctl("run", "--rm", "--name", "b", "--bundle", str(tmp_path)).stdout == "bundled\n"


@pytest.mark.parametrize("command", ["run", "create", "ps", "inspect", "logs", "exec", "attach", "start", "stop", "kill", "rm",
                                     "pause", "resume", "wait", "events", "stats", "update", "daemon", "host-check"])
def test_every_command_explains_itself(host, command):
    done = host.ctl(command, "--help")
    assert re.match(rf"hydractl {command}[ :]", done.stdout) and done.stderr == ""


def test_many_execs_at_once_all_work(any_host, rootfs):
    start(any_host, rootfs, "web")
    sessions = [any_host.popen([program("hydractl"), "exec", "web", "sh", "-c", f"echo {number}; exit {number}"], stdout=-1, text=True)
                for number in range(12)]
    for number, session in enumerate(sessions):
        assert (session.communicate(timeout=60)[0], session.returncode) == (f"{number}\n", number)


def test_an_exec_that_waits_may_be_given_up(any_host, rootfs):
    start(any_host, rootfs, "web")
    sessions = [any_host.popen([program("hydractl"), "exec", "web", "true"]) for _ in range(8)]
    any_host.kill("hydractl")
    for session in sessions:
        session.wait()
    assert any_host.ctl("exec", "web", "echo", "still there").stdout == "still there\n"


def test_execs_that_are_over_cost_nothing(any_host, rootfs):
    start(any_host, rootfs, "web", "sleep", "1000")
    pid = any_host.inspect("web")["shimPid"]
    before = heap(any_host, pid)
    last = ""
    for number in range(150):
        last = any_host.ctl("exec", "-d", "web", "sh", "-c", f"exit {number % 7}").stdout.strip()
    wait_for(lambda: any_host.path(f"/run/hydra/default/web/exit.{last}").exists(), "the last one's exit record")
    wait_for(lambda: len(list(any_host.path("/run/hydra/default/web").glob("exit.*"))) <= 128, "old exit records to go")
    assert heap(any_host, pid) <= before + 64


def heap(host, pid):
    """KiB."""
    for line in host.run("cat", f"/proc/{pid}/smaps").stdout.split("[heap]")[-1].splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    return 0
