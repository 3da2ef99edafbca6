# SPDX-License-Identifier: Apache-2.0
"""What was of huge pages at the source is so again at the target, when all of it is there."""
import pathlib

import pytest

from test_migrate import expect_stayed, migrate  # noqa: F401 (a fixture)
from test_modes import WITH_TRACKING, needs_tracking

RESERVED = pathlib.Path("/proc/sys/vm/nr_hugepages")

ENABLED = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
needs_huge_pages = pytest.mark.skipif(not ENABLED.exists() or "[never]" in ENABLED.read_text(), reason="the kernel has no huge pages")


def huge_kib(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("AnonHugePages:"):
            return int(line.split()[1])
    return 0


def start(container):
    one = container("/bin/ticker", "32", "500", "5000", "huge")
    one.stdio.stdout.line("START")
    if huge_kib(one.pid) < 16 << 10:
        pytest.skip("no memory for huge pages")
    return one


@needs_huge_pages
@pytest.mark.parametrize("mode", ["post-copy", pytest.param("hybrid", marks=needs_tracking)])
def test_huge_pages_become_huge_pages(container, migrate, mode):  # noqa: F811
    one = start(container)
    before = huge_kib(one.pid)
    move = migrate(one, source_args=["--mode", mode])
    pid = move.expect_moved()
    assert move.sender.phase("freeze")["huge_pages"] * 2048 == before
    assert huge_kib(pid) >= before - 4096, "but for edges of which CRIU has placed some"
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"


@needs_huge_pages
@pytest.mark.parametrize("command, answer", [("fork", "FORK bad=0"), ("mangle", "MANGLE bad=0")])
def test_what_is_given_back_or_moved_meanwhile_stays_so(container, migrate, command, answer):  # noqa: F811
    one = start(container)
    move = migrate(one)
    move.stdio.stdin.write(command + "\n")
    assert move.stdio.stdout.line(answer[:4]) == answer
    move.expect_moved()


@needs_huge_pages
def test_small_pages_stay_small(container, migrate):  # noqa: F811
    if "[always]" in ENABLED.read_text():
        pytest.skip("the kernel makes huge pages of all memory")
    one = container("/bin/ticker", "32")
    one.stdio.stdout.line("START")
    move = migrate(one)
    pid = move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"
    assert huge_kib(pid) == 0


@pytest.fixture
def reserve():
    before = RESERVED.read_text()

    def make(count):
        RESERVED.write_text(str(count))
        if int(RESERVED.read_text()) < count:
            pytest.skip("no memory for huge pages")

    yield make
    RESERVED.write_text(before)


def start_reserved(container):
    one = container("/bin/ticker", "8", "500", "5000", "hugetlb")
    one.stdio.stdout.line("START")
    return one


@pytest.mark.parametrize("mode", ["post-copy", *WITH_TRACKING])
def test_pages_that_were_reserved_are_so_at_the_target(container, migrate, reserve, mode):  # noqa: F811
    reserve(8)  # both are on this host
    one = start_reserved(container)
    move = migrate(one, source_args=["--mode", mode])
    pid = move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=2048"
    assert "/anon_hugepage" in open(f"/proc/{pid}/smaps").read()


def test_a_target_that_has_none_left_refuses(container, migrate, reserve):  # noqa: F811
    reserve(4)
    one = start_reserved(container)
    move = migrate(one)
    expect_stayed(one, move, 2048)
    assert "8 MiB of huge pages (hugetlb), 0 MiB are free here" in move.sender.stderr
    assert "freeze" not in move.sender.phases()
