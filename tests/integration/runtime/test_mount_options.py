# SPDX-License-Identifier: Apache-2.0
"""Every word that `hydra features` lists for mounts, seen in the container's /proc/self/mountinfo."""
import json
import subprocess

from conftest import PATIENCE_S, covers

LOCKED = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"]

# word: (options of a tmpfs, what mountinfo shows, what it does not show)
OF_ONE_MOUNT = {
    "defaults": (["defaults"], {"rw"}, set()),
    "async": (["sync", "async"], set(), {"sync"}), "sync": (["sync"], {"sync"}, set()), "dirsync": (["dirsync"], {"dirsync"}, set()),
    "ro": (["rw", "ro"], {"ro"}, set()), "rw": (["ro", "rw"], {"rw"}, {"ro"}),
    "suid": (["nosuid", "suid"], set(), {"nosuid"}), "nosuid": (["nosuid"], {"nosuid"}, set()),
    "dev": (["nodev", "dev"], set(), {"nodev"}), "nodev": (["nodev"], {"nodev"}, set()),
    "exec": (["noexec", "exec"], set(), {"noexec"}), "noexec": (["noexec"], {"noexec"}, set()),
    "atime": (["noatime", "atime"], {"relatime"}, {"noatime"}), "noatime": (["noatime"], {"noatime"}, {"relatime"}),
    "diratime": (["nodiratime", "diratime"], set(), {"nodiratime"}), "nodiratime": (["nodiratime"], {"nodiratime"}, set()),
    "relatime": (["noatime", "relatime"], {"relatime"}, {"noatime"}), "norelatime": (["norelatime"], set(), {"noatime"}),
    "strictatime": (["strictatime"], set(), {"noatime", "relatime"}),
    "nostrictatime": (["strictatime", "nostrictatime"], {"relatime"}, set()),
    "lazytime": (["lazytime"], {"lazytime"}, set()), "nolazytime": (["lazytime", "nolazytime"], set(), {"lazytime"}),
    "symfollow": (["nosymfollow", "symfollow"], set(), {"nosymfollow"}), "nosymfollow": (["nosymfollow"], {"nosymfollow"}, set()),
    "private": (["shared", "private"], set(), {"shared"}), "rprivate": (["rprivate"], set(), {"shared"}),
    "shared": (["shared"], {"shared"}, set()), "rshared": (["rshared"], {"shared"}, set()),
    "slave": (["slave"], set(), {"shared"}), "rslave": (["rslave"], set(), {"shared"}),
    "unbindable": (["unbindable"], {"unbindable"}, set()), "runbindable": (["runbindable"], {"unbindable"}, set()),
    # what no kernel shows, but takes
    "silent": (["silent"], {"rw"}, set()), "loud": (["silent", "loud"], {"rw"}, set()), "mand": (["mand"], {"rw"}, set()),
    "nomand": (["mand", "nomand"], {"rw"}, set()), "iversion": (["iversion"], {"rw"}, set()),
    "noiversion": (["iversion", "noiversion"], {"rw"}, set()),
}
# word: what the mount and the one below it show and do not show; words that take something away are used on a tree of LOCKED
OF_A_TREE = {
    "rro": ({"ro"}, set()), "rnosuid": ({"nosuid"}, set()), "rnodev": ({"nodev"}, set()), "rnoexec": ({"noexec"}, set()),
    "rnoatime": ({"noatime"}, {"relatime"}), "rnodiratime": ({"nodiratime"}, set()), "rnosymfollow": ({"nosymfollow"}, set()),
    "rstrictatime": (set(), {"noatime", "relatime"}),
    "rrw": ({"rw"}, {"ro"}), "rsuid": (set(), {"nosuid"}), "rdev": (set(), {"nodev"}), "rexec": (set(), {"noexec"}),
    "ratime": ({"relatime"}, {"noatime"}), "rrelatime": ({"relatime"}, {"noatime"}), "rdiratime": (set(), {"nodiratime"}),
    "rsymfollow": (set(), {"nosymfollow"}), "rnorelatime": (set(), {"noatime"}), "rnostrictatime": (set(), {"noatime"}),
}
# these have tests of their own
ELSEWHERE = {"bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap", "copy-symlink"}


