# SPDX-License-Identifier: Apache-2.0
"""Volumes: shared ones are at the target already, carried ones come along."""
import hashlib
import json
import mmap
import os
import time

import pytest

from cluster import assert_counts_on, lines, names, run, wait_for

WRITE = ('trap "exit 7" TERM; i=0; while true; do echo $i >>/vol/log; echo line $i pid $$; i=$((i+1)); sleep 0.02; done')


@pytest.fixture
def volume(tmp_path, request):
    top = request.getfixturevalue("on_disk") if getattr(request, "param", "") == "disk" else tmp_path
    path = top / "volumes" / "data"
    path.mkdir(parents=True)
    (path / "folder").mkdir()
    (path / "folder" / "large").write_bytes(os.urandom(3_000_000))
    (path / "mapped").write_bytes(os.urandom(300_000))
    (path / "removed").write_text("removed")
    os.symlink("/nowhere", path / "link")
    os.link(path / "mapped", path / "linked")
    os.chown(path / "folder", 12, 34)
    return path


@pytest.fixture
def writer(cluster, rootfs, volume):
    """Only the first host has the volume."""
    for host in cluster.hosts[1:]:
        host.run("mount", "-t", "tmpfs", "tmpfs", str(volume.parent.parent))
    run(cluster.a, rootfs, "counter", "sh", "-c", WRITE, options=("-v", f"{volume}:/vol:carried"))
    wait_for(lambda: len(lines(cluster.a, "counter")) > 3, "it to count")
    return cluster


def contents(root):
    found = {}
    for path, folders, files in os.walk(root):
        for name in [*folders, *files]:
            full = os.path.join(path, name)
            status = os.lstat(full)
            entry = [status.st_mode, status.st_uid, status.st_gid, status.st_nlink if name in files else 0]
            if os.path.islink(full):
                entry.append(os.readlink(full))
            elif name in files:
                entry.append(hashlib.md5(open(full, "rb").read()).hexdigest())
            found[os.path.relpath(full, root)] = entry
    return found


def numbers(path):
    return [int(word) for word in (path / "log").read_text().split()]


def assert_no_gap(path):
    written = numbers(path)
    assert written == list(range(len(written)))


def report(cluster, name="counter"):
    done = cluster.a.ctl("--format", "json", "migrate", "--dry-run", name, cluster.b.address, check=False)
    return json.loads(done.stdout)


def without_log(found):
    return {name: entry for name, entry in found.items() if name != "log"}


def test_a_carried_volume_comes_along(writer, volume):
    told = report(writer)
    assert told["canMigrate"] and told["volumes"][0]["path"] == str(volume) and told["volumes"][0]["bytesToSend"] > 3_000_000
    assert told["notes"] == []
    before = contents(volume)
    writer.migrate("counter", writer.a)
    assert_counts_on(writer.b)
    there = writer.b.path(str(volume))
    assert without_log(contents(there)) == without_log(before)
    left, written = numbers(volume), numbers(there)
    assert written == list(range(len(written))) and len(written) > len(left), "what was written is there once"
    assert without_log(contents(volume)) == without_log(before), "the source's stays"
    assert writer.b.inspect("counter")["carriedVolumes"] == [str(volume)]


def settle(path):
    wait_for(lambda: time.time() - os.stat(path).st_ctime > 2.5, "the file to be old")


