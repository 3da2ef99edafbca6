# SPDX-License-Identifier: Apache-2.0
"""What config.json asks for is what the container gets."""
import os
import stat

import pytest
from conftest import covers, reap


@covers("hostname", "domainname", "process.user.…", "process.cwd", "process.env", "process.args")
def test_names_identity_and_folder(bundle):
    bundle.config["hostname"] = "box"
    bundle.config["domainname"] = "example"
    bundle.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27}
    bundle.process["cwd"] = "/tmp"
    bundle.process["env"].append("A=b")
    script = "hostname; cat /proc/sys/kernel/domainname; id -u; id -g; id -G; umask; pwd; echo $A $HOME"
    assert bundle.output(script).split("\n")[:-1] == ["box", "example", "1000", "1001", "1001 5 6", "0027", "/tmp", "b /home/user"]


def test_a_missing_working_directory_is_made(bundle, tmp_path):
    bundle.mount("/data", "bind", str(tmp_path), "bind")
    bundle.process["cwd"] = "/data/new/folder"
    assert bundle.output("pwd") == "/data/new/folder\n"


@covers("linux.namespaces[].type")
def test_namespaces_are_new(bundle):
    bundle.linux["namespaces"].append({"type": "time"})
    names = ("pid", "net", "ipc", "uts", "mnt", "cgroup", "time")
    inside = bundle.output("for n in %s; do readlink /proc/self/ns/$n; done" % " ".join(names)).split()
    assert len(inside) == len(names)
    for name, link in zip(names, inside):
        assert os.readlink(f"/proc/self/ns/{name}") != link


def test_a_new_network_has_its_loopback_device(bundle):
    assert bundle.output("grep -c 127.0.0.1 /proc/net/fib_trie || true; cat /sys/class/net/lo/operstate").split()[0] != "0"


@covers("linux.namespaces[].path")
def test_namespaces_are_joined_by_path(bundle):
    pid = bundle.sleeping()
    other = bundle.another()
    files = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts"}
    other.linux["namespaces"] = [{"type": kind, "path": f"/proc/{pid}/ns/{file}"} for kind, file in files.items()] + [
        {"type": "mount"}, {"type": "cgroup"}]
    del other.config["hostname"]
    inside = other.output("for n in pid net ipc uts; do readlink /proc/self/ns/$n; done").split()
    assert inside == [os.readlink(f"/proc/{pid}/ns/{file}") for file in files.values()]


def test_time_offsets(bundle):
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 5}}
    with open("/proc/uptime") as uptime:
        outside = float(uptime.read().split()[0])
    inside = float(bundle.output("cat /proc/uptime").split()[0])
    assert inside >= outside + 1000000


def test_user_namespace(bundle):
    bundle.user_namespace()
    bundle.sh("id -u; cat /proc/self/uid_map; stat -c %u /proc/1/; echo x >/dev/null && echo ok")
    assert bundle.run().stdout.split() == ["0", "0", "100000", "65536", "0", "ok"]


def test_user_namespace_by_path(bundle):
    bundle.user_namespace()
    pid = bundle.sleeping()
    other = bundle.another()
    other.linux["namespaces"].append({"type": "user", "path": f"/proc/{pid}/ns/user"})
    assert other.output("readlink /proc/self/ns/user; id -u").split() == [os.readlink(f"/proc/{pid}/ns/user"), "0"]


@covers("mounts[].source")
def test_bind_sources_that_only_the_host_may_reach(bundle, tmp_path):
    secret = tmp_path / "closed" / "open"
    secret.mkdir(parents=True)
    (secret / "file").write_text("here")
    secret.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    bundle.user_namespace().mount("/data", "bind", str(secret), "rbind", "ro")
    assert bundle.output("cat /data/file") == "here"


@covers("mounts[].destination", "mounts[].type", "mounts[].source", "mounts[].options")
def test_mount_options(bundle, tmp_path):
    (tmp_path / "file").write_text("content")
    bundle.mount("/data/ro", "bind", str(tmp_path), "bind", "ro", "nosuid", "nodev", "noexec")
    bundle.mount("/data/one", "bind", str(tmp_path / "file"), "bind")
    bundle.mount("/data/tmp", "tmpfs", "tmpfs", "size=64k", "mode=700")
    bundle.mount("/data/rro", "bind", str(tmp_path), "rbind", "rro")
    out = bundle.output("grep ' /data' /proc/self/mounts; cat /data/one; touch /data/ro/x || echo refused; touch /data/rro/x || echo refused")
    lines = {line.split()[1]: line.split() for line in out.splitlines() if line.count(" ") > 3}
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(lines["/data/ro"][3].split(","))
    assert "size=64k" in lines["/data/tmp"][3] and "mode=700" in lines["/data/tmp"][3]
    assert "ro" in lines["/data/rro"][3].split(",")
    assert "content" in out and out.count("refused") == 2


