#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a file is longer than 500 lines or a function longer than 60 (40 is the aim)."""
import pathlib
import re
import sys

FILE_LINES, FUNCTION_LINES = 500, 60
root, broken = pathlib.Path(sys.argv[1]), []
sources = [path for folder in ("base", "state", "proto", "runtime", "shim", "setup", "checkpoint", "monitor", "daemon", "cli", "tests")
           for path in sorted((root / folder).rglob("*.[ch]"))]
for source in sources:
    lines = source.read_text().splitlines()
    if len(lines) > FILE_LINES:
        broken.append(f"{source}: {len(lines)} lines (at most {FILE_LINES})")
    start = None
    for number, text in enumerate(lines, 1):
        if text == "{":
            start = number
        elif text == "}" and start is not None:
            if number - start - 1 > FUNCTION_LINES:
                name = next((re.sub(r"\(.*", "", line) for line in reversed(lines[:start - 1]) if "(" in line), "?")
                broken.append(f"{source}:{start}: {name}: {number - start - 1} lines (at most {FUNCTION_LINES})")
            start = None
print("\n".join(broken))
sys.exit(bool(broken))
