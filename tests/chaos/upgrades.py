#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The inner part of scripts/chaos --upgrades: everything replaced in a loop under requests, nothing killed."""
import os
import pathlib
import sys
import tempfile

top = pathlib.Path(__file__).parent.parent.parent
sys.path[:0] = [str(top / "tests/integration/hydra"), str(top / "bench")]
os.environ.setdefault("HYDRA_TEST_DEADLINE", "60")

from common import make_rootfs  # noqa: E402
from hosts import Host, wait_for  # noqa: E402
from upgrade_loop import UpgradeLoop  # noqa: E402


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory(prefix="hydra-upgrades-") as folder, Host("upgrades") as host:
        host.start("hydra-monitor")
        wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
        loop = UpgradeLoop(host, make_rootfs(pathlib.Path(folder)))
        loop.run(seconds)
    print(f"{seconds:.0f} s: {loop.summary()}")
    for failure in loop.failures:
        print(f"A PROMISE BROKE: {failure}")
    print("0 passed, 1 failed" if loop.failures else "1 passed, 0 failed")
    return 1 if loop.failures else 0


if __name__ == "__main__":
    sys.exit(main())
