# SPDX-License-Identifier: Apache-2.0
"""The benchmark of migrations works: every way moves every byte, table and plot come out. What it measures is not judged here."""
import json
import pathlib
import subprocess
import sys

BENCH = pathlib.Path(__file__).parents[3] / "bench/migrate.py"


def test_every_way_is_measured(tmp_path):
    done = subprocess.run([sys.executable, str(BENCH), "--quick", "--json", str(tmp_path / "json"), "--plot", str(tmp_path / "plot.svg")],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((tmp_path / "json").read_text())
    ways = [{way for way in ("hydra", "criu", "copy") if way in row} for row in measured["rows"]]
    assert ways == [{"hydra", "criu", "copy"}] * 2 + [{"hydra", "criu"}, {"hydra"}]
    for row in measured["rows"]:
        for way in row.keys() & {"hydra", "criu", "copy"}:
            assert row[way]["downtime"] > 0 and row[way]["mib"] >= row["MiB"] * 0.9, row
    assert measured["stalls"]["64"][0] > 0
    assert "| memory | 64 | random | hydra |" in done.stdout and "client stall at 64 MiB" in done.stdout
    plot = (tmp_path / "plot.svg").read_text()
    assert plot.rstrip().endswith("</svg>") and all(title in plot for title in ("downtime", "stall", "lazy phase", "bytes out"))