def shown(output):
    """Mount point -> its options, those of its file system and its propagation, as one set."""
    found = {}
    for line in output.splitlines():
        words = line.split()
        optional = words[6:words.index("-")]
        found[words[4]] = set(words[5].split(",")) | set(words[-1].split(",")) | {word.split(":")[0] for word in optional}
    return found


def check(found, place, present, absent):
    # of "ro" and "rw" the file system has one of its own
    assert present <= found[place], (place, found[place])
    assert not (absent - {"ro"}) & found[place], (place, found[place])
    assert "ro" not in absent or "rw" in found[place]


@covers("mounts[].options")
def test_options_of_one_mount(bundle):
    for word, (options, _, _) in OF_ONE_MOUNT.items():
        bundle.mount(f"/data/options/{word}", "tmpfs", "tmpfs", *options)
    found = shown(bundle.output("cat /proc/self/mountinfo"))
    for word, (_, present, absent) in OF_ONE_MOUNT.items():
        check(found, f"/data/options/{word}", present, absent)


@covers("mounts[].options")
def test_options_of_a_tree_of_mounts(bundle):
    root = bundle.config["root"]["path"]
    for name, options in (("free", []), ("locked", LOCKED)):
        bundle.mount(f"/data/options/{name}", "tmpfs", "tmpfs")
        bundle.mount(f"/data/options/{name}/below", "tmpfs", "tmpfs", *options)
        bundle.mount(f"/data/options/{name}", "", "", "bind", "remount", *options)
    for word, (present, _) in OF_A_TREE.items():
        tree = "free" if word.startswith("rno") and present or word in ("rro", "rstrictatime") else "locked"
        bundle.mount(f"/data/options/{word}", "bind", f"{root}/data/options/{tree}", "rbind", word)
    found = shown(bundle.output("cat /proc/self/mountinfo"))
    assert set(LOCKED) <= found["/data/options/locked"] & found["/data/options/locked/below"] and not set(LOCKED) & found["/data/options/free"]
    for word, (present, absent) in OF_A_TREE.items():
        check(found, f"/data/options/{word}", present, absent)
        check(found, f"/data/options/{word}/below", present, absent)


@covers("mounts[].options")
def test_a_mount_can_be_changed_later(bundle):
    bundle.mount("/data/options/one", "tmpfs", "tmpfs", "size=64k")
    bundle.mount("/data/options/one", "tmpfs", "tmpfs", "remount", "size=128k", "nodev")
    bundle.mount("/data/options/two", "tmpfs", "tmpfs")
    bundle.mount("/data/options/two", "", "", "bind", "remount", "ro")
    found = shown(bundle.output("cat /proc/self/mountinfo"))
    assert {"size=128k", "nodev"} <= found["/data/options/one"] and "ro" in found["/data/options/two"]


@covers("linux.rootfsPropagation")
def test_the_host_keeps_its_mounts_when_they_are_shared_with_the_container(bundle):
    bundle.linux["rootfsPropagation"] = "rshared"
    bundle.mount("/data/options/inner", "tmpfs", "tmpfs", "rshared")
    bundle.save()
    script = "mount --make-rshared /; cat /proc/self/mountinfo; echo; \"$@\" && cat /proc/self/mountinfo"
    result = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *bundle.hydra.command("run", "--bundle", bundle.path, bundle.id)],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S)
    before, after = result.stdout.split("\n\n")
    assert set(shown(before)) == set(shown(after)), result.stderr


def test_no_option_is_without_a_test(hydra):
    known = json.loads(hydra("features").stdout)["mountOptions"]
    assert sorted(known) == sorted([*OF_ONE_MOUNT, *OF_A_TREE, *ELSEWHERE])


def test_a_read_only_dev_is_filled_first(bundle):
    """As podman asks for with --read-only: what is mounted below it, and its devices, come before it is sealed."""
    next(mount for mount in bundle.config["mounts"] if mount["destination"] == "/dev")["options"].append("ro")
    bundle.config["root"]["readonly"] = True
    out = bundle.output("grep ' /dev ' /proc/mounts; test -c /dev/null && echo device; test -d /dev/pts && echo pts;"
                        " touch /dev/x 2>&1; touch /dev/shm/x && echo shm")
    lines = out.splitlines()
    assert lines[0].split()[3].startswith("ro,") and lines[1:3] == ["device", "pts"] and "Read-only" in lines[3] and lines[4] == "shm"
