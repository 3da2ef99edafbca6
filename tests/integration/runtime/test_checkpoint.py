# SPDX-License-Identifier: Apache-2.0
"""checkpoint and restore, which hand over to hydra-checkpoint."""
import os
import pathlib

import pytest
from conftest import BUILD, reap

needs_checkpoint = pytest.mark.skipif(not (BUILD / "checkpoint" / "hydra-checkpoint").exists(), reason="hydra-checkpoint was not built")


def counting(bundle, folder):
    """A container whose progress can be seen from outside."""
    bundle.mount("/data", "bind", str(folder), "bind")
    bundle.sh("exec 2>/dev/null; n=0; while :; do n=$((n + 1)); echo $n >/data/new; mv /data/new /data/count; sleep 0.01; done")
    return bundle.started()


def count(folder):
    try:
        return int((folder / "count").read_text())
    except (FileNotFoundError, ValueError):
        return 0


@needs_checkpoint
def test_a_container_goes_on_where_it_was(bundle, tmp_path, wait):
    data = tmp_path / "data"
    data.mkdir()
    pid = counting(bundle, data)
    wait(lambda: count(data) > 5)
    bundle.hydra.detached("checkpoint", "--image-path", tmp_path / "image", bundle.id)
    assert reap(pid) == 137
    assert bundle.hydra("list", "-q").stdout == ""
    before = count(data)
    bundle.hydra.detached("restore", "--detach", "--image-path", tmp_path / "image", "--pid-file", tmp_path / "pid", "--bundle",
                          bundle.path, bundle.id)
    state = bundle.hydra.state(bundle.id)
    assert state["status"] == "running" and (tmp_path / "pid").read_text() == str(state["pid"])
    wait(lambda: count(data) > before + 5)
    assert f"/hydra/{bundle.id}" in pathlib.Path(f"/proc/{state['pid']}/cgroup").read_text()
    os.kill(state["pid"], 9)
    reap(state["pid"])


@needs_checkpoint
def test_a_checkpoint_can_leave_it_running(bundle, tmp_path, wait):
    data = tmp_path / "data"
    data.mkdir()
    counting(bundle, data)
    wait(lambda: count(data) > 5)
    bundle.hydra.detached("checkpoint", "--leave-running", "--image-path", tmp_path / "image", bundle.id)
    before = count(data)
    wait(lambda: count(data) > before)
    assert bundle.hydra.state(bundle.id)["status"] == "running"


def test_what_cannot_be_checkpointed_is_refused(bundle):
    bundle.create()
    assert "cannot checkpoint a created container" in bundle.hydra.refuses("checkpoint", bundle.id)
    assert "--pre-dump: not supported" in bundle.hydra.refuses("checkpoint", "--pre-dump", bundle.id)
