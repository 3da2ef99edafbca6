#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which test shows what each field of config.json does: docs/oci-coverage.md, made from the parser's tables and the tests' marks.

oci_coverage.py SOURCE [--write]: without --write it fails when a field of the specification is not parsed, a parsed one is not of
the specification, one has no test, a mark names no field, or the page is another one than it would be now. A test is marked by
`@covers("field", ...)`; an object that only holds other fields needs no mark.
"""
import ast
import pathlib
import sys

from oci_tables import parsed_fields

PAGE = "docs/oci-coverage.md"
TESTS = "tests/integration/runtime"
HEAD = """# What is done with each field of config.json

Of the OCI runtime specification 1.3, for Linux. This page is made by `tests/checks/oci_coverage.py --write` of the parser's tables
(`runtime/spec_fields*.c`) and the marks `@covers(...)` at the tests; `meson test --suite checks` fails when it is not what they say, when
a field has no test, or when a field of the specification is not parsed.

A value of the wrong type in any of these fields, and an object without a field that it must have, is refused before anything is made, with
the path of the field ([test_wrong_types.py](../tests/integration/runtime/test_wrong_types.py), which reads the same tables). Fields of other
operating systems (`windows`, `solaris`, `zos`, `freebsd`, `vm`, `process.commandLine`, `process.user.username`) are ignored, and so is every
field that the specification does not know.

`[]` is any index, `*` any name; **!** marks what an object must have.

