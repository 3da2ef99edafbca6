# SPDX-License-Identifier: Apache-2.0
"""What callers of other runtimes are used to, beyond what the specification says."""
import json
import os
import pathlib
import signal
import subprocess

import pytest

from conftest import HYDRA, cgroup_dirs, reap, wait_until


def test_a_variable_is_there_once_the_last_one_and_an_empty_home_is_none(bundle):
    bundle.process["env"] = ["PATH=/bin", "ONE=1", "HOME=/elsewhere", "ONE=2", "ONEMORE=3", "HOME="]
    assert sorted(bundle.output("env").split()) == ["HOME=/root", "ONE=2", "ONEMORE=3", "PATH=/bin", "PWD=/", "SHLVL=1"]


def test_a_process_can_come_from_a_pipe(bundle, hydra):
    bundle.sleeping()
    reader, writer = os.pipe()
    os.write(writer, json.dumps({"args": ["/bin/echo", "piped"], "cwd": "/"}).encode())
    os.close(writer)
    assert hydra("exec", "--process", f"/dev/fd/{reader}", bundle.id, pass_fds=[reader]).stdout == "piped\n"
    os.close(reader)


def test_without_a_mode_a_tmpfs_has_that_of_the_folder_it_covers(bundle, tmp_path):
    folder = tmp_path / "covered"
    folder.mkdir()
    folder.chmod(0o4751)
    bundle.mount("/data", "none", str(folder), "bind").mount("/data", "tmpfs", "tmpfs").mount("/data/new", "tmpfs", "tmpfs")
    assert bundle.output("stat -c %a /data /data/new") == "4751\n1777\n"


def test_a_named_mode_stays(bundle):
    assert bundle.mount("/data", "tmpfs", "tmpfs", "size=64k", "mode=0410").output("stat -c %a /data") == "410\n"


def test_the_callers_processors_are_not_the_containers(bundle, hydra):
    every = os.sched_getaffinity(0)
    show = ["/bin/grep", "Cpus_allowed_list", "/proc/self/status"]
    bundle.process["args"] = show
    expected = bundle.run().stdout
    bundle.save()
    try:
        os.sched_setaffinity(0, {min(every)})
        assert bundle.run().stdout == expected
        bundle.sleeping()
        assert hydra("exec", bundle.id, *show).stdout == expected
    finally:
        os.sched_setaffinity(0, every)


def test_create_container_hooks_start_in_the_rootfs(bundle, tmp_path):
    bundle.config["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"pwd -P >{tmp_path}/where"]}]}
    bundle.run()
    assert (tmp_path / "where").read_text().strip() == os.path.realpath(bundle.config["root"]["path"])


def without_pid_namespace(bundle):
    bundle.linux["namespaces"] = [each for each in bundle.linux["namespaces"] if each["type"] != "pid"]
    pid = bundle.sleeping()
    for _ in range(2):
        bundle.hydra.detached("exec", "--detach", bundle.id, "/bin/sleep", "100000")
    return pid


def test_kill_ends_all_where_they_do_not_end_with_init(bundle, hydra):
    without_pid_namespace(bundle)
    hydra("kill", bundle.id, "KILL")
    wait_until(lambda: json.loads(hydra("ps", "--format", "json", bundle.id).stdout) == [], "the end of all processes")
    assert "container not running" in hydra.refuses("kill", bundle.id, "KILL")


def test_kill_ends_those_that_init_has_left(bundle, hydra):
    pid = without_pid_namespace(bundle)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: hydra.state(bundle.id)["status"] == "stopped", "the end of init")
    assert "container not running" in hydra.refuses("kill", bundle.id, "TERM")
    hydra("kill", bundle.id, "KILL")
    wait_until(lambda: json.loads(hydra("ps", "--format", "json", bundle.id).stdout) == [], "the end of all processes")


def test_without_a_pivot_nobody_can_have_a_proc_without_masks(bundle):
    bundle.capabilities("CAP_SYS_ADMIN", "CAP_SETFCAP", "CAP_SETUID", "CAP_SETGID")
    bundle.process["args"] = ["/bin/busybox", "unshare", "-mrpf", "/bin/busybox", "mount", "-t", "proc", "none", "/proc"]
    bundle.save()
    for options in [], ["--no-pivot"]:
        result = bundle.run(*options, check=False)
        assert result.returncode != 0 and "permission denied" in result.stderr.lower(), result


def test_without_a_pivot_the_host_keeps_its_proc(bundle):
    bundle.linux["rootfsPropagation"] = "rshared"
    before = open("/proc/self/mountinfo").read()
    assert bundle.sh("ls -d /proc/1 /sys/class").run("--no-pivot").stdout == "/proc/1\n/sys/class\n"
    assert open("/proc/self/mountinfo").read() == before


def test_an_empty_memory_policy_asks_for_nothing(bundle):
    bundle.linux["memoryPolicy"] = {}
    assert bundle.output("echo fine") == "fine\n"
    bundle.linux["memoryPolicy"] = {"nodes": "0"}
    assert "invalid memory policy mode" in bundle.refuses()


def test_exec_says_why_a_cgroup_cannot_be_joined(bundle, hydra):
    bundle.sleeping()
    for option, words in {"..": "bad sub cgroup path", "missing": "adding pid of the process to ", "nonsense:/": "unknown controller"}.items():
        assert words in hydra.refuses("exec", "--cgroup", option, bundle.id, "true", status=255)
    assert hydra("exec", "--cgroup", "/", bundle.id, "/bin/echo", "there").stdout == "there\n"


