# SPDX-License-Identifier: Apache-2.0
"""What callers of other runtimes are used to, beyond what the specification says."""
import json
import os
import signal
import subprocess

from conftest import HYDRA, wait_until


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
