# SPDX-License-Identifier: Apache-2.0
"""The end of the machine. It comes last: nothing can be started any more when it is over."""
import pathlib

from conftest import Counter, ctl, inspect, show, systemctl
from hosts import wait_for

# Stands for what brings the network up: it is stopped after everything that is ordered behind network.target.
NETWORK = """[Unit]
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'touch /run/network-goes; exec sleep infinity'
TimeoutStopSec=300
"""


def test_a_shutdown_stops_containers_in_order_before_network_and_file_systems(installed, rootfs):
    pathlib.Path("/run/systemd/system/test-network.service").write_text(NETWORK)
    systemctl("daemon-reload")
    systemctl("start", "test-network")
    web = Counter("web", rootfs, "--restart", "always")
    ctl("run", "-d", "--name", "deaf", "--stop-timeout", "1", "--rootfs", rootfs, "sleep", "1000")
    network = pathlib.Path("/run/network-goes")
    systemctl("--no-block", "poweroff")
    wait_for(network.exists, "the network to go")
    assert show("hydra-shutdown.service", "ActiveState") == "inactive"
    assert [inspect(name)["state"] for name in ("web", "deaf")] == ["stopped", "stopped"]
    web.assert_complete()
    assert inspect("deaf")["exit"]["exitCode"] == 137