| field | | test |
|---|---|---|
"""

# Everything that the specification has for Linux, where it is not in a list of its own.
LISTS = {
    "": "ociVersion root process hostname domainname mounts[] hooks annotations linux",
    "root": "path readonly",
    "mounts[]": "destination type source options uidMappings[] gidMappings[]",
    "mounts[].uidMappings[]": "containerID hostID size",
    "mounts[].gidMappings[]": "containerID hostID size",
    "process": "terminal consoleSize cwd env args rlimits[] apparmorProfile capabilities noNewPrivileges oomScoreAdj scheduler selinuxLabel "
               "ioPriority execCPUAffinity user",
    "process.consoleSize": "height width",
    "process.rlimits[]": "type soft hard",
    "process.capabilities": "bounding effective inheritable permitted ambient",
    "process.scheduler": "policy nice priority flags runtime deadline period",
    "process.ioPriority": "class priority",
    "process.execCPUAffinity": "initial final",
    "process.user": "uid gid umask additionalGids",
    "hooks": "prestart[] createRuntime[] createContainer[] startContainer[] poststart[] poststop[]",
    **{f"hooks.{hook}[]": "path args env timeout" for hook in
       ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")},
    "linux": "namespaces[] uidMappings[] gidMappings[] timeOffsets devices[] netDevices.* cgroupsPath resources intelRdt memoryPolicy sysctl "
             "seccomp rootfsPropagation maskedPaths readonlyPaths mountLabel personality",
    "linux.namespaces[]": "type path",
    "linux.uidMappings[]": "containerID hostID size",
    "linux.gidMappings[]": "containerID hostID size",
    "linux.timeOffsets": "monotonic boottime",
    "linux.timeOffsets.monotonic": "secs nanosecs",
    "linux.timeOffsets.boottime": "secs nanosecs",
    "linux.devices[]": "type path major minor fileMode uid gid",
    "linux.netDevices.*": "name",
    "linux.resources": "devices[] memory cpu blockIO hugepageLimits[] network pids rdma.* unified",
    "linux.resources.devices[]": "allow type major minor access",
    "linux.resources.memory": "limit reservation swap kernel kernelTCP swappiness disableOOMKiller useHierarchy checkBeforeUpdate",
    "linux.resources.cpu": "shares quota burst period realtimeRuntime realtimePeriod cpus mems idle",
    "linux.resources.blockIO": "weight leafWeight weightDevice[] throttleReadBpsDevice[] throttleWriteBpsDevice[] throttleReadIOPSDevice[] "
                               "throttleWriteIOPSDevice[]",
    "linux.resources.blockIO.weightDevice[]": "major minor weight leafWeight",
    **{f"linux.resources.blockIO.throttle{what}Device[]": "major minor rate" for what in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")},
    "linux.resources.hugepageLimits[]": "pageSize limit",
    "linux.resources.network": "classID priorities[]",
    "linux.resources.network.priorities[]": "name priority",
    "linux.resources.pids": "limit",
    "linux.resources.rdma.*": "hcaHandles hcaObjects",
    "linux.intelRdt": "closID schemata l3CacheSchema memBwSchema enableMonitoring enableCMT enableMBM",
    "linux.memoryPolicy": "mode nodes flags",
    "linux.seccomp": "defaultAction defaultErrnoRet architectures flags listenerPath listenerMetadata syscalls[]",
    "linux.seccomp.syscalls[]": "names action errnoRet args[]",
    "linux.seccomp.syscalls[].args[]": "index value valueTwo op",
    "linux.personality": "domain flags",
}

# What is not simply done, by the beginning of the path.
REMARKS = {
    "process.apparmorProfile": "refused by a kernel without AppArmor",
    "process.selinuxLabel": "refused by a kernel without SELinux",
    "linux.mountLabel": "refused by a kernel without SELinux, by the mount",
    "process.execCPUAffinity": "of `exec`, as the specification has it",
    "linux.intelRdt": "refused where no resctrl is mounted; tested on stand-ins: no machine of ours has the hardware",
    "linux.personality.flags": "refused: the specification has none yet",
    "linux.resources.rdma": "refused where the controller is missing",
    "linux.resources.hugepageLimits": "refused where the controller is missing",
    "linux.resources.network": "cgroup v1; refused where the controller is missing",
    "linux.resources.memory.kernel": "ignored: kernels do not have it any more",
    "linux.resources.memory.kernelTCP": "ignored: cgroup v2 does not have it, and no caller sets it",
    "linux.resources.memory.useHierarchy": "ignored: it always is hierarchical",
    "linux.resources.memory.swappiness": "cgroup v1; refused on v2",
    "linux.resources.memory.disableOOMKiller": "cgroup v1; refused on v2",
    "linux.resources.memory.checkBeforeUpdate": "cgroup v1 always does so by itself",
    "linux.resources.cpu.realtimeRuntime": "cgroup v1; refused on v2",
    "linux.resources.cpu.realtimePeriod": "cgroup v1; refused on v2",
    "linux.resources.blockIO.leafWeight": "cgroup v1 of kernels before 5.0; refused by others",
    "linux.resources.blockIO.weightDevice[].leafWeight": "cgroup v1 of kernels before 5.0; refused by others",
}


def display(field):
    """The name that the lists above and the marks use: a list or a map ends with what its items are."""
    return field.name + {"OBJECTS": "[]", "NAMED": ".*"}.get(field.kind, "")


def specified():
    return [f"{prefix}.{name}".lstrip(".") for prefix, names in LISTS.items() for name in names.split()]


def marks_of(file):
    for node in ast.parse(file.read_text()).body:
        for mark in getattr(node, "decorator_list", []):
            if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "covers":
                yield node.name, [ast.literal_eval(argument) for argument in mark.args]


def read_marks(source):
    """Field -> tests, in the order of the files."""
    covered = {}
    for file in sorted((source / TESTS).glob("test_*.py")):
        for test, fields in marks_of(file):
            for field in fields:
                covered.setdefault(field, []).append((file.name, test))
    return covered


def expand(covered, names):
    """A mark that ends with "…" is for all fields that begin so."""
    known, unknown = {name: [] for name in names}, []
    for mark, tests in covered.items():
        hit = [name for name in names if name == mark or (mark.endswith("…") and name.startswith(mark[:-1]))]
        unknown += [] if hit else [mark]
        for name in hit:
            known[name] += [test for test in tests if test not in known[name]]
    return known, unknown


def remark(name):
    fitting = [text for start, text in REMARKS.items() if name == start or name.startswith((start + ".", start + "["))]
    return fitting[-1] if fitting else ""


def page(fields, tests):
    lines = []
    for field in fields:
        name = display(field)
        shown = ", ".join(f"[{file}](../{TESTS}/{file})::{test}" for file, test in tests[name])
        mark = " **!**" if field.is_required else ""
        lines.append(f"| `{name}`{mark} | {remark(name)} | {shown} |\n")
    return HEAD + "".join(lines)


def problems(fields, tests, unknown):
    names, wanted = [display(field) for field in fields], specified()
    yield from (f"{name}: of the specification, but not parsed" for name in wanted if name not in names)
    yield from (f"{name}: parsed, but not of the specification" for name in names if name not in wanted)
    yield from (f"{name}: has a remark, but there is no such field" for name in REMARKS
                if not any(known == name or known.startswith((name + ".", name + "[")) for known in names))
    yield from (f"{mark}: is covered by a test, but there is no such field" for mark in unknown)
    for field in fields:
        if not field.kind.startswith(("OBJECT", "OPTIONAL", "NAMED")) and not tests[display(field)]:
            yield f"{display(field)}: parsed, but no test is marked with it"


def main():
    source = pathlib.Path(sys.argv[1])
    fields = parsed_fields(source)
    tests, unknown = expand(read_marks(source), [display(field) for field in fields])
    text = page(fields, tests)
    if "--write" in sys.argv:
        (source / PAGE).write_text(text)
    found = list(problems(fields, tests, unknown))
    if (source / PAGE).read_text() != text:
        found.append(f"{PAGE} is not up to date: tests/checks/oci_coverage.py . --write")
    print("\n".join(found))
    sys.exit(bool(found))


main()
