# SPDX-License-Identifier: Apache-2.0
"""The layer below the writable one: the target has it, by its content, or gets it, once."""
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import time

import pytest

from cluster import COUNT, Cluster, assert_counts_on, lines, names, run, wait_for
from tree_digest import tree_digest

STORE = "/var/lib/hydra/.layers"


@pytest.fixture
def image(rootfs, tmp_path, request):
    """A root that only the first host has, with everything a file system can hold."""
    path = tmp_path / "images" / "web"
    shutil.copytree(rootfs, path, symlinks=True)
    (path / "big").write_bytes(os.urandom(5_000_000))
    os.link(path / "big", path / "bin" / "another name")
    with open(path / "sparse", "wb") as sparse:
        sparse.truncate(1 << 30)
        sparse.seek(300 << 20)
        sparse.write(b"in the middle")
    os.symlink("/nowhere/\xe4\n", path / "link")
    os.mkfifo(path / "fifo", 0o751)
    os.mknod(path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(path / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
    (path / "opaque").mkdir()
    os.setxattr(path / "opaque", "trusted.overlay.opaque", b"y")
    os.setxattr(path / "bin" / "busybox", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    (path / "owned").write_text("mine")
    os.chown(path / "owned", 1234, 4321)
    os.chmod(path / "owned", 0o4751)
    os.utime(path / "owned", ns=(1, 1234567890123456789))
    os.utime(path, ns=(1, 1234567890987654321))
    return path


@pytest.fixture
def moved(cluster, image):
    """The first host has the image, the others see nothing of it."""
    for host in cluster.hosts[1:]:
        host.run("mount", "-t", "tmpfs", "tmpfs", str(image.parent))
    run(cluster.a, str(image), "counter", "sh", "-c", COUNT)
    wait_for(lambda: len(lines(cluster.a, "counter")) > 3, "it to count")
    yield cluster


def snapshot(root):
    """Everything that can be said about a tree, except where it is."""
    found = {}
    for path, folders, files in os.walk(root):
        for name in [".", *folders, *files] if path == str(root) else [*folders, *files]:
            full = os.path.join(path, name)
            status = os.lstat(full)
            kind = stat.S_IFMT(status.st_mode)
            entry = [kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns]
            if kind == stat.S_IFREG:
                entry += [status.st_size, status.st_nlink, status.st_blocks < status.st_size // 512 // 2]
                entry.append(hashlib.md5(open(full, "rb").read()).hexdigest() if status.st_size < 1 << 25 else "large")
            if kind == stat.S_IFLNK:
                entry.append(os.readlink(full))
            if kind == stat.S_IFCHR:
                entry.append(status.st_rdev)
            entry.append(sorted((key, os.getxattr(full, key, follow_symlinks=False)) for key in os.listxattr(full, follow_symlinks=False)))
            found[os.path.relpath(full, root)] = entry
    return found


def layers(host):
    return sorted(path.name for path in host.path(f"{STORE}/sha256").glob("*"))


def incoming(host):
    return [path.name for path in host.path(f"{STORE}/incoming").glob("*")]


def lower(host, name="counter"):
    return host.inspect(name)["rootfs"]["lower"]


def report(cluster, source=None, name="counter"):
    source = source or cluster.a
    done = source.ctl("--format", "json", "migrate", "--dry-run", name, cluster.other(source).address, check=False)
    return json.loads(done.stdout)


def test_a_layer_that_is_not_there_comes_along(moved, image):
    before = snapshot(image)
    told = report(moved)
    assert told["canMigrate"], told
    assert told["image"]["isSent"] and told["image"]["bytesToSend"] == told["image"]["bytes"] > 1 << 30
    assert not moved.b.path(STORE).exists(), "a dry run makes nothing"
    said = moved.a.ctl("migrate", "--dry-run", "counter", moved.b.address).stdout
    assert re.search(r"image +1\.\d GiB is sent: sha256:[0-9a-f]{64}", said), said
    moved.migrate("counter", moved.a)
    assert_counts_on(moved.b)
    digest = told["image"]["digest"].removeprefix("sha256:")
    assert digest == tree_digest(image)
    assert layers(moved.b) == [digest] and incoming(moved.b) == []
    assert lower(moved.b) == f"{STORE}/sha256/{digest}"
    assert snapshot(moved.b.path(f"{STORE}/sha256/{digest}")) == before
    with open(moved.b.path(f"{STORE}/sha256/{digest}/sparse"), "rb") as sparse:
        sparse.seek(300 << 20)
        assert sparse.read(13) == b"in the middle"


def test_a_container_on_a_layer_of_the_store_lives_as_any_other(moved):
    moved.migrate("counter", moved.a)
    assert moved.b.ctl("exec", "counter", "md5sum", "/big").stdout == moved.b.ctl("exec", "counter", "md5sum", "/bin/another name").stdout.replace(
        "/bin/another name", "/big")
    pid = moved.b.inspect("counter")["shimPid"]
    moved.b.kill("hydra-shim")
    wait_for(lambda: moved.b.inspect("counter").get("shimPid") not in (pid, 0), "the successor")
    moved.b.kill("hydrad")
    wait_for(lambda: moved.b.answers("hydrad.sock"), "hydrad")
    assert_counts_on(moved.b)
    moved.b.ctl("stop", "counter")
    moved.b.ctl("start", "counter")
    wait_for(lambda: moved.b.inspect("counter")["state"] == "running", "it to run")
    assert_counts_on(moved.b)
    moved.b.ctl("rm", "-f", "counter")
    assert len(layers(moved.b)) == 1, "it is kept for others"


def test_there_and_back_it_is_sent_once(moved, image):
    moved.migrate("counter", moved.a)
    told = report(moved, moved.b)
    assert not told["image"]["isSent"] and told["image"]["bytesToSend"] == 0 and told["image"]["path"] == str(image), told
    moved.migrate("counter", moved.b)
    assert lower(moved.a) == str(image) and layers(moved.a) == []
    assert not report(moved)["image"]["isSent"]
    moved.migrate("counter", moved.a)
    assert_counts_on(moved.b)
    seen = lines(moved.b, "counter")
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_a_second_container_with_the_same_layer_sends_nothing_of_it(moved, image):
    moved.migrate("counter", moved.a)
    run(moved.a, str(image), "second", "sh", "-c", COUNT)
    told = report(moved, name="second")
    assert not told["image"]["isSent"] and told["image"]["bytesToSend"] == 0
    moved.migrate("second", moved.a)
    assert lower(moved.b, "second") == lower(moved.b) and len(layers(moved.b)) == 1
    sent = {item["containerId"]: item["bytesSent"] for item in moved.a.json("migrations", "--all")}
    assert sent["counter"] > 5_000_000 > sent["second"]


def test_two_that_bring_the_same_layer_at_once_share_it(moved, image):
    run(moved.a, str(image), "second", "sh", "-c", COUNT)
    moved.b.order_fault("receive.lower", "stop")
    moving = moved.a.popen([moved.a.program("hydractl"), "--plain", "migrate", "counter", moved.b.address])
    wait_for(lambda: moved.b.has_arrived("receive.lower"), "the fault")
    moved.b.forget_faults()
    moved.migrate("second", moved.a)
    moved.b.kill("hydra-pager", 18)
    assert moving.wait(60) == 0
    assert lower(moved.b, "second") == lower(moved.b) and len(layers(moved.b)) == 1 and incoming(moved.b) == []
    assert_counts_on(moved.b)


def test_the_same_path_with_another_content_is_not_used(moved, image):
    there = moved.b.path(str(image))
    shutil.copytree(image, there, symlinks=True, ignore=shutil.ignore_patterns("fifo", "null", "whiteout"))
    (there / "big").write_bytes(b"another")
    moved.migrate("counter", moved.a)
    assert lower(moved.b).startswith(STORE)
    assert moved.b.ctl("exec", "counter", "sh", "-c", "wc -c </big").stdout == "5000000\n"


def test_the_same_path_with_the_same_content_is_used(cluster, image):
    run(cluster.a, str(image), "counter", "sh", "-c", COUNT)
    assert not report(cluster)["image"]["isSent"]
    cluster.migrate("counter", cluster.a)
    assert lower(cluster.b) == str(image) and layers(cluster.b) == []


def test_a_layer_that_changes_while_it_is_sent_is_refused(moved, image):
    moved.a.order_fault("phase.source.sync", "stop")
    moving = moved.a.popen([moved.a.program("hydractl"), "--plain", "migrate", "counter", moved.b.address], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: moved.a.has_arrived("phase.source.sync"), "the fault")
    with open(image / "big", "r+b") as file:
        file.write(b"changed")
    moved.a.forget_faults()
    moved.a.kill("hydra-pager", 18)
    _, said = moving.communicate(timeout=60)
    assert moving.returncode == 125
    assert f"layer '{image}' was changed while it was sent, or damaged" in said, said
    assert_counts_on(moved.a)
    assert layers(moved.b) == [] and incoming(moved.b) == [] and names(moved.b) == set()
    moved.migrate("counter", moved.a)
    assert_counts_on(moved.b)


@pytest.mark.parametrize("point, kept", [("receive.lower", 0), ("receive.lower-kept", 1)])
def test_a_receiver_that_is_killed_leaves_nothing_incomplete(moved, point, kept):
    moved.b.order_fault(point)
    assert moved.migrate("counter", moved.a, check=False).returncode != 0
    moved.b.forget_faults()
    wait_for(lambda: not incoming(moved.b), "nothing incomplete to be left")
    assert len(layers(moved.b)) == kept and names(moved.b) == set()
    assert_counts_on(moved.a)
    moved.migrate("counter", moved.a)
    assert_counts_on(moved.b)


def test_what_everybody_who_died_left_goes_with_the_next_one(moved, image):
    """Also hydra-setup, which would have seen to it."""
    left = moved.b.path(f"{STORE}/incoming/dead")
    left.mkdir(parents=True)
    (left / "big").write_bytes(b"half of it")
    moved.migrate("counter", moved.a)
    assert incoming(moved.b) == []


def test_what_no_container_uses_is_removed_when_asked_for(moved):
    assert moved.b.ctl("prune").stdout == ""
    moved.migrate("counter", moved.a)
    digest = layers(moved.b)[0]
    assert moved.b.ctl("prune").stdout == "", "a container uses it"
    moved.b.ctl("stop", "counter")
    assert moved.b.ctl("prune").stdout == "", "a stopped one, too"
    moved.b.ctl("rm", "counter")
    assert moved.b.json("prune", "--dry-run") == [{"digest": f"sha256:{digest}", "bytes": moved.b.json("prune", "--dry-run")[0]["bytes"]}]
    assert layers(moved.b) == [digest]
    assert moved.b.ctl("prune").stdout.startswith(f"sha256:{digest}  ")
    assert layers(moved.b) == [] and incoming(moved.b) == []


def test_a_layer_that_is_about_to_be_used_is_not_removed(moved):
    moved.b.order_fault("receive.layer", "stop")
    moving = moved.a.popen([moved.a.program("hydractl"), "--plain", "migrate", "counter", moved.b.address])
    wait_for(lambda: moved.b.has_arrived("receive.layer"), "the fault")
    assert moved.b.ctl("prune").stdout == "" and len(layers(moved.b)) == 1
    moved.b.forget_faults()
    moved.b.kill("hydra-pager", 18)
    assert moving.wait(60) == 0
    assert_counts_on(moved.b)


def test_a_disk_that_is_too_small(moved, image):
    moved.b.kill("hydra-monitor")
    moved.b.kill("hydrad")
    wait_for(lambda: not moved.b.answers("hydrad.sock"), "its end")
    moved.b.run("mount", "-t", "tmpfs", "-o", "size=66m", "tmpfs", "/var/lib/hydra")
    Cluster.start_host(moved.b)
    told = report(moved)
    assert not told["canMigrate"]
    assert "hydractl prune" in told["problems"][0]["remedy"] and "MiB are left" in told["problems"][0]["reason"], told


def note(host):
    return next(host.path(f"{STORE}/known").iterdir())


@pytest.fixture
def at_rest(image, request):
    """On a file system where times tell of every change, or on one where they do not."""
    path = image
    if request.param == "disk":
        path = request.getfixturevalue("on_disk") / "web"
        shutil.copytree(image, path, symlinks=True, ignore=shutil.ignore_patterns("fifo", "null", "whiteout", "sparse"))
    newest = max(os.lstat(os.path.join(folder, name)).st_ctime for folder, _, files in os.walk(path) for name in files)
    wait_for(lambda: time.time() - newest > 2.5, "the image to be old")
    return path


@pytest.mark.parametrize("at_rest, is_believed", [("disk", True), ("memory", False)], indirect=["at_rest"])
def test_a_digest_is_computed_once_where_each_change_shows(cluster, at_rest, is_believed):
    run(cluster.a, str(at_rest), "counter", "sh", "-c", COUNT)
    digest = report(cluster)["image"]["digest"].removeprefix("sha256:")
    version, path, noted, fingerprint, end = note(cluster.a).read_text().split("\n")
    assert (version, path, noted, end) == ("1", str(at_rest), digest, "") and bool(fingerprint) == is_believed
    another = "ab" * 32
    note(cluster.a).write_text("\n".join((version, path, another, fingerprint, end)))
    assert report(cluster)["image"]["digest"] == f"sha256:{another if is_believed else digest}"
    with open(at_rest / "big", "r+b") as file:
        file.write(b"changed")
    os.utime(at_rest / "big", ns=(1, 1))
    assert report(cluster)["image"]["digest"] == f"sha256:{tree_digest(at_rest)}"


def test_a_move_is_called_off_while_a_layer_is_read(moved, image):
    moved.a.order_fault("send.layer-read", "stop")
    moving = moved.a.popen([moved.a.program("hydractl"), "--plain", "migrate", "counter", moved.b.address], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: moved.a.has_arrived("send.layer-read"), "the fault")
    moved.a.forget_faults()
    moved.a.kill("hydra-pager", 15)
    moved.a.kill("hydra-pager", 18)
    _, said = moving.communicate(timeout=60)
    assert moving.returncode == 125 and "the migration was cancelled" in said, said
    assert_counts_on(moved.a)
    assert names(moved.b) == set() and incoming(moved.b) == []
