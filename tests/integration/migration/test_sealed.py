# SPDX-License-Identifier: Apache-2.0
"""Encrypted checkpoints: nothing of a container is on the disk as it is, and nothing that was changed is restored."""
import os
import secrets
import shutil

import pytest

from cluster import COUNT, lines, run, wait_for
from test_disk import assert_goes_on, host  # noqa: F401 (a fixture)


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_text(secrets.token_hex(32) + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def saved(host, rootfs, tmp_path, key):  # noqa: F811
    """A folder with the checkpoint of a container that counted up to saved.last, its secrets."""
    memory, layer, variable = (kind + secrets.token_hex(24) for kind in ("memory", "layer", "variable"))
    run(host, rootfs, "counter", "sh", "-c", f"echo kept >/data/note; echo {layer} >/data/secret; v={memory}; {COUNT}", options=("--env", f"V={variable}"))
    wait_for(lambda: len(lines(host, "counter")) > 3, "it to count")
    folder = tmp_path / "saved"
    host.ctl("checkpoint", "--encrypt", "--key-file", str(key), "--images", str(folder), "counter")
    wait_for(lambda: host.inspect("counter")["state"] == "stopped", "it to stop")
    last = lines(host, "counter")[-1]
    host.ctl("rm", "counter")
    return folder, last, (memory, layer, variable)


def restore(host, folder, key, check=True):  # noqa: F811
    return host.ctl("restore", "--images", str(folder), "--name", "again", "--key-file", str(key), check=check)


def assert_refused(host, folder, key, complaint):  # noqa: F811
    done = restore(host, folder, key, check=False)
    assert done.returncode == 125 and complaint in done.stderr, done.stderr
    assert host.json("ps", "-a") == [] and not host.path("/var/lib/hydra/default/again").exists()
    host.assert_clean()
    assert not any(host.path("/run/hydra/.work").iterdir())


def test_what_was_encrypted_goes_on(host, saved, key):  # noqa: F811
    folder, last, needles = saved
    assert os.listdir(folder) == ["checkpoint.sealed"]
    data = (folder / "checkpoint.sealed").read_bytes()
    assert len(data) > 100000 and not any(needle.encode() in data for needle in needles)
    assert not any(host.path("/run/hydra/.work").iterdir())
    restore(host, folder, key)
    assert_goes_on(host, "again", last)
    assert host.ctl("exec", "again", "cat", "/data/secret").stdout.strip() == needles[1]
    assert needles[0] in host.ctl("exec", "again", "cat", "/proc/1/cmdline").stdout
    assert not any(host.path("/run/hydra/.work").iterdir())


def test_another_key(host, saved, tmp_path):  # noqa: F811
    other = tmp_path / "other"
    other.write_bytes(secrets.token_bytes(32))
    other.chmod(0o600)
    assert_refused(host, saved[0], other, "it was encrypted with another key")
    other.chmod(0o644)
    assert_refused(host, saved[0], other, "can be read by others")
    done = host.ctl("restore", "--images", str(saved[0]), "--name", "again", check=False)
    assert done.returncode == 125 and "name its key with --key-file" in done.stderr


@pytest.mark.parametrize("where", ["beginning", "middle", "end", "cut", "longer"])
def test_damage_is_found_before_anything_is_started(host, saved, key, where):  # noqa: F811
    path = saved[0] / "checkpoint.sealed"
    data = bytearray(path.read_bytes())
    at = {"beginning": 20, "middle": len(data) // 2, "end": len(data) - 1}.get(where)
    if at is not None:
        data[at] ^= 1
    path.write_bytes(data[:-1000] if where == "cut" else data + b"x" if where == "longer" else data)
    assert_refused(host, saved[0], key, "damaged")


def test_one_that_leaves_it_running(host, rootfs, tmp_path, key):  # noqa: F811
    run(host, rootfs, "counter", "sh", "-c", "echo kept >/data/note; " + COUNT)
    wait_for(lambda: len(lines(host, "counter")) > 3, "it to count")
    for wrong in (("--encrypt",), ("--key-file", str(key))):
        assert "belong together" in host.ctl("checkpoint", *wrong, "--images", str(tmp_path / "saved"), "counter", check=False).stderr
    host.ctl("checkpoint", "--leave-running", "--encrypt", "--key-file", str(key), "--images", str(tmp_path / "saved"), "counter")
    before = len(lines(host, "counter"))
    wait_for(lambda: len(lines(host, "counter")) > before, "it to count on")
    again = host.ctl("checkpoint", "--leave-running", "--encrypt", "--key-file", str(key), "--images", str(tmp_path / "saved"), "counter", check=False)
    assert again.returncode == 125 and "has a checkpoint already" in again.stderr
    host.ctl("rm", "-f", "counter")
    restore(host, tmp_path / "saved", key)
    assert_goes_on(host, "again", 0)


def test_a_disk_that_is_full_loses_nothing(host, rootfs, tmp_path, key):  # noqa: F811
    small = tmp_path / "small"
    small.mkdir()
    host.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small))
    run(host, rootfs, "counter", "sh", "-c", "echo kept >/data/note; " + COUNT)
    wait_for(lambda: len(lines(host, "counter")) > 3, "it to count")
    done = host.ctl("checkpoint", "--encrypt", "--key-file", str(key), "--images", str(small / "saved"), "counter", check=False)
    assert done.returncode == 125 and "No space left" in done.stderr and "what was saved is in '" in done.stderr
    place = done.stderr.split("what was saved is in '")[1].split("'")[0]
    run(host, rootfs, "other", "sh", "-c", COUNT)
    host.ctl("checkpoint", "--encrypt", "--leave-running", "--key-file", str(key), "--images", str(tmp_path / "other"), "other")  # sweeps what is of no use
    host.ctl("rm", "-f", "other")
    assert {"record", "config.json", "images"} <= set(os.listdir(host.path(place))) and not os.listdir(host.path(str(small / "saved")))
    host.run("umount", place)
    shutil.rmtree(host.path(place))
