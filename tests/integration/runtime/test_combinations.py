# SPDX-License-Identifier: Apache-2.0
"""Words that nobody knows and combinations that cannot be: refused before anything is made, with the path of the field."""
import copy
import os
import pathlib

import pytest
from conftest import cgroup_dirs, covers

IS_V2 = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()


def seccomp(**changes):
    return {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", **changes}}}


def rule(**changes):
    return seccomp(syscalls=[{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", **changes}])


def policy(**fields):
    return {"linux": {"memoryPolicy": fields}}


def without_namespace(kind):
    return lambda config: config["linux"].update(namespaces=[each for each in config["linux"]["namespaces"] if each["type"] != kind])


def user_namespace(**mappings):
    def change(config):
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"].update({"uidMappings": MAPPING, "gidMappings": MAPPING, **mappings})
    return change


def joined(kind, path):
    return {"hostname": "", "linux": {"namespaces": [{"type": "mount"}, {"type": kind, "path": path}]}}


def mount(**fields):
    return {"mounts": [{"destination": "/data", **fields}]}


MAPPING = [{"containerID": 0, "hostID": 1, "size": 1}]
REFUSED = [
    ({"ociVersion": "2.0.0"}, "ociVersion: '2.0.0' is not supported"),
    ({"root": {"path": ""}}, "root.path: missing"),
    ({"process": {"args": []}}, "process.args: must not be empty"),
    ({"process": {"user": {"umask": 0o1000}}}, "process.user.umask: more than 0777"),
    ({"process": {"rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}}, "process.rlimits[0].type: unknown limit"),
    ({"process": {"rlimits": [{"type": "RLIMIT_AS", "soft": 2, "hard": 1}]}}, "process.rlimits[0].soft: above the hard limit"),
    ({"process": {"scheduler": {"policy": "SCHED_X"}}}, "process.scheduler.policy: unknown policy 'SCHED_X'"),
    ({"process": {"scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}}}, "process.scheduler.flags[0]: unknown flag 'X'"),
    ({"process": {"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}}, "process.scheduler.nice: must be from -20 to 19"),
    ({"process": {"scheduler": {"policy": "SCHED_FIFO", "priority": 100}}}, "process.scheduler.priority: must be from 0 to 99"),
    ({"process": {"ioPriority": {"class": "X"}}}, "process.ioPriority.class: unknown class 'X'"),
    ({"process": {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}}, "process.ioPriority.priority: must be from 0 to 7"),
    ({"process": {"execCPUAffinity": {"initial": "0-"}}}, "process.execCPUAffinity.initial: '0-' is not a list of processors"),
    ({"process": {"execCPUAffinity": {"final": "x"}}}, "process.execCPUAffinity.final: 'x' is not a list of processors"),
    ({"hooks": {"poststop": [{"path": "x"}]}}, "hooks.poststop[0].path: must be an absolute path"),
    ({"hooks": {"poststart": [{"path": "/x", "timeout": 0}]}}, "hooks.poststart[0].timeout: must be more than 0"),
    ({"linux": {"namespaces": [{"type": "pod"}]}}, "linux.namespaces[0].type: unknown namespace 'pod'"),
    ({"linux": {"namespaces": [{"type": "ipc"}, {"type": "ipc"}]}}, "linux.namespaces[1].type: 'ipc' is there twice"),
    ({"linux": {"namespaces": [{"type": "ipc", "path": "x"}]}}, "linux.namespaces[0].path: 'x' is not absolute"),
    (without_namespace("uts"), "hostname: needs a uts namespace of its own"),
    (without_namespace("mount"), "mounts: need a mount namespace of its own"),
    (lambda config: (config.pop("mounts"), without_namespace("mount")(config)), "linux.maskedPaths: needs a mount namespace of its own"),
    (joined("ipc", "/proc/self/ns/uts"), "linux.namespaces[1].path: '/proc/self/ns/uts' is no ipc namespace"),
    (joined("user", "/dev/null"), "linux.namespaces[1].path: '/dev/null' is no user namespace"),
    (user_namespace(uidMappings=[{**MAPPING[0], "size": 0}]), "linux.uidMappings[0].size: must be more than 0"),
    (user_namespace(gidMappings=[{"containerID": 0, "hostID": 10, "size": 5}, {"containerID": 4, "hostID": 20, "size": 5}]),
     "linux.gidMappings[1]: overlaps with linux.gidMappings[0]"),
    (user_namespace(uidMappings=[]), "linux.uidMappings and linux.gidMappings: a new user namespace needs both or none"),
    (mount(options=["bind"]), "mounts[0].source: missing, it is to be bound"),
    (mount(source="/tmp", options=["rbind", "ridmap"]), "mounts[0].options: idmap needs uidMappings and gidMappings"),
    (mount(source="/tmp", options=["bind"], uidMappings=[{"containerID": 0, "hostID": 1, "size": 1}]),
     "mounts[0].gidMappings: missing beside the other"),
    ({"linux": {"namespaces": [{"type": "time"}, {"type": "mount"}], "timeOffsets": {"monotonic": {"nanosecs": 1000000000}}}, "hostname": ""},
     "linux.timeOffsets.monotonic.nanosecs: must be less than a second"),
    ({"linux": {"uidMappings": MAPPING}}, "linux.uidMappings: needs a user namespace of its own"),
    ({"linux": {"gidMappings": MAPPING}}, "linux.gidMappings: needs a user namespace of its own"),
    ({"linux": {"timeOffsets": {"boottime": {"secs": 1}}}}, "linux.timeOffsets: needs a time namespace of its own"),
    ({"linux": {"devices": [{"type": "x", "path": "/dev/x"}]}}, "linux.devices[0].type: 'x' is not c, b, u or p"),
    ({"linux": {"devices": [{"type": "p", "path": "x"}]}}, "linux.devices[0].path: 'x' is not an absolute path"),
    ({"linux": {"devices": [{"type": "b", "path": "/dev/x", "minor": 1}]}}, "linux.devices[0].major: missing"),
    ({"linux": {"resources": {"devices": [{"allow": True, "type": "x"}]}}}, "linux.resources.devices[0].type: 'x' is not a, b or c"),
    ({"linux": {"resources": {"devices": [{"allow": True, "access": "x"}]}}}, "linux.resources.devices[0].access: 'x'"),
    ({"linux": {"rootfsPropagation": "sideways"}}, "linux.rootfsPropagation: unknown word 'sideways'"),
    ({"linux": {"sysctl": {"vm.swappiness": "1"}}}, "linux.sysctl: 'vm.swappiness' is not in a separate kernel namespace"),
    ({"linux": {"sysctl": {"net/../vm/swappiness": "1"}}}, "linux.sysctl: 'net/../vm/swappiness' is not a name"),
    ({"linux": {"personality": {"domain": "PDP11"}}}, "linux.personality.domain: unknown domain 'PDP11'"),
    ({"linux": {"personality": {"domain": "LINUX", "flags": ["X"]}}}, "linux.personality.flags[0]: unknown flag 'X'"),
    (policy(mode="MPOL_X"), "linux.memoryPolicy.mode: invalid memory policy mode 'MPOL_X'"),
    (policy(mode="MPOL_BIND"), "linux.memoryPolicy.nodes: needed by MPOL_BIND"),
    (policy(mode="MPOL_BIND", nodes="all"), "linux.memoryPolicy.nodes: invalid memory policy nodes 'all'"),
    (policy(mode="MPOL_LOCAL", nodes="0"), "linux.memoryPolicy.nodes: MPOL_LOCAL takes none"),
    (policy(mode="MPOL_BIND", nodes="0", flags=["X"]), "linux.memoryPolicy.flags[0]: invalid memory policy flag 'X'"),
    (policy(mode="MPOL_BIND", nodes="0", flags=["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]), "cannot be both relative and static"),
    ({"linux": {"netDevices": {"lo": {}}}}, "linux.netDevices.lo: not the name of a device that can be moved"),
    ({"linux": {"netDevices": {"a/b": {}}}}, "linux.netDevices.a/b: not the name"),
    ({"linux": {"netDevices": {"nodev0": {"name": "longer-than-a-name"}}}}, "linux.netDevices.nodev0.name: 'longer-than-a-name' cannot be"),
    ({"linux": {"netDevices": {"nodev0": {}}}}, "linux.netDevices.nodev0: find the device: No such device"),
    (seccomp(defaultAction="SCMP_ACT_X"), "linux.seccomp.defaultAction: unknown action 'SCMP_ACT_X'"),
    (seccomp(defaultAction="SCMP_ACT_NOTIFY", listenerPath="/x"), "linux.seccomp.defaultAction: cannot be SCMP_ACT_NOTIFY"),
    (seccomp(defaultErrnoRet=65536), "linux.seccomp.defaultErrnoRet: above 65535"),
    (seccomp(architectures=["SCMP_ARCH_X86_64", "PDP11"]), "linux.seccomp.architectures[1]: unknown architecture 'PDP11'"),
    (seccomp(flags=["X"]), "linux.seccomp.flags[0]: unknown flag 'X'"),
    (seccomp(listenerMetadata="x"), "linux.seccomp.listenerMetadata: needs linux.seccomp.listenerPath"),
    (rule(action="X"), "linux.seccomp.syscalls[0].action: unknown action 'X'"),
    (rule(names=[]), "linux.seccomp.syscalls[0].names: must not be empty"),
    (rule(errnoRet=70000), "linux.seccomp.syscalls[0].errnoRet: above 65535"),
    (rule(action="SCMP_ACT_NOTIFY"), "linux.seccomp.listenerPath: needed by SCMP_ACT_NOTIFY"),
    (rule(args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]), "linux.seccomp.syscalls[0].args[0].index: argument index above 5"),
    (rule(args=[{"index": 0, "value": 1, "op": "X"}]), "linux.seccomp.syscalls[0].args[0].op: unknown operator 'X'"),
    (rule(args=[{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}] * 7), "linux.seccomp.syscalls[0].args: more than 6 arguments"),
]


def merge(config, change):
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            merge(config[key], value)
        else:
            config[key] = value


def refusal(bundle, original, change):
    bundle.config = copy.deepcopy(original)
    if callable(change):
        change(bundle.config)
    else:
        merge(bundle.config, change)
    message = bundle.refuses()
    assert not bundle.hydra.root.exists() or os.listdir(bundle.hydra.root) == []
    assert cgroup_dirs(bundle.id) == []
    return message


@covers("linux.personality.flags")
def test_what_cannot_be_is_refused_before_anything_is_made(bundle):
    original = bundle.config
    for change, message in REFUSED:
        assert message in refusal(bundle, original, change)


def controllers():
    if IS_V2:
        return pathlib.Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    return [name for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines() for name in line.split(":")[1].split(",")]


RDT = {"closID": "x", "schemata": ["L3:0=f"], "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=50", "enableMonitoring": True,
       "enableCMT": False, "enableMBM": False}


@covers("linux.intelRdt.…", "linux.mountLabel")
def test_what_the_kernel_does_not_have_is_named(bundle):
    original = bundle.config
    for field, value in RDT.items():
        assert "linux.intelRdt: not supported" in refusal(bundle, original, {"linux": {"intelRdt": {field: value}}})
    if not os.path.exists("/sys/fs/selinux/enforce"):
        message = refusal(bundle, original, {"linux": {"mountLabel": "system_u:object_r:container_file_t:s0"}})
        assert "linux.mountLabel: not supported by this kernel" in message


@pytest.mark.parametrize("controller, field, value", [
    ("rdma", "rdma", {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}),
    ("hugetlb", "hugepageLimits", [{"pageSize": "2MB", "limit": 2 << 20}]),
    ("net_cls", "network", {"classID": 1048577}),
    ("net_prio", "network", {"priorities": [{"name": "lo", "priority": 500}]}),
])
@covers("linux.resources.rdma.…", "linux.resources.hugepageLimits[].…", "linux.resources.network.…")
def test_a_controller_that_is_not_there_is_named_or_else_obeys(bundle, controller, field, value):
    if controller not in controllers():
        message = refusal(bundle, bundle.config, {"linux": {"resources": {field: value}}})
        assert f"linux.resources.{field}" in message and "not supported by this kernel" in message
        return
    bundle.linux["resources"][field] = value
    if controller == "rdma" and not os.path.exists("/sys/class/infiniband/mlx5_1"):
        assert "linux.resources.rdma: " in bundle.refuses()
        return
    bundle.sleeping()
    folder = pathlib.Path("/sys/fs/cgroup") / ("" if IS_V2 else controller) / "hydra" / bundle.id
    file = {"rdma": "rdma.max", "hugetlb": "hugetlb.2MB.max" if IS_V2 else "hugetlb.2MB.limit_in_bytes", "net_cls": "net_cls.classid",
            "net_prio": "net_prio.ifpriomap"}[controller]
    assert any(word in (folder / file).read_text() for word in ("hca_object=10000", str(2 << 20), "1048577", "lo 500"))
