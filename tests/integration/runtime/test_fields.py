# SPDX-License-Identifier: Apache-2.0
"""Fields of config.json whose effect is seen from inside and from outside of the container."""
import ctypes
import json
import os
import pathlib
import resource
import signal
import socket
import struct
import subprocess
import threading

import pytest
from conftest import PATIENCE_S, covers, reap

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_IOPRIO_GET, SYS_SCHED_GETATTR = 252, 315
IS_V2 = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()


def status_of(pid):
    return dict(line.split(":\t") for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def schedule_of(pid):
    """policy, flags, nice, priority, runtime, deadline, period"""
    buffer = ctypes.create_string_buffer(48)
    assert LIBC.syscall(SYS_SCHED_GETATTR, pid, buffer, 48, 0) == 0
    return struct.unpack("=IIQiIQQQ", buffer.raw)[1:]


@covers("linux.uidMappings[].…", "linux.gidMappings[].…")
def test_maps_of_users_and_groups(bundle):
    bundle.user_namespace()
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 1000}, {"containerID": 2000, "hostID": 300000, "size": 5}]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 3000}]
    bundle.process["user"] = {"uid": 2003, "gid": 7, "additionalGids": [9]}
    pid = bundle.sleeping()
    status = status_of(pid)
    assert status["Uid"].split()[0] == "300003" and status["Gid"].split()[0] == "200007" and status["Groups"].split() == ["200009"]
    rows = [pathlib.Path(f"/proc/{pid}/{name}_map").read_text().split() for name in ("uid", "gid")]
    assert rows == [["0", "100000", "1000", "2000", "300000", "5"], ["0", "200000", "3000"]]
    assert bundle.hydra("exec", bundle.id, "sh", "-c", "id -u; id -g").stdout.split() == ["2003", "7"]


@covers("linux.timeOffsets.…")
def test_offsets_of_both_clocks(bundle):
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 7}, "monotonic": {"secs": 5, "nanosecs": 9}}
    assert bundle.output("cat /proc/self/timens_offsets").split() == ["monotonic", "5", "9", "boottime", "1000000", "7"]


@covers("linux.namespaces[].path")
def test_every_namespace_can_be_joined(bundle):
    bundle.user_namespace()
    bundle.linux["namespaces"].append({"type": "time"})
    pid = bundle.sleeping()
    files = {"user": "user", "pid": "pid", "time": "time", "cgroup": "cgroup", "ipc": "ipc", "uts": "uts", "network": "net"}
    other = bundle.another()
    other.linux["namespaces"] = [{"type": kind, "path": f"/proc/{pid}/ns/{file}"} for kind, file in files.items()] + [{"type": "mount"}]
    del other.config["hostname"]
    inside = other.output("for n in %s; do readlink /proc/self/ns/$n; done" % " ".join(files.values())).split()
    assert inside == [os.readlink(f"/proc/{pid}/ns/{file}") for file in files.values()]


LIMITS = {"AS": 1 << 46, "CORE": 1 << 20, "CPU": 1000, "DATA": 1 << 46, "FSIZE": 1 << 30, "LOCKS": 77, "MEMLOCK": 1 << 16, "MSGQUEUE": 4096,
          "NICE": 0, "NOFILE": 300, "NPROC": 500, "RSS": 1 << 30, "RTPRIO": 0, "RTTIME": 5000, "SIGPENDING": 200, "STACK": 4 << 20}
RLIMIT_NUMBERS = {"CPU": 0, "FSIZE": 1, "DATA": 2, "STACK": 3, "CORE": 4, "RSS": 5, "NPROC": 6, "NOFILE": 7, "MEMLOCK": 8, "AS": 9, "LOCKS": 10,
                  "SIGPENDING": 11, "MSGQUEUE": 12, "NICE": 13, "RTPRIO": 14, "RTTIME": 15}


