# SPDX-License-Identifier: Apache-2.0
"""All resident programs replaced in a loop under load (scripts/chaos --upgrades does it for longer)."""
import os

from upgrade_loop import UpgradeLoop

SECONDS = float(os.environ.get("HYDRA_TEST_UPGRADE_SECONDS", "10"))


def test_no_request_no_connection_and_no_byte_is_lost(daemon_host, rootfs):
    loop = UpgradeLoop(daemon_host, rootfs)
    loop.run(SECONDS)
    print(loop.summary())
    assert loop.failures == []
    assert loop.counts["requests"] > SECONDS and loop.counts["upgrades of hydra-shim"] > 1
