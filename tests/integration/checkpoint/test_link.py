# SPDX-License-Identifier: Apache-2.0
"""What the connection is spared: pages that get smaller, and a rate for what nobody waits for."""
import pytest

from conftest import PAGER, run
from meddler import Meddler
from test_migrate import faults, migrate, start  # noqa: F401 (a fixture)
from test_tls import certificates, listener  # noqa: F401 (fixtures)


@pytest.mark.parametrize("method", ["none", "lz4", "zstd", "auto"])
def test_compressed_pages_arrive_as_they_were(container, migrate, certificates, listener, method):  # noqa: F811
    one = container("/bin/ticker", "32", "500", "5000", "soft")
    one.stdio.stdout.line("START")
    sizes = {False: 0, True: 0}

    def look(_, frame):
        if frame.is_pages:
            sizes[frame.is_compressed] += len(frame.data)
        return True

    with Meddler(listener, certificates, look):
        move = migrate(one, listener=listener, source_args=[*certificates[0], "--compress", method], target_args=certificates[1])
        move.expect_moved()
        assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"
    if method in ("lz4", "zstd"):
        assert 0 < sizes[True] + sizes[False] < 16 << 20
    elif method == "none":
        assert sizes[True] == 0


def test_what_a_task_waits_for_is_not_limited(container, migrate, certificates, listener):  # noqa: F811
    """All at the given rate would take 32 seconds."""
    one = start(container, 32)
    move = migrate(one, listener=listener, source_args=[*certificates[0], "--bandwidth", "1m"], target_args=certificates[1])
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"
    assert "done" not in move.sender.phases()
    move.expect_moved()


def test_damaged_compressed_pages_are_asked_for_again(container, migrate, certificates, listener):  # noqa: F811
    one = container("/bin/ticker", "32", "500", "5000", "soft")
    one.stdio.stdout.line("START")
    left = {0}

    def damage(connection, frame):
        if frame.is_compressed and connection in left:
            left.remove(connection)
            frame.data[-1] ^= 1
        return True

    with Meddler(listener, certificates, damage):
        move = migrate(one, listener=listener, source_args=[*certificates[0], "--compress", "zstd"], target_args=certificates[1])
        move.expect_moved()
        assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"
        assert not left


@pytest.mark.parametrize("option, value", [("--compress", "gzip"), ("--bandwidth", "much")])
def test_what_makes_no_sense_is_refused(tmp_path, option, value):
    done = run([PAGER, "send", "--connect", "localhost:1", "--id", "x", "--pid", "1", "--work", str(tmp_path / "work"), "--state",
                str(tmp_path), option, value], check=False)
    assert done.returncode == 1 and value in done.stderr
