# SPDX-License-Identifier: Apache-2.0
"""Binaries of other versions, made of today's: a script that is executed in a resident program's place rewrites the sealed state
(proto/seal.proto) as its version would have written it, and then executes the real binary under the same pid."""
import os
import stat
import sys

from ttrpc import fields

# What a shim did not know when tests/unit/golden/sealed-shim.1 was made: fields, and those of the messages in fields.
SINCE_THEN = {"unknown": {12}, 4: {2: {"unknown": {5}, 4: {"unknown": {4, 5}}}}, 6: {"unknown": {15, 16, 17}, 14: {"unknown": {6}}}}
VERSION, NEEDS, CALLS_FD, PROCESSES = 1, 2, 12, 6
FEED_FD, BRIDGE_FD, BRIDGE_INPUT_FD = 15, 16, 17
LATER_BIT = 1 << 40
KEPT = "HYDRA_TEST_SEALED_AND_PREVIOUS"
SCRIPT = """#!/usr/bin/python3
import sys
sys.path.insert(0, {folder!r})
import seal
seal.{play}({binary!r}{arguments})
"""


def varint(value):
    data = bytearray()
    while value > 0x7f:
        data.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes(data) + bytes([value])


def encode(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def without(message, what):
    """The message as it was when it had none of what is named there."""
    return b"".join(encode(number, without(value, what[number]) if number in what else value)
                    for number, value in fields(message) if number not in what.get("unknown", ()))


def unknown_fds(message):
    state = list(fields(message))
    found = [value for number, value in state if number == CALLS_FD]
    for process in (value for number, value in state if number == PROCESSES):
        found += [value for number, value in fields(process) if number in (FEED_FD, BRIDGE_FD, BRIDGE_INPUT_FD)]
    return found


def read(fd):
    return os.pread(fd, os.fstat(fd).st_size, 0)


def write(fd, state):
    os.ftruncate(fd, 0)
    os.pwrite(fd, state, 0)


def option(name):
    return int(sys.argv[sys.argv.index(name) + 1])


def rest_of_arguments(first):
    return [*first, *sys.argv[5:]]


def refuse(name, why):
    os.execv(f"/proc/self/fd/{option('--previous-fd')}", [name, *sys.argv[1:5], "--refused", why, *sys.argv[5:]])


def play_yesterday(binary):
    """A shim of sealed-shim.1: what it does not know it ignores, when it may. Today's binary gets from it what it would have left."""
    name = os.path.basename(binary)
    if sys.argv[1] == "--version":
        print(name, "0.0.9")
        sys.exit()
    state = read(option("--sealed-fd"))
    needs = dict(fields(state)).get(NEEDS, 0)
    if needs != 0:
        refuse(name, f"yesterday's version does not know bits {needs:#x}")
    for fd in unknown_fds(state):
        os.close(fd)
    write(option("--sealed-fd"), without(state, SINCE_THEN))
    os.execv(binary, [name, *sys.argv[1:]])


def write_page_version(path, version):
    """Into the page with what waits for the log (state/stdio_page.h)."""
    with open(path, "r+b") as page:
        page.write(version.to_bytes(4, "little"))


def play_tomorrow(binary, number, value, page=None):
    """Today's binary gets a state that only tomorrow's understands; when it gives it back, the binary before gets its own again."""
    name = os.path.basename(binary)
    if sys.argv[1] == "--version":
        print(name, "9.9.9")
        sys.exit()
    if page is not None:
        write_page_version(page, 1 if "--refused" in sys.argv else 2)
    if "--refused" in sys.argv:
        for made in (option("--sealed-fd"), option("--previous-fd")):
            os.close(made)
        sealed, previous = os.environ.pop(KEPT).split()
        os.execv(f"/proc/self/fd/{previous}", rest_of_arguments([name, "--sealed-fd", sealed, "--previous-fd", previous]))
    else:
        sealed = os.memfd_create("tomorrow", 0)
        write(sealed, read(option("--sealed-fd")) + encode(number, value))
        previous = os.open(sys.argv[0], os.O_PATH)
        os.set_inheritable(previous, True)
        os.environ[KEPT] = f"{option('--sealed-fd')} {option('--previous-fd')}"
        os.execv(binary, rest_of_arguments([name, "--sealed-fd", str(sealed), "--previous-fd", str(previous)]))


def install(host, folder, play, binary, *arguments):
    """Puts such a script into a folder of the host, under the binary's name."""
    path = host.path(folder)
    path.mkdir(exist_ok=True)
    path = path / os.path.basename(binary)
    path.write_text(SCRIPT.format(folder=os.path.dirname(os.path.abspath(__file__)), play=play, binary=binary,
                                  arguments="".join(f", {argument!r}" for argument in arguments)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"{folder}/{path.name}"