@pytest.mark.parametrize("volume", ["disk", "memory"], indirect=True)
def test_what_is_written_after_the_first_pass_arrives(writer, volume):
    """Also through a mapping, to a page that was dirty before: then the file's times do not change by themselves."""
    with open(volume / "mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[5000:5006] = b"before"
        settle(volume / "mapped")
        writer.a.order_fault("send.before-freeze", "stop")
        moving = writer.a.popen([writer.a.program("hydractl"), "--plain", "migrate", "counter", writer.b.address])
        wait_for(lambda: writer.a.has_arrived("send.before-freeze"), "the fault")
        memory[5000:5006] = b"mapped"
    os.rename(volume / "folder" / "large", volume / "large")
    os.unlink(volume / "removed")
    (volume / "new").write_bytes(os.urandom(100_000))
    expected = contents(volume)
    writer.a.forget_faults()
    writer.a.kill("hydra-pager", 18)
    assert moving.wait(60) == 0
    there = writer.b.path(str(volume))
    assert without_log(contents(there)) == without_log(expected)
    assert_no_gap(there)


def test_what_is_at_its_path_is_in_the_way(writer, volume):
    there = writer.b.path(str(volume))
    there.mkdir(parents=True)
    (there / "mine").write_text("mine")
    told = report(writer)
    assert not told["canMigrate"]
    assert told["problems"][0]["object"] == str(volume) and "is no empty folder here" in told["problems"][0]["reason"]
    assert "move or remove what is there" in told["problems"][0]["remedy"]
    assert writer.migrate("counter", writer.a, check=False).returncode == 125
    assert [path.name for path in there.iterdir()] == ["mine"]
    (there / "mine").unlink()
    writer.migrate("counter", writer.a)
    assert_counts_on(writer.b)


@pytest.mark.parametrize("has_folder", [False, True])
@pytest.mark.parametrize("side, point", [("b", "receive.layer"), ("b", "restore.before-vote"), ("a", "send.frozen"), ("b", "receive.prepared")])
def test_a_death_before_the_commit_leaves_nothing_of_it(writer, volume, side, point, has_folder):
    there = writer.b.path(str(volume))
    if has_folder:
        there.mkdir(parents=True)
    dying = getattr(writer, side)
    dying.order_fault(point)
    assert writer.migrate("counter", writer.a, check=False).returncode != 0
    dying.forget_faults()
    wait_for(lambda: not names(writer.b), "the target to have removed it")
    top = writer.b.path(str(volume.parent.parent))
    wait_for(lambda: [str(path.relative_to(top)) for path in top.rglob("*")] == (["volumes", "volumes/data"] if has_folder else []),
             "nothing to be left")
    assert_counts_on(writer.a)
    writer.migrate("counter", writer.a)
    assert_counts_on(writer.b)
    assert_no_gap(there)


def test_it_moves_on_when_its_old_place_was_cleared(writer, volume):
    writer.migrate("counter", writer.a)
    refused = writer.migrate("counter", writer.b, check=False)
    assert refused.returncode == 125 and "is no empty folder here" in refused.stderr
    for entry in sorted(volume.rglob("*"), reverse=True):
        entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    writer.migrate("counter", writer.b)
    assert_counts_on(writer.a)
    assert_no_gap(volume)
    writer.a.ctl("rm", "-f", "counter")
    assert (volume / "log").exists(), "a volume is not its container's to remove"


def test_a_shared_volume_on_a_disk_of_this_host_is_pointed_at(cluster, rootfs, volume):
    run(cluster.a, rootfs, "counter", "sh", "-c", WRITE, options=("-v", f"{volume}:/vol"))
    told = report(cluster)
    assert told["canMigrate"] and told["volumes"] == []
    assert [note["object"] for note in told["notes"]] == [str(volume)] and "carried" in told["notes"][0]["remedy"]
    assert "to think of" in cluster.a.ctl("migrate", "--dry-run", "counter", cluster.b.address).stdout
    cluster.migrate("counter", cluster.a)
    assert_counts_on(cluster.b)


@pytest.mark.parametrize("path", ["{0}/folder/large", "{0}/link-to", "{0}/../data"])
def test_only_a_folder_with_a_straight_path_can_be_carried(cluster, rootfs, volume, path):
    os.symlink(volume / "folder", volume / "link-to")
    done = cluster.a.ctl("run", "-d", "--rootfs", rootfs, "--name", "never", "-v", path.format(volume) + ":/vol:carried", "sleep", "9", check=False)
    assert done.returncode == 125 and "can't be carried" in done.stderr
    assert names(cluster.a) == set()


def test_it_gets_to_the_disk_of_the_target_when_it_runs_there(writer):
    """Who sees to that may be killed, as the container runs already."""
    writer.b.order_fault("setup.receive.synced")
    writer.migrate("counter", writer.a)
    wait_for(lambda: writer.b.has_arrived("setup.receive.synced"), "it to be on the disk")
    writer.b.forget_faults()
    assert_counts_on(writer.b)
