# SPDX-License-Identifier: Apache-2.0
"""What a container used last is what it gets first; it is known without stopping it, and nothing depends on it."""
import signal

import pytest

from conftest import PAGER, run, wait_for
from test_migrate import faults, migrate  # noqa: F401 (a fixture)
from test_modes import needs_tracking

PAGES = 16 * 256


def start(container, *piece):
    one = container("/bin/worker", "16", "10", *piece)
    one.stdio.stdout.line("START")
    return one


def turns(stdio):
    return int(stdio.ask("turns", "TURNS").split()[1])


def move_in_use(one, migrate, folder, **options):  # noqa: F811
    """A migration during whose preparation the container has used all that it uses; its pages that are said to be in use."""
    move = migrate(one, source_env=faults(folder, phase__source__sync="stop"), **options)
    wait_for(lambda: (folder / "phase.source.sync.arrived").exists(), "the preparation")
    before = turns(one.stdio)
    wait_for(lambda: turns(one.stdio) > before + 2, "the container to use its memory")
    move.sender.kill(signal.SIGCONT)
    return move, move.sender.phase("freeze").get("hot_pages", 0)


def check(move):
    move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == f"VERIFY bad=0 pages={PAGES}"


def test_mappings_that_are_used_are_known(container, migrate, tmp_path):  # noqa: F811
    move, hot = move_in_use(start(container, "256"), migrate, tmp_path / "faults")
    assert 64 <= hot < PAGES / 2, "what it uses, and not all it has"
    check(move)


@needs_tracking
def test_pages_that_are_written_are_known(container, migrate, tmp_path):  # noqa: F811
    move, hot = move_in_use(start(container), migrate, tmp_path / "faults")
    assert PAGES * 1.05 < hot < PAGES * 1.5, "each page that it writes, then all of the mapping"
    check(move)


def test_modes_in_which_the_memory_comes_before_the_commit_need_no_order(container, migrate, tmp_path):  # noqa: F811
    move, hot = move_in_use(start(container, "256"), migrate, tmp_path / "faults", source_args=["--mode", "cold"])
    assert hot == 0
    check(move)


@pytest.mark.parametrize("command", ["fork", "mangle", "random 3000"])
def test_memory_that_changes_before_it_is_here(container, migrate, command):  # noqa: F811
    """What was in use at the source may be elsewhere, or gone, when it comes."""
    one = container("/bin/ticker", "32")
    one.stdio.stdout.line("START")
    assert one.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"
    move = migrate(one)
    move.stdio.stdin.write(command + "\n")
    assert "bad=0" in move.stdio.stdout.line(command[:4].strip().upper())
    move.expect_moved()


def test_a_dry_run_forgets_nothing(container, tmp_path):
    one = start(container)
    def used():
        text = open(f"/proc/{one.pid}/smaps").read()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Referenced:"))
    before = used()
    run([PAGER, "send", "--dry-run", "--connect", "127.0.0.1:1", "--id", one.name, "--pid", str(one.pid), "--work",
         str(tmp_path / "work"), "--state", str(tmp_path)], check=False)
    assert used() >= before > PAGES * 4 / 2
