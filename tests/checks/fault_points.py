#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a fault point of the sources is named by no test: then nobody knows what a death there leaves behind."""
import pathlib
import re
import sys

FOLDERS = ("base", "state", "proto", "runtime", "shim", "setup", "checkpoint", "monitor", "daemon", "cli")
root = pathlib.Path(sys.argv[1])
tests = "\n".join(path.read_text() for path in sorted((root / "tests/integration").rglob("*.py")))
broken = []
for source in (path for folder in FOLDERS for path in sorted((root / folder).rglob("*.c"))):
    for number, text in enumerate(source.read_text().splitlines(), 1):
        for point in re.findall(r'fault_point\("([^"]+)"\)', text):
            # as a name, or as a Python keyword
            if f'"{point}"' not in tests and not re.search(rf'\b{point.replace(".", "__").replace("-", "_")}\b', tests):
                broken.append(f"{source}:{number}: no test kills at '{point}'")
print("\n".join(broken))
sys.exit(bool(broken))