def test_a_tmpfs_can_start_with_what_it_covers(bundle):
    bundle.mount("/etc", "tmpfs", "tmpfs", "tmpcopyup")
    assert bundle.output("grep -c root /etc/passwd; grep -c ' /etc ' /proc/self/mounts").split() == ["1", "1"]


def test_a_tmpfs_that_starts_with_what_it_covers_keeps_the_mode_that_is_asked_for(bundle):
    bundle.mount("/etc", "tmpfs", "tmpfs", "tmpcopyup", "mode=1770", "gid=5").mount("/tmp", "tmpfs", "tmpfs", "tmpcopyup")
    assert bundle.output("stat -c %a:%u:%g /etc /tmp; grep -c root /etc/passwd").split() == ["1770:0:5", "1777:0:0", "1"]


@covers("mounts[].uidMappings[].…", "mounts[].gidMappings[].…")
def test_id_mapped_mounts(bundle, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("x")
    entry = {"destination": "/data", "type": "bind", "source": str(tmp_path), "options": ["bind", "idmap"],
             "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}], "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]}
    bundle.config["mounts"].append(entry)
    bundle.save()
    result = bundle.sh("stat -c %u:%g /data/file").run(check=False)
    if "Invalid argument" in result.stderr:
        pytest.skip("the filesystem of the tests does not support id-mapped mounts")
    assert result.stdout == "1000:1000\n", result.stderr


def test_links_in_the_image_do_not_lead_outside(bundle, rootfs, tmp_path):
    """A mount target that is a link is followed inside the root."""
    link = rootfs / "tmp" / "escape"
    link.symlink_to("/../../../data")
    bundle.mount("/tmp/escape/inner", "tmpfs", "tmpfs")
    try:
        assert bundle.output("grep -c ' /data/inner ' /proc/self/mounts") == "1\n"
        assert not os.path.exists("/data/inner")
    finally:
        link.unlink()


def test_proc_cannot_be_covered(bundle, tmp_path):
    bundle.mount("/proc/self", "bind", str(tmp_path), "bind")
    assert "cover a part of /proc" in bundle.refuses()


@covers("linux.maskedPaths", "linux.readonlyPaths")
def test_masked_and_readonly_paths(bundle):
    bundle.linux["maskedPaths"] = ["/etc/passwd", "/proc/fs", "/sys/kernel", "/nowhere"]
    bundle.linux["readonlyPaths"] = ["/proc/sys", "/tmp", "/nowhere"]
    out = bundle.output("wc -c </etc/passwd; ls /sys/kernel | wc -l; ls /proc/fs | wc -l; touch /tmp/x || echo refused")
    assert out.split() == ["0", "0", "0", "refused"]


@covers("root.path", "root.readonly")
def test_readonly_root(bundle):
    bundle.config["root"]["readonly"] = True
    assert bundle.output("touch /x || echo refused") == "refused\n"


def test_devices(bundle):
    bundle.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6}]
    out = bundle.output("stat -c '%n %t:%T %a %u:%g' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/mine; "
                        "readlink /dev/fd; readlink /dev/ptmx")
    assert "/dev/null 1:3 666 0:0" in out and "/dev/tty 5:0 666 0:0" in out and "/dev/mine 1:3 640 5:6" in out
    assert "/proc/self/fd" in out and "pts/ptmx" in out


@covers("linux.resources.devices[].…")
def test_device_rules(bundle):
    bundle.all_capabilities()
    assert bundle.output("mknod /tmp/m c 1 1 && cat /tmp/m >/dev/null 2>&1 || echo refused; rm -f /tmp/m") == "refused\n"


@covers("process.capabilities.…", "process.noNewPrivileges")
def test_capabilities(bundle):
    bundle.process["noNewPrivileges"] = True
    bundle.process["capabilities"] = {"bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
                                      "effective": ["CAP_CHOWN"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]}
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    lines = dict(line.split(":\t") for line in bundle.output("grep -E 'Cap|NoNewPrivs' /proc/self/status").splitlines())
    assert {key: int(value, 16) for key, value in lines.items()} == {
        "CapInh": 1, "CapPrm": 1, "CapEff": 1, "CapBnd": 0x21, "CapAmb": 1, "NoNewPrivs": 1}


@covers("process.rlimits[].…", "process.oomScoreAdj")
def test_resource_limits_and_oom_score(bundle):
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    bundle.process["oomScoreAdj"] = 321
    out = bundle.output("grep -E 'open files|core' /proc/self/limits; cat /proc/self/oom_score_adj")
    assert "100                  200" in out and out.endswith("321\n")