@covers("process.rlimits[].…", "process.oomScoreAdj")
def test_every_resource_limit(bundle):
    bundle.process["rlimits"] = [{"type": f"RLIMIT_{name}", "soft": value // 2, "hard": value} for name, value in LIMITS.items()]
    bundle.process["oomScoreAdj"] = 77
    pid = bundle.sleeping()
    assert {name: resource.prlimit(pid, RLIMIT_NUMBERS[name]) for name in LIMITS} == {
        name: (value // 2, value) for name, value in LIMITS.items()}
    out = bundle.hydra("exec", bundle.id, "sh", "-c", "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj").stdout
    assert out.split() == ["150", "300", "77"]


@covers("linux.devices[].…")
def test_devices_of_every_type(bundle):
    bundle.linux["devices"] = [
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 250, "fileMode": 0o604, "uid": 11, "gid": 12},
        {"path": "/dev/raw", "type": "u", "major": 1, "minor": 3},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/dev/below/deep", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}]
    out = bundle.output("stat -c '%n %F %t:%T %a %u:%g' /dev/block /dev/raw /dev/pipe /dev/below/deep").splitlines()
    assert out == ["/dev/block block special file 7:fa 604 11:12", "/dev/raw character special file 1:3 666 0:0",
                   "/dev/pipe fifo 0:0 622 0:0", "/dev/below/deep character special file 1:5 666 0:0"]


@covers("linux.memoryPolicy.…")
def test_memory_policy(bundle):
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    pid = bundle.sleeping()
    assert " bind=static:0 " in pathlib.Path(f"/proc/{pid}/numa_maps").read_text()
    assert "bind=static:0" in bundle.hydra("exec", bundle.id, "cat", "/proc/self/numa_maps").stdout
    other = bundle.another()
    other.linux["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0"}
    assert " interleave:0 " in other.output("cat /proc/self/numa_maps")


def test_a_memory_node_that_is_not_there_is_refused(bundle):
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "1000"}
    assert "linux.memoryPolicy: set the policy MPOL_BIND" in bundle.refuses()


@covers("process.ioPriority.…", "process.scheduler.policy", "process.scheduler.nice", "process.scheduler.flags")
def test_io_priority_and_scheduler_flags(bundle):
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    pid = bundle.sleeping()
    assert LIBC.syscall(SYS_IOPRIO_GET, 1, pid) == 2 << 13 | 6
    policy, flags, nice = schedule_of(pid)[:3]
    assert (policy, flags & 1, nice) == (os.SCHED_BATCH, 1, 7)


@pytest.fixture
def realtime(bundle):
    """A cgroup whose children may have a share of realtime."""
    parent = pathlib.Path("/sys/fs/cgroup/cpu") / f"hydra-rt-{bundle.id}"
    if IS_V2 or not (parent.parent / "cpu.rt_runtime_us").exists():
        pytest.skip("the kernel shares no realtime among cgroups")
    parent.mkdir()
    (parent / "cpu.rt_runtime_us").write_text("2000")
    bundle.linux["cgroupsPath"] = f"/{parent.name}/{bundle.id}"
    yield parent / bundle.id
    bundle.hydra("delete", "--force", bundle.id)
    for folder in pathlib.Path("/sys/fs/cgroup").glob(f"*/{parent.name}"):
        folder.rmdir()


@covers("process.scheduler.priority", "linux.resources.cpu.realtimeRuntime", "linux.resources.cpu.realtimePeriod")
def test_realtime(bundle, realtime):
    bundle.linux["resources"]["cpu"] = {"realtimeRuntime": 900, "realtimePeriod": 500000}
    bundle.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 7}
    pid = bundle.sleeping()
    assert [(realtime / f"cpu.rt_{name}_us").read_text().strip() for name in ("runtime", "period")] == ["900", "500000"]
    policy, _, _, priority = schedule_of(pid)[:4]
    assert (policy, priority) == (os.SCHED_FIFO, 7)


@covers("process.scheduler.runtime", "process.scheduler.deadline", "process.scheduler.period")
def test_deadline_scheduling(bundle):
    bundle.process["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 1000000, "deadline": 50000000, "period": 100000000}
    pid = bundle.sleeping()
    schedule = schedule_of(pid)
    assert schedule[0] == 6 and schedule[4:] == (1000000, 50000000, 100000000)


@covers("process.execCPUAffinity.…")
@pytest.mark.skipif(os.cpu_count() < 2, reason="there is one processor")
def test_processors_of_exec(bundle):
    bundle.process["execCPUAffinity"] = {"initial": "1"}
    bundle.sleeping()
    script = "grep Cpus_allowed_list /proc/self/status"
    assert bundle.hydra("exec", bundle.id, "sh", "-c", script).stdout.split()[1] == "1"
    process = {**bundle.process, "args": ["sh", "-c", script], "execCPUAffinity": {"initial": "1", "final": "0"}}
    file = bundle.path / "process.json"
    file.write_text(json.dumps(process))
    assert bundle.hydra("exec", "--process", file, bundle.id).stdout.split()[1] == "0"
    file.write_text(json.dumps({**process, "execCPUAffinity": {"final": "no"}}))
    assert "process.execCPUAffinity.final: 'no' is not" in bundle.hydra.refuses("exec", "--process", file, bundle.id, status=255)
    file.write_text(json.dumps({**process, "execCPUAffinity": {"final": "1000"}}))
    assert "process.execCPUAffinity: run on the processors '1000'" in bundle.hydra.refuses("exec", "--process", file, bundle.id, status=255)


@covers("process.selinuxLabel", "process.apparmorProfile")
def test_labels_of_exec_need_their_module_too(bundle):
    if os.path.exists("/sys/module/apparmor") or os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("the kernel has a security module")
    bundle.sleeping()
    for option, field in (("--apparmor", "process.apparmorProfile"), ("--process-label", "process.selinuxLabel")):
        message = bundle.hydra.refuses("exec", option, "x", bundle.id, "true", status=255)
        assert f"{field}: not supported by this kernel" in message


def in_a_network_of_its_own(bundle, setup, *command):
    """Runs hydra where devices can be made and lost without anybody's notice."""
    bundle.save()
    script = f"{setup} && exec \"$@\""
    return subprocess.run(["unshare", "--net", "--mount", "sh", "-ec", script, "sh", *bundle.hydra.command(*command)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE_S)


DEVICES = ("ip link add hyd0 type veth peer name hyd1 && ip link set hyd0 address 02:00:00:00:00:07 mtu 1400 && "
           "ip addr add 10.99.8.7/24 broadcast 10.99.8.255 dev hyd0 && ip addr add 10.99.9.7/32 dev hyd0 && "
           "ip -6 addr add fd00:99::7/64 dev hyd0 nodad && ip link set hyd0 up && ip link set hyd1 up")


@covers("linux.netDevices.*.name")
def test_network_devices_keep_their_addresses(bundle):
    bundle.linux["netDevices"] = {"hyd0": {"name": "eth7"}, "hyd1": {}}
    bundle.linux["resources"] = {}
    bundle.process["args"] = ["/bin/sh", "-c", "cat /sys/class/net/eth7/address /sys/class/net/eth7/mtu /sys/class/net/eth7/flags; "
                              "ls /sys/class/net; cat /proc/net/fib_trie /proc/net/if_inet6"]
    result = in_a_network_of_its_own(bundle, DEVICES, "run", "--bundle", bundle.path, bundle.id)
    assert result.returncode == 0, result.stderr
    words = result.stdout.split()
    assert words[:2] == ["02:00:00:00:00:07", "1400"] and int(words[2], 16) & 1
    assert {"eth7", "hyd1", "lo"} <= set(words) and "hyd0" not in words
    assert {"10.99.8.7", "10.99.8.255", "10.99.9.7", "fd000099000000000000000000000007"} <= set(words)


def test_network_devices_of_a_user_namespace(bundle):
    bundle.user_namespace()
    bundle.linux["netDevices"] = {"hyd0": {"name": "eth7"}}
    bundle.process["args"] = ["/bin/sh", "-c", "grep -c 10.99.8.7 /proc/net/fib_trie; grep -c eth7: /proc/net/dev"]
    result = in_a_network_of_its_own(bundle, DEVICES, "run", "--bundle", bundle.path, bundle.id)
    assert (result.returncode, result.stdout.split()[1]) == (0, "1"), result.stderr


def test_network_devices_go_to_a_network_that_is_joined(bundle, tmp_path):
    (tmp_path / "net").touch()
    bundle.linux["namespaces"] = [{"type": "network", "path": str(tmp_path / "net")} if each["type"] == "network" else each
                                  for each in bundle.linux["namespaces"]]
    bundle.linux["netDevices"] = {"hyd0": {"name": "eth7"}}
    bundle.process["args"] = ["/bin/sh", "-c", "grep -c 10.99.8.7 /proc/net/fib_trie; grep -c eth7: /proc/net/dev"]
    result = in_a_network_of_its_own(bundle, f"unshare --net={tmp_path}/net true && {DEVICES}", "run", "--bundle", bundle.path, bundle.id)
    assert (result.returncode, result.stdout.split()[1]) == (0, "1"), result.stderr
    assert int(result.stdout.split()[0]) > 0


def test_a_device_whose_name_is_taken_ends_the_creation(bundle, tmp_path):
    (tmp_path / "net").touch()
    bundle.linux["namespaces"] = [{"type": "network", "path": str(tmp_path / "net")} if each["type"] == "network" else each
                                  for each in bundle.linux["namespaces"]]
    bundle.linux["netDevices"] = {"hyd0": {"name": "taken"}}
    setup = f"unshare --net={tmp_path}/net ip link add taken type veth peer name other && {DEVICES}"
    result = in_a_network_of_its_own(bundle, setup, "run", "--bundle", bundle.path, bundle.id)
    assert result.returncode == 1 and "linux.netDevices.hyd0: move the device to the container as taken: File exists" in result.stderr


def test_network_devices_need_a_network_and_a_free_name(bundle):
    bundle.linux["netDevices"] = {"hyd0": {"name": "a"}, "hyd1": {"name": "a"}}
    result = in_a_network_of_its_own(bundle, DEVICES, "run", "--bundle", bundle.path, bundle.id)
    assert result.returncode == 1 and "linux.netDevices.hyd1.name: 'a' is there twice" in result.stderr
    bundle.linux["namespaces"] = [each for each in bundle.linux["namespaces"] if each["type"] != "network"]
    assert "linux.netDevices: unable to move network devices without a NET namespace of its own" in bundle.refuses()


ALL_KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@covers("hooks.prestart[].timeout", "hooks.createRuntime[].timeout", "hooks.createContainer[].timeout", "hooks.startContainer[].timeout",
        "hooks.poststart[].timeout", "hooks.poststop[].timeout")
def test_a_hook_of_each_kind_that_takes_too_long_is_killed(bundle):
    """All at once: each of them takes its second."""
    running = {}
    for kind in ALL_KINDS:
        each = bundle.another()
        each.config["hooks"] = {kind: [{"path": "/bin/sleep", "args": ["sleep", "100000"], "timeout": 1}]}
        each.save()
        running[kind] = subprocess.Popen(each.hydra.command("run", "--bundle", each.path, each.id), stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for kind, process in running.items():
        _, message = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, message != "") == ((0, False) if kind == "poststop" else (1, True)), (kind, message)
        assert message == "" or f"error running {kind} hook #0: '/bin/sleep' took longer than 1 s" in message


SECCOMP_CALLS = {
    "SCMP_CMP_EQ": (10, None, 10, 12), "SCMP_CMP_NE": (10, None, 12, 10), "SCMP_CMP_LT": (11, None, 10, 12), "SCMP_CMP_LE": (10, None, 10, 12),
    "SCMP_CMP_GT": (10, None, 12, 10), "SCMP_CMP_GE": (12, None, 12, 10), "SCMP_CMP_MASKED_EQ": (6, 2, 10, 12),
}


@covers("linux.seccomp.syscalls[].…")
def test_seccomp_compares_arguments(bundle):
    """kill(2) with a signal that the rule is about gives ENOSPC, with another one it is sent (and ignored)."""
    for operator, (value, second, refused, sent) in SECCOMP_CALLS.items():
        each = bundle.another()
        argument = {"index": 1, "value": value, "op": operator, **({"valueTwo": second} if second is not None else {})}
        each.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": [argument]}]}
        result = each.sh(f"trap '' USR1 USR2; kill -{refused} $$ && echo sent {refused}; kill -{sent} $$ && echo sent {sent}; true").run()
        assert (result.stdout, "No space left" in result.stderr) == (f"sent {sent}\n", True), (operator, result)


@covers("linux.seccomp.defaultAction", "linux.seccomp.defaultErrnoRet", "linux.seccomp.architectures", "linux.seccomp.flags")
def test_seccomp_default_flags_and_architectures(bundle):
    calls = ("execve exit exit_group read write brk mmap munmap mprotect arch_prctl set_tid_address getuid getpid getppid rt_sigaction "
             "rt_sigprocmask fcntl open openat close stat fstat newfstatat lstat prctl capget capset setresuid setresgid setgroups futex "
             "sendmsg recvmsg close_range getcwd chdir readlink set_robust_list rseq prlimit64 getrandom ioctl umask dup2 getgid geteuid "
             "getegid rt_sigreturn madvise uname wait4 clone vfork fork sendto recvfrom").split()
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 28, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                               "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
                                         "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
                               "syscalls": [{"names": calls, "action": "SCMP_ACT_ALLOW"}]}
    result = bundle.sh("mkdir /tmp/x || echo refused; grep Seccomp: /proc/self/status").run()
    assert "No space left on device" in result.stderr and result.stdout == "refused\nSeccomp:\t2\n"


def test_seccomp_kills_logs_and_traps(bundle):
    for action, expected in {"SCMP_ACT_KILL": 128 + signal.SIGSYS, "SCMP_ACT_KILL_PROCESS": 128 + signal.SIGSYS,
                             "SCMP_ACT_KILL_THREAD": 128 + signal.SIGSYS, "SCMP_ACT_TRAP": 128 + signal.SIGSYS, "SCMP_ACT_LOG": 0,
                             "SCMP_ACT_ALLOW": 0}.items():
        each = bundle.another()
        each.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["uname"], "action": action}]}
        assert each.sh("uname >/dev/null; exit $?").run(check=False).returncode == expected, action


