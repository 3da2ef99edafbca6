#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a folder includes a header it may not know about, or a library that belongs elsewhere."""
import pathlib
import re
import sys

MAY_INCLUDE = {
    "base": set(),
    "state": {"base", "proto"},
    "proto": {"base"},
    "runtime": {"base", "state", "proto"},
    "shim": {"base", "state", "proto"},
    "setup": {"base", "state", "proto"},
    "checkpoint": {"base", "state", "proto"},
    "monitor": {"base", "state", "proto"},
    "daemon": {"base", "state", "proto"},
    "cli": {"base", "state", "proto"},
}
# header prefix -> folders it is confined to
CONFINED = {
    "seccomp.h": {"runtime"},
    "sys/capability.h": {"runtime"},
    "json-c/": {"runtime"},
    "yyjson.h": {"setup", "cli"},
    "openssl/": {"checkpoint"},
    "lz4.h": {"checkpoint"},
    "zstd.h": {"checkpoint"},
    "linux/userfaultfd.h": {"checkpoint"},
    "systemd/": {"runtime"},
    "protobuf-c/": {"proto", "state", "shim", "setup", "checkpoint", "monitor", "daemon", "cli"},
}

root, broken = pathlib.Path(sys.argv[1]), []
for folder, allowed in MAY_INCLUDE.items():
    for source in sorted((root / folder).rglob("*.[ch]")):
        lines = source.read_text().splitlines()
        if "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
            broken.append(f"{source}:1: no SPDX header")
        for number, text in enumerate(lines, 1):
            if own := re.match(r'#include "([a-z]+)/', text):
                if own[1] != folder and own[1] not in allowed:
                    broken.append(f"{source}:{number}: {folder}/ may not include {own[1]}/")
            if ext := re.match(r"#include <([^>]+)>", text):
                for header, owners in CONFINED.items():
                    if ext[1].startswith(header) and folder not in owners:
                        broken.append(f"{source}:{number}: <{ext[1]}> belongs in {sorted(owners)} only")
            if re.match(r"#\s*if", text) and source.name not in ("kernel.c", "kernel.h", "fault.c"):
                broken.append(f"{source}:{number}: conditional compilation belongs in base/kernel.*")
print("\n".join(broken))
sys.exit(bool(broken))
