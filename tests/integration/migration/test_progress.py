# SPDX-License-Identifier: Apache-2.0
"""What hydractl migrate shows while it goes on."""
import json
import pathlib
import re
import signal
import subprocess

from cluster import names, wait_for
from terminal import COLOUR, Terminal

# of a source when all goes well (checkpoint/phases.c)
PHASES = ["preflight", "sync", "freeze", "images", "vote", "committed", "paging", "done"]
MAN_PAGE = pathlib.Path(__file__).parents[3] / "docs/man/hydractl.1"


def documented_fields(heading):
    """What the man page lists in the table of fields behind a sentence."""
    text = MAN_PAGE.read_text().split(heading, 1)[1]
    return set(re.findall(r"^\.BR? (\w+)", text.split("\n.RE", 1)[0], re.M))


def hydractl(host, *arguments):
    return [host.program("hydractl"), *arguments]


def test_one_line_in_place_as_wide_as_the_terminal(counter):
    counter.b.order_fault("receive.images", "stop")
    with Terminal(counter.a, *hydractl(counter.a, "migrate", "counter", counter.b.address), columns=120) as terminal:
        wait_for(lambda: counter.b.has_arrived("receive.images"), "the images to be there")
        wait_for(lambda: any("stands still" in line for line in terminal.drawn()), "the standstill to be told")
        before = len(terminal.drawn())
        wait_for(lambda: len(terminal.drawn()) > before + 2, "the line to be drawn again without news")
        terminal.resize(40)
        wait_for(lambda: len(terminal.drawn()[-1]) == 39, "the line to be cut")
        terminal.resize(120)
        counter.b.kill("hydra-pager", signal.SIGCONT)
        assert terminal.process.wait(60) == 0, terminal.read()
        shown = terminal.drawn()
        assert max(map(len, shown)) < 120 and not COLOUR.search(terminal.text)
        assert re.match(r"done +\[#{20}\] 100%  stood still [\d.]+ m?s  [\d.]+ \w+.*  0 pages left", shown[-1]), shown[-1]
        assert terminal.text.rstrip().splitlines()[-1].startswith("moved to " + counter.b.address)


def test_lines_where_there_is_no_terminal(counter):
    moved = counter.a.ctl("migrate", "counter", counter.b.address)
    assert moved.stderr == "" and "\033" not in moved.stdout and "\r" not in moved.stdout
    phases = [line.split()[0] for line in moved.stdout.splitlines()]
    assert [phase for phase in phases if phase in ("freeze", "committed", "done")] == ["freeze", "committed", "done"]
    assert phases[-1] == "moved"


def test_who_looks_late_is_told_of_every_phase(counter):
    moving = counter.a.popen(hydractl(counter.a, "migrate", "counter", counter.b.address), stdout=subprocess.PIPE, text=True)
    said = [moving.stdout.readline()]
    moving.send_signal(signal.SIGSTOP)
    wait_for(lambda: names(counter.a) == set() and names(counter.b) == {"counter"}, "it to be moved")
    moving.send_signal(signal.SIGCONT)
    said += moving.communicate(timeout=60)[0].splitlines()
    phases = [line.split()[0] for line in said]
    assert [phase for phase in phases if phase in PHASES] == PHASES and phases[-1] == "moved", said


def test_objects_whose_fields_the_man_page_explains(counter):
    moved = counter.a.ctl("--format", "json", "migrate", "counter", counter.b.address)
    seen = [json.loads(line) for line in moved.stdout.splitlines()]
    documented = documented_fields("the fields of an object are")
    assert all(set(item) == documented for item in seen), set(seen[0]) ^ documented
    assert [item["sequence"] for item in seen] == sorted({item["sequence"] for item in seen})
    last = seen[-1]
    assert last["isDone"] and not last["hasFailed"] and last["phase"] == "done" and last["containerId"] == "counter"
    assert last["downtimeUs"] == last["standstillUs"] > 0 and last["bytesSent"] > 0
    assert last["pagesLeft"] == 0 and last["timeLeftMs"] == 0
    assert names(counter.a) == set()
