# SPDX-License-Identifier: Apache-2.0
"""What is in a container's memory file systems moves as its writable layer does, not in CRIU's images."""
import hashlib
import mmap
import os
import time

import pytest

from cluster import COUNT, lines, run, wait_for

# Everything but the times of folders, which the restore itself changes.
LIST = ("cd /dev && find . shm -xdev ! -type d -exec stat -c '%n %F %a %u:%g %s %h %t:%T %Y' {} + | sort; "
        "find . shm -xdev -type d -exec stat -c '%n %a %u:%g' {} + | sort; find . shm -xdev -type l -exec readlink {} + | sort; "
        "find . shm -xdev -type f -exec md5sum {} + | sort; grep -E ' /dev(/shm)? ' /proc/self/mounts")
POPULATE = ("cd /dev/shm && umask 027 && mkdir -p a/b && head -c 5000000 /dev/urandom >a/b/large && ln a/b/large linked && "
            "ln -s /nowhere/else link && mkfifo -m 751 fifo && mknod null c 1 3 && chown 12:34 null && chmod 1757 a && "
            "dd if=/dev/urandom of=sparse bs=4096 count=1 seek=2000 2>/dev/null && : >empty && echo x >'odd\tname' && "
            "touch -d @1234567890 a/b/large && echo kept >/dev/kept")


def listing(host, name="counter"):
    return host.ctl("exec", name, "sh", "-c", LIST).stdout


def tell(host, command, name="counter"):
    return host.ctl("exec", name, "sh", "-c", command).stdout


def images(host):
    return {path.name for path in host.path("/run/hydra/.work").glob("*/images/*")}


def in_container(host, path):
    """A path of the container as this process can open it."""
    pid = next(pid for pid in host.pids("sh") if os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink(f"/proc/{host.pid}/ns/mnt"))
    return f"/proc/{pid}/root{path}"


def held_at(host, point, start):
    """start(), held at a point; what comes is called when it is there."""
    host.order_fault(point, "stop")
    moving = start()
    wait_for(lambda: host.has_arrived(point), "the fault")
    return moving


def begin(cluster, *options):
    return cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", *options, "counter", cluster.b.address])


@pytest.mark.parametrize("mode", ["post-copy", "cold"])
def test_everything_in_it_arrives(counter, mode):
    tell(counter.a, POPULATE)
    before = listing(counter.a)
    moving = held_at(counter.b, "restore.before-vote", lambda: begin(counter, "--mode", mode))
    assert not [name for name in images(counter.b) if name.startswith("tmpfs")], "CRIU saved one"
    counter.b.forget_faults()
    counter.b.kill("hydra-checkpoint", 18)
    assert moving.wait(60) == 0
    assert listing(counter.b) == before
    counter.migrate("counter", counter.b)
    assert listing(counter.a) == before
    seen = lines(counter.a, "counter")
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def checksum(path):
    with open(path, "rb") as file:
        return hashlib.md5(file.read()).hexdigest()


def settle(path):
    """Until a file is so old that only what is known to have been written is sent again."""
    wait_for(lambda: time.time() - os.stat(path).st_ctime > 2.5, "the file to be old")


def write_mapped(path, text):
    """Without a trace in the file's times, as it is for a page that was read before; the file is open only meanwhile."""
    before = os.stat(path)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        assert len(memory[:]) == before.st_size
        memory[5000:5000 + len(text)] = text
    after = os.stat(path)
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)


def test_what_is_written_after_the_first_pass_arrives(counter):
    tell(counter.a, "cd /dev/shm && for i in mapped held renamed appended removed; do head -c 300000 /dev/urandom >$i; done; mkdir folder")
    shm = in_container(counter.a, "/dev/shm")
    settle(f"{shm}/removed")
    with open(f"{shm}/held", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        assert len(memory[:]) == 300000
        moving = held_at(counter.a, "send.before-freeze", lambda: begin(counter))
        write_mapped(f"{shm}/mapped", b"written through a mapping")
        memory[7000:7004] = b"held"
    os.rename(f"{shm}/renamed", f"{shm}/folder/renamed")
    os.unlink(f"{shm}/removed")
    with open(f"{shm}/appended", "ab") as file:
        file.write(b"more")
    with open(f"{shm}/new", "wb") as file:
        file.write(os.urandom(100000))
    names = ("mapped", "held", "folder/renamed", "appended", "new")
    sums = {name: checksum(f"{shm}/{name}") for name in names}
    counter.a.forget_faults()
    counter.a.kill("hydra-pager", 18)
    assert moving.wait(60) == 0
    there = in_container(counter.b, "/dev/shm")
    assert {name: checksum(f"{there}/{name}") for name in names} == sums
    assert sorted(os.listdir(there)) == ["appended", "folder", "held", "mapped", "new"]


def test_memory_that_is_mapped_by_the_container_all_the_time(cluster, rootfs):
    """A program that keeps a file open, writes to it while it moves, and one that nobody can name any more."""
    run(cluster.a, rootfs, "counter", "sh", "-c", "exec 5<>/dev/shm/open 6<>/dev/shm/gone; rm /dev/shm/gone; echo first >&6; i=0; "
        "while true; do echo $i >&5; echo line $i pid $$; i=$((i+1)); sleep 0.01; done")
    for source in (cluster.a, cluster.b, cluster.a):
        target = cluster.other(source)
        wait_for(lambda: len(lines(source, "counter")) > 20, "it to count")  # noqa: B023
        cluster.migrate("counter", source)
        wait_for(lambda: len(lines(target, "counter")) > 5, "it to count on")  # noqa: B023
    numbers = [int(word) for word in tell(target, "cat /dev/shm/open").split()]
    assert numbers == list(range(len(numbers))), "what was written to it is there once"
    assert tell(target, "cat /proc/1/fd/6") == "first\n"


@pytest.mark.parametrize("side, point", [("b", "restore.before-vote"), ("b", "receive.images"), ("a", "send.frozen"), ("b", "receive.prepared")])
def test_a_death_leaves_nothing_mounted(counter, side, point):
    tell(counter.a, POPULATE)
    before = listing(counter.a)
    dying = getattr(counter, side)
    dying.order_fault(point)
    assert counter.migrate("counter", counter.a, check=False).returncode != 0
    dying.forget_faults()
    counter.b.assert_clean()
    assert listing(counter.a) == before
    counter.migrate("counter", counter.a)
    assert listing(counter.b) == before