class Agent:
    """A seccomp agent: takes one listener and its state, and lets every call through but one, which fails as told."""
    NOTIFY_RECEIVE, NOTIFY_SEND = 0xC0502100, 0xC0182101

    def __init__(self, path):
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen(4)
        self.states, self.seen = [], []
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            connection, _ = self.server.accept()
            data, fds, _, _ = socket.recv_fds(connection, 65536, 4)
            assert len(fds) == 1 and connection.recv(1) == b"", "one state for each connection, which is closed then"
            self.states.append(json.loads(data))
            threading.Thread(target=self.answer, args=(fds[0],), daemon=True).start()

    def answer(self, fd):
        while True:
            request = ctypes.create_string_buffer(80)
            if LIBC.ioctl(fd, ctypes.c_ulong(self.NOTIFY_RECEIVE), request) < 0:
                os.close(fd)
                return
            identity, pid, _, call = struct.unpack_from("=QIIi", request.raw)
            self.seen.append((pid, call))
            reply = ctypes.create_string_buffer(struct.pack("=Qqii", identity, 0, -28, 0))
            LIBC.ioctl(fd, ctypes.c_ulong(self.NOTIFY_SEND), reply)


@covers("linux.seccomp.listenerPath", "linux.seccomp.listenerMetadata")
@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_seccomp_agent_decides(bundle, tmp_path, wait, no_new_privileges):
    agent = Agent(tmp_path / "agent")
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.config["annotations"] = {"key": "value"}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "agent"), "listenerMetadata": "the data",
                               "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
                               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    pid = bundle.sleeping()
    state = agent.states[0]
    assert (state["fds"], state["pid"], state["metadata"]) == (["seccompFd"], pid, "the data") and state["ociVersion"]
    assert state["state"]["id"] == bundle.id and state["state"]["status"] == "creating" and state["state"]["pid"] == pid
    assert state["state"]["bundle"] == str(bundle.path) and state["state"]["annotations"]["key"] == "value"
    result = bundle.hydra("exec", bundle.id, "mkdir", "/tmp/x", check=False)
    assert result.returncode == 1 and "No space left on device" in result.stderr
    assert agent.states[1]["state"]["status"] == "running" and agent.states[1]["pid"] != pid
    assert len(agent.seen) == 1
    bundle.hydra("kill", bundle.id, "KILL")
    reap(pid)


def test_without_notifications_the_listener_is_ignored(bundle, tmp_path):
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "nobody"),
                               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
    bundle.run()


def test_an_agent_that_is_not_there_ends_the_creation(bundle, tmp_path):
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "nobody"),
                               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    assert "linux.seccomp.listenerPath" in bundle.refuses()
