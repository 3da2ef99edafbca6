# SPDX-License-Identifier: Apache-2.0
"""What was broken when: the only excuse of a request that failed."""
import collections
import contextlib
import threading
import time


class Weather:
    """Disturbances of "hydrad", "hydra-monitor" and "shim NAME", each from its cause until it was seen to be over."""

    def __init__(self):
        self.lock = threading.Lock()
        self.spells = []
        self.recoveries = collections.defaultdict(list)

    def begin(self, target):
        spell = {"target": target, "began": time.monotonic(), "ended": None}
        with self.lock:
            self.spells.append(spell)
        return spell

    def end(self, spell):
        spell["ended"] = time.monotonic()
        self.recoveries[spell["target"].split()[0]].append(spell["ended"] - spell["began"])

    def troubles(self, target):
        """True while a disturbance of it is not over."""
        with self.lock:
            return any(spell["target"] == target and spell["ended"] is None for spell in self.spells)

    def excuses(self, targets, began):
        """Was one of these disturbed at any time since then?"""
        with self.lock:
            return any(spell["target"] in targets and (spell["ended"] is None or spell["ended"] > began) for spell in self.spells)


class Ledger:
    """Counts, and broken promises."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.broken = collections.defaultdict(list)
        self.began = time.monotonic()

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] += number

    def break_promise(self, kind, text):
        with self.lock:
            self.broken[kind].append(text)
        print(f"{time.monotonic() - self.began:7.2f} A PROMISE BROKE: {kind}: {text}", flush=True)

    @contextlib.contextmanager
    def checks(self, kind, about):
        """What does not come true in here, or in time, is a broken promise."""
        try:
            yield
        except Exception as problem:  # whatever it is: nobody expected it
            self.break_promise(kind, f"{about}: {type(problem).__name__} {problem}{getattr(about, 'history', str)()}")
