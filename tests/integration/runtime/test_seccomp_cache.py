# SPDX-License-Identifier: Apache-2.0
"""Compiled seccomp filters are kept, and what is kept is used for the same profile only, from a folder that is ours alone."""
import os
import pathlib
import shutil
import struct

import pytest

FOLDER = pathlib.Path("/run/hydra/.seccomp")
HEAD = struct.Struct("=8sII")  # magic, bytes of the key, instructions
ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)  # BPF_RET, SECCOMP_RET_ALLOW
PROFILE = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}


@pytest.fixture
def cache():
    shutil.rmtree(FOLDER, ignore_errors=True)
    yield FOLDER
    shutil.rmtree(FOLDER, ignore_errors=True)


def refused(bundle, profile=None):
    """What mkdir says in a container."""
    bundle.linux["seccomp"] = profile or PROFILE
    return bundle.output("mkdir /tmp/made 2>&1; rmdir /tmp/made 2>/dev/null; true")


def files(cache):
    return sorted(path.name for path in cache.iterdir())


def parts(path):
    data = path.read_bytes()
    magic, key, count = HEAD.unpack_from(data)
    assert magic == b"hydrabpf" and len(data) == HEAD.size + key + 8 * count
    return data[HEAD.size:HEAD.size + key], data[HEAD.size + key:]


def poison(path, key):
    """The file as a filter that allows everything."""
    path.write_bytes(HEAD.pack(b"hydrabpf", len(key), 1) + key + ALLOW_ALL)


def test_a_filter_is_compiled_once_and_works_from_the_cache(bundle, cache):
    assert "No space left" in refused(bundle)
    [name] = files(cache)
    before = (cache / name).stat()
    assert cache.stat().st_mode & 0o777 == 0o700 and before.st_mode & 0o777 == 0o600
    assert "No space left" in refused(bundle)
    after = (cache / name).stat()
    assert files(cache) == [name] and (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_what_is_kept_is_really_used(bundle, cache):
    """Or the tests of what is not used would show nothing."""
    refused(bundle)
    path = cache / files(cache)[0]
    poison(path, parts(path)[0])
    assert refused(bundle) == ""


@pytest.mark.parametrize("change", [
    lambda profile: profile.update(defaultAction="SCMP_ACT_LOG"),
    lambda profile: profile.update(architectures=["SCMP_ARCH_X86"]),
    lambda profile: profile["syscalls"][0].update(errnoRet=1),
    lambda profile: profile["syscalls"][0].update(names=["mkdir"]),
    lambda profile: profile["syscalls"][0].update(action="SCMP_ACT_KILL"),
    lambda profile: profile["syscalls"][0].update(args=[{"index": 0, "value": 1, "op": "SCMP_CMP_NE"}]),
    lambda profile: profile["syscalls"].append({"names": ["chroot"], "action": "SCMP_ACT_KILL"}),
], ids=["default", "architectures", "errno", "names", "action", "arguments", "rules"])
def test_another_profile_has_another_file(bundle, cache, change):
    refused(bundle)
    other = {**PROFILE, "syscalls": [dict(rule) for rule in PROFILE["syscalls"]]}
    change(other)
    bundle.linux["seccomp"] = other
    bundle.process["args"] = ["/bin/true"]
    bundle.run()
    assert len(files(cache)) == 2


def test_a_file_of_another_profile_is_not_used(bundle, cache):
    """As after a collision of the names, which anybody can make who may choose a profile."""
    refused(bundle)
    path = cache / files(cache)[0]
    key, program = parts(path)
    poison(path, key.replace(struct.pack("=Q", 28), struct.pack("=Q", 29)))
    assert "No space left" in refused(bundle)
    assert parts(path) == (key, program), "it is replaced"


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-3], lambda data: data + b"x", lambda data: b"x" + data[1:],
                                    lambda data: data[:12] + struct.pack("=I", 0xFFFFFFFF) + data[16:]],
                         ids=["empty", "short", "long", "magic", "count"])
def test_a_damaged_file_is_replaced(bundle, cache, damage):
    refused(bundle)
    path = cache / files(cache)[0]
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert "No space left" in refused(bundle)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("weaken", [
    lambda cache, path: cache.chmod(0o777),
    lambda cache, path: os.chown(cache, 1000, 1000),
    lambda cache, path: os.chown(path, 1000, 1000),
    lambda cache, path: path.chmod(0o666),
    lambda cache, path: (shutil.copy(path, "/tmp/elsewhere"), path.unlink(), path.symlink_to("/tmp/elsewhere")),
    lambda cache, path: (cache.rename("/run/hydra/elsewhere"), cache.symlink_to("/run/hydra/elsewhere")),
], ids=["folder for all", "another's folder", "another's file", "file for all", "link", "linked folder"])
def test_what_others_could_write_is_not_used(bundle, cache, weaken):
    refused(bundle)
    path = cache / files(cache)[0]
    poison(path, parts(path)[0])
    weaken(cache, path)
    try:
        assert "No space left" in refused(bundle)
    finally:
        if cache.is_symlink():
            cache.unlink()
        shutil.rmtree("/run/hydra/elsewhere", ignore_errors=True)
        pathlib.Path("/tmp/elsewhere").unlink(missing_ok=True)


def test_exec_takes_it_from_the_cache(bundle, hydra, cache):
    bundle.linux["seccomp"] = PROFILE
    bundle.sleeping()
    [name] = files(cache)
    assert "No space left" in hydra("exec", bundle.id, "/bin/sh", "-c", "mkdir /tmp/made 2>&1; true").stdout
    assert files(cache) == [name]


def test_the_cache_does_not_grow_for_ever(bundle, cache):
    refused(bundle)
    for number in range(80):
        path = cache / f"filter-{number:016x}"
        path.write_bytes(b"old")
        os.utime(path, (number, number))
    before = files(cache)
    refused(bundle, {**PROFILE, "syscalls": [{**PROFILE["syscalls"][0], "errnoRet": 1}]})
    assert len(files(cache)) == len(before) and before[0] not in files(cache), "the oldest has gone"


def test_without_a_cache_it_is_compiled(bundle, cache):
    pathlib.Path("/run/hydra").mkdir(exist_ok=True)
    cache.write_text("no folder")
    try:
        assert "No space left" in refused(bundle)
    finally:
        cache.unlink()
