# SPDX-License-Identifier: Apache-2.0
"""The same tests where /sys/fs/cgroup is cgroup v2 alone, in a mount namespace of their own."""
import os
import pathlib
import subprocess
import sys

import pytest

VIEW = "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\""


@pytest.mark.skipif(pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists(), reason="this already is cgroup v2")
def test_the_suite_passes_on_cgroup_v2():
    here = pathlib.Path(__file__).parent
    tests = [str(here / f"test_{name}.py") for name in ("lifecycle", "config", "cgroups", "combinations", "exec", "fields", "rootless", "userns", "nested")]
    result = subprocess.run(["unshare", "--mount", "sh", "-c", VIEW, "sh", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k",
                             "not podman", *tests], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
                            env=dict(os.environ))
    assert result.returncode == 0, result.stdout
