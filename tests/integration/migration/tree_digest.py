# SPDX-License-Identifier: Apache-2.0
"""The digest of a tree, made anew from its description in checkpoint/layer_digest.h."""
import hashlib
import os
import stat
import struct

KINDS = {stat.S_IFREG: 0, stat.S_IFDIR: 1, stat.S_IFLNK: 2, stat.S_IFCHR: 4, stat.S_IFBLK: 5, stat.S_IFIFO: 6}
HARD_LINK = 3
OVERLAYS_OWN = ("trusted.overlay.origin", "trusted.overlay.uuid", "trusted.overlay.impure", "trusted.overlay.nlink")


def number(value):
    return struct.pack("<Q", value)


def string(data):
    return number(len(data)) + data


def described(full, status):
    device = status.st_rdev if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode) else 0
    seconds, nanoseconds = divmod(status.st_mtime_ns, 10 ** 9)
    yield from map(number, (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, seconds, nanoseconds))
    yield string(os.readlink(full) if stat.S_ISLNK(status.st_mode) else b"")
    yield number(os.major(device)) + number(os.minor(device))
    names = sorted(os.fsencode(name) for name in os.listxattr(full, follow_symlinks=False) if name not in OVERLAYS_OWN)
    yield number(len(names))
    for name in names:
        yield string(name) + string(os.getxattr(full, name, follow_symlinks=False))


def blocks(full, size):
    """Of 4096 bytes; those of nothing but zeros do not count, and are not read where they are a hole."""
    at = 0
    with open(full, "rb") as file:
        while at < size:
            try:
                at = file.seek(at, os.SEEK_DATA) // 4096 * 4096
            except OSError:
                return
            file.seek(at)
            block = file.read(4096)
            if block.strip(b"\0"):
                yield number(at // 4096 + 1) + string(block)
            at += 4096


def tree_digest(root):
    root = os.fsencode(root)
    paths = [b""]
    for folder, folders, files in os.walk(root):
        paths += [os.path.relpath(os.path.join(folder, name), root) for name in folders + files]
    digest, first = hashlib.sha256(b"hydra layer 1\n"), {}
    for path in sorted(paths):
        full = os.path.join(root, path) if path else root
        status = os.lstat(full)
        inode = (status.st_dev, status.st_ino)
        if not stat.S_ISDIR(status.st_mode) and first.setdefault(inode, path) != path:
            digest.update(number(HARD_LINK) + string(path) + string(first[inode]))
            continue
        digest.update(number(KINDS[stat.S_IFMT(status.st_mode)]) + string(path))
        for part in described(full, status):
            digest.update(part)
        if stat.S_ISREG(status.st_mode):
            digest.update(number(status.st_size))
            for block in blocks(full, status.st_size):
                digest.update(block)
            digest.update(number(0))
    return digest.hexdigest()