def test_a_missing_descriptor_is_named_as_others_name_it(bundle):
    bundle.save()
    command = ["sh", "-c", 'exec 3>&-; exec "$@"', "sh", str(HYDRA), "--root", str(bundle.hydra.root), "run", "--preserve-fds=1",
               "--bundle", str(bundle.path), bundle.id]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "preserved-fd 0" in result.stderr


def test_an_unknown_capability_is_left_out_with_a_warning(bundle, hydra):
    bundle.process["capabilities"] = {kind: ["CAP_KILL", "CAP_OF_TOMORROW"] for kind in ("bounding", "permitted", "effective")}
    result = bundle.sh("grep CapEff /proc/self/status").run()
    assert result.stdout == "CapEff:\t0000000000000020\n"
    assert result.stderr == "hydra: warning: process.capabilities: unknown capability 'CAP_OF_TOMORROW' is left out\n"
    bundle.sleeping()
    assert "unknown capability 'CAP_OF_TOMORROW' is left out" in hydra("exec", bundle.id, "true").stderr


@pytest.mark.parametrize("commands", (["run"], ["create", "start"]))
def test_a_poststart_hook_that_fails_ends_the_container(bundle, hydra, commands):
    bundle.process["args"] = ["/bin/sleep", "100000"]
    bundle.config["hooks"] = {"poststart": [{"path": "/bin/true"}, {"path": "/bin/false"}]}
    if commands == ["run"]:
        assert "error running poststart hook #1:" in bundle.refuses()
        assert hydra("list", "--quiet").stdout == ""
        return
    bundle.create()
    assert "error running poststart hook #1:" in hydra.refuses("start", bundle.id)
    wait_until(lambda: hydra.state(bundle.id)["status"] == "stopped", "the end of the container")


def test_debug_tells_the_steps_on_standard_error_or_in_the_log(bundle, hydra, tmp_path):
    bundle.process["args"] = ["/bin/echo", "said"]
    bundle.save()
    started = "child process in init()"
    result = hydra("--debug", "run", "--bundle", bundle.path, bundle.id)
    assert result.stdout == "said\n" and result.stderr.startswith("level=debug msg=") and started in result.stderr
    for options in [], ["--log-format", "json"]:
        log = tmp_path / f"log{len(options)}"
        result = hydra("--log", log, "--log-level", "debug", *options, "run", "--bundle", bundle.path, bundle.id)
        lines = log.read_text().splitlines()
        assert result.stderr == "" and any(started in line for line in lines)
        assert all((json.loads(line)["level"] == "debug") if options else line.startswith("level=debug msg=") for line in lines)
    bundle.sleeping()
    assert "setns_init: about to exec 'true'" in hydra("--debug", "exec", bundle.id, "true").stderr


def test_a_cgroup_that_others_are_in_or_that_is_frozen_is_refused(bundle, hydra):
    bundle.sleeping()
    second = bundle.another()
    second.linux["cgroupsPath"] = bundle.linux["cgroupsPath"]
    assert "container's cgroup is not empty" in second.refuses()
    hydra("pause", bundle.id)
    hydra("resume", bundle.id)
    hydra("delete", "--force", bundle.id)
    assert second.run().returncode == 0


def test_under_another_name_it_says_that_name(tmp_path):
    link = tmp_path / "runc"
    link.symlink_to(HYDRA)
    say = lambda *args: subprocess.run([link, *args], capture_output=True, text=True, check=True).stdout.splitlines()
    assert say("--version")[0].startswith("runc version ") and "hydra" in say("--version")[1]
    assert say("--help")[:2] == ["NAME:", "   runc - Open Container Initiative runtime"]
    assert say("list", "--help")[1].startswith("   runc list - ")


def test_a_process_waits_for_the_reader_of_a_fifo(bundle, hydra, tmp_path):
    bundle.sleeping()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "is not a fifo" in hydra.refuses("exec", "--exec-wait-fifo", "/dev/null", bundle.id, "true", status=255)
    assert "failed to open exec wait fifo" in hydra.refuses("exec", "--exec-wait-fifo", tmp_path / "none", bundle.id, "true", status=255)
    hydra.detached("exec", "--detach", "--pid-file", tmp_path / "pid", "--exec-wait-fifo", fifo, bundle.id, "/bin/sh", "-c", "exit 7")
    pid = int((tmp_path / "pid").read_text())
    assert pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().startswith(os.fsencode(HYDRA))
    assert fifo.read_bytes() == b""
    assert reap(pid) == 7


def test_statistics_tell_of_pressure(bundle, hydra):
    bundle.sleeping()
    pressure = next((each for each in map(pathlib.Path, cgroup_dirs(bundle.id)) if (each / "cpu.pressure").exists()), None)
    if pressure is None:
        pytest.skip("no pressure stall information here")
    data = json.loads(hydra("events", "--stats", bundle.id).stdout)["data"]
    for part in "cpu", "memory", "blkio":
        assert set(data[part]["psi"]) == {"some", "full"} and set(data[part]["psi"]["some"]) == {"avg10", "avg60", "avg300", "total"}


@pytest.mark.parametrize("keeps_privileges", (False, True))
def test_start_container_hooks_run_under_the_filter(bundle, keeps_privileges):
    bundle.process["noNewPrivileges"] = not keeps_privileges
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}]}
    hook = {"path": "/bin/mkdir", "args": ["mkdir", "/dev/shm/made"]}
    bundle.config["hooks"] = {"startContainer": [hook]}
    assert "error running startContainer hook #0: '/bin/mkdir': exit status 159, signal: bad system call" in bundle.refuses()
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    assert bundle.output("echo fine") == "fine\n"
