# SPDX-License-Identifier: Apache-2.0
"""The writable layer travels along: everything a file system can hold, and what changes while it travels."""
import os
import shutil
import signal
import stat
import subprocess

import pytest

from conftest import make_rootfs, run, wait_for
from test_migrate import expect_stayed, faults, migrate  # noqa: F401 (a fixture)

OPAQUE, USER = "trusted.overlay.opaque", "user.color"


def snapshot(root):
    """Everything that can be said about a tree, except where it is."""
    found, links = {}, {}
    for path, folders, files in os.walk(root):
        for name in [".", *folders, *files] if path == str(root) else [*folders, *files]:
            full = os.path.join(path, name)
            status = os.lstat(full)
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFSOCK:
                continue
            entry = [kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid]
            if kind == stat.S_IFREG:
                entry += [status.st_size, status.st_mtime_ns, open(full, "rb").read(),
                          status.st_blocks < status.st_size // 512 // 2]
            if kind == stat.S_IFLNK:
                entry.append(os.readlink(full))
            if kind in (stat.S_IFCHR, stat.S_IFBLK):
                entry.append(status.st_rdev)
            entry.append(sorted((key, os.getxattr(full, key, follow_symlinks=False))
                                for key in os.listxattr(full, follow_symlinks=False)
                                if key not in ("trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.uuid",
                                               "trusted.overlay.nlink")))
            relative = os.path.relpath(full, root)
            if kind == stat.S_IFREG and status.st_nlink > 1:
                links.setdefault(status.st_ino, []).append(relative)
            found[relative] = entry
    return found, sorted(sorted(names) for names in links.values())


@pytest.fixture
def overlay(tmp_path):
    mounted = []

    def make(name, lower, upper):
        (tmp_path / name / "work").mkdir(parents=True)
        root = tmp_path / name / "root"
        root.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={tmp_path / name / 'work'}"
        mounted.append(root)
        return root, options

    yield make
    for root in mounted:
        while subprocess.run(["umount", str(root)], capture_output=True).returncode == 0:
            pass


def populate(root, upper):
    (root / "data" / "big").write_bytes(os.urandom(3 << 20))
    with open(root / "data" / "sparse", "wb") as sparse:
        sparse.truncate(64 << 20)
        sparse.seek(40 << 20)
        sparse.write(b"in the middle")
    (root / "data" / "owned").write_text("mine")
    os.chown(root / "data" / "owned", 1234, 4321)
    os.chmod(root / "data" / "owned", 0o4751)
    os.link(root / "data" / "big", root / "data" / "another name")
    os.link(root / "data" / "big", root / "a name before")
    os.symlink("/etc/\xe4\n", root / "data" / "link")
    os.mkfifo(root / "data" / "fifo")
    os.mknod(root / "data" / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.setxattr(root / "data" / "owned", "trusted.color", b"blue\0")
    shutil.rmtree(root / "lib")
    os.mkdir(root / "lib")
    (root / "old").unlink()
    os.utime(root / "data" / "owned", ns=(1, 1234567890123456789))
    assert any(stat.S_ISCHR(os.lstat(upper / name).st_mode) for name in os.listdir(upper)), "a whiteout"


def test_every_kind_of_entry_arrives(container, migrate, overlay, tmp_path):
    lower = make_rootfs(tmp_path / "lower")
    (lower / "lib").mkdir()
    (lower / "lib" / "below").write_text("below")
    (lower / "old").write_text("old")
    upper = tmp_path / "upper"
    upper.mkdir()
    root, options = overlay("source", lower, upper)
    run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)])
    populate(root, upper)
    one = container("/bin/sh", "-c", "while read line; do eval \"$line\"; echo done; done", rootfs=root)
    faulty = tmp_path / "faults"
    received = tmp_path / "migration0" / "layers" / "default" / one.name / "upper"
    there, there_options = overlay("target", lower, received)
    move = migrate(one, layer=upper, rootfs=there, restore_args=["--overlay", there_options],
                   source_env=faults(faulty, send__before_freeze="stop"))
    wait_for(lambda: (faulty / "send.before-freeze.arrived").exists(), "the first pass")
    # The first pass is through; now things change.
    for command in ("echo more >/data/new", "rm /data/fifo", "mv /data/owned /data/moved", "echo x >>/data/big",
                    "rm '/a name before'", "echo in >/tmp/another"):
        assert one.stdio.ask(command, "done") == "done"
    move.sender.process.send_signal(signal.SIGCONT)
    move.expect_moved()
    ours, our_links = snapshot(upper)
    theirs, their_links = snapshot(received)
    assert sorted(ours) == sorted(theirs)
    for path in ours:
        assert ours[path] == theirs[path], path
    assert our_links == their_links
    assert move.stdio.ask("read line </data/new; echo $line", "more") == "more"


def test_a_failed_migration_leaves_no_layer(container, migrate, tmp_path):
    root = make_rootfs(tmp_path / "root")
    (root / "data" / "file").write_text("file")
    one = container("/bin/ticker", "4", rootfs=root)
    one.stdio.stdout.line("START")
    move = migrate(one, layer=root, target_args=["--restore-timeout", "1"], restores=False)
    expect_stayed(one, move, 1024)
    assert not list((move.tmp / "layers").iterdir())


def test_a_full_disk_at_the_target(container, migrate, tmp_path):
    root = make_rootfs(tmp_path / "root")
    (root / "data" / "file").write_bytes(os.urandom(80 << 20))
    one = container("/bin/ticker", "4", rootfs=root)
    one.stdio.stdout.line("START")
    (tmp_path / "small").mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=70m", "tmpfs", str(tmp_path / "small")])
    try:
        move = migrate(one, layer=root, target_args=["--layer-root", str(tmp_path / "small")])
        expect_stayed(one, move, 1024)
        assert "MiB are left" in move.sender.stderr
        assert not list((tmp_path / "small").iterdir())
    finally:
        run(["umount", str(tmp_path / "small")])