def test_io_priority_and_scheduler(bundle):
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
    pid = bundle.sleeping()
    assert os.sched_getscheduler(pid) == os.SCHED_BATCH
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5


@covers("linux.sysctl")
def test_sysctl(bundle):
    bundle.linux["sysctl"] = {"kernel.msgmax": "4096", "net.ipv4.ip_forward": "1", "net/ipv4/ip_default_ttl": "33"}
    out = bundle.output("cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_default_ttl")
    assert out.split() == ["4096", "1", "33"]


def test_sysctls_of_the_host_are_refused(bundle):
    bundle.linux["sysctl"] = {"kernel.panic": "1"}
    assert "'kernel.panic' is not in a separate kernel namespace" in bundle.refuses()
    bundle.linux["sysctl"] = {"net.../kernel.panic": "1"}
    bundle.refuses()


@pytest.mark.parametrize("no_new_privileges", [True, False])
@covers("linux.seccomp.defaultAction", "linux.seccomp.architectures")
def test_seccomp(bundle, no_new_privileges):
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.all_capabilities()
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
        {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]}
    out = bundle.sh("mkdir /tmp/x; kill -USR1 $$; kill -0 $$ && echo alive; grep Seccomp: /proc/self/status").run()
    assert "No space left on device" in out.stderr and "ot permitted" in out.stderr
    assert out.stdout == "alive\nSeccomp:\t2\n"


def test_seccomp_survives_into_exec(bundle):
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW",
                               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}
    bundle.sleeping()
    result = bundle.hydra("exec", bundle.id, "mkdir", "/tmp/y", check=False)
    assert result.returncode == 1 and "No space left on device" in result.stderr


@pytest.mark.parametrize("entry, message", [
    ({"defaultAction": "SCMP_ACT_WHAT"}, "unknown action 'SCMP_ACT_WHAT'"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["PDP11"]}, "unknown architecture 'PDP11'"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}, "unknown flag 'X'"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]}]},
     "argument index above 5"),
])
def test_bad_seccomp_is_refused(bundle, entry, message):
    bundle.linux["seccomp"] = entry
    assert message in bundle.refuses()


@covers("linux.rootfsPropagation")
def test_rootfs_propagation(bundle):
    bundle.linux["rootfsPropagation"] = "shared"
    assert "shared:" in bundle.output("grep ' / / ' /proc/self/mountinfo || grep ' / ' /proc/self/mountinfo | head -n 1")
    bundle.linux["rootfsPropagation"] = "sideways"
    assert "unknown word 'sideways'" in bundle.refuses()


def test_no_pivot(bundle):
    assert bundle.sh("ls / | grep -c bin").run("--no-pivot").stdout == "1\n"


@covers("linux.personality.domain")
def test_personality(bundle):
    bundle.linux["personality"] = {"domain": "LINUX32"}
    assert bundle.output("uname -m") == "i686\n"


@pytest.mark.parametrize("field, value, message", [
    ("apparmorProfile", "x", "process.apparmorProfile: not supported by this kernel (it has no AppArmor)"),
    ("selinuxLabel", "x", "process.selinuxLabel: not supported by this kernel (it has no SELinux)"),
])
@covers("process.apparmorProfile", "process.selinuxLabel")
def test_labels_need_their_module(bundle, field, value, message):
    if os.path.exists("/sys/module/apparmor") or os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("the kernel has a security module")
    bundle.process[field] = value
    assert message in bundle.refuses()


@pytest.mark.parametrize("args, message", [
    (["nothing-like-this"], 'exec: "nothing-like-this": executable file not found in $PATH'),
    (["/bin/nope"], 'exec: "/bin/nope": stat /bin/nope: no such file or directory'),
    (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
    (["/etc"], "is a directory"),
])
def test_programs_that_cannot_be_executed(bundle, args, message):
    bundle.process["args"] = args
    assert message in bundle.refuses()


def test_the_runtime_cannot_be_overwritten_from_inside(bundle):
    """CVE-2019-5736: what /proc/self/exe leads to is read-only, for init before its exec and for exec."""
    pid = bundle.create()
    with pytest.raises(OSError):
        os.open(f"/proc/{pid}/exe", os.O_WRONLY)
    assert os.fstatvfs(os.open(f"/proc/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC)).f_flag & os.ST_RDONLY


def test_modes_of_the_terminal_files(bundle):
    pid = bundle.create()
    for name in ("state.json", "config.json", "exec.fifo"):
        assert stat.S_IMODE((bundle.hydra.root / bundle.id / name).stat().st_mode) == 0o600
    bundle.hydra("delete", "--force", bundle.id)
    reap(pid)
