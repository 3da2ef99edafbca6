# SPDX-License-Identifier: Apache-2.0
"""checkpoint and restore, which hand over to hydra-checkpoint."""
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import BUILD, reap, wait_until

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


def end(bundle):
    """Of what restore has brought back."""
    pid = bundle.hydra.state(bundle.id)["pid"]
    os.kill(pid, 9)
    reap(pid)


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
def test_a_root_that_is_read_only_and_has_no_tmp(bundle, rootfs, tmp_path, wait):
    """CRIU needs a folder there, for a moment."""
    root, data = tmp_path / "rootfs", tmp_path / "data"
    shutil.copytree(rootfs, root, symlinks=True)
    shutil.rmtree(root / "tmp")
    data.mkdir()
    bundle.config["root"] = {"path": str(root), "readonly": True}
    pid = counting(bundle, data)
    wait(lambda: count(data) > 5)
    bundle.hydra.detached("checkpoint", "--image-path", tmp_path / "image", bundle.id)
    assert reap(pid) == 137
    before = count(data)
    bundle.hydra.detached("restore", "--detach", "--image-path", tmp_path / "image", "--bundle", bundle.path, bundle.id)
    wait(lambda: count(data) > before + 5)
    assert not (root / "tmp").exists()
    end(bundle)


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
    for option in (["--lazy-pages"], ["--page-server", "127.0.0.1:1"], ["--status-fd", "3"]):
        assert f"{option[0]}: not supported; memory that follows is what `hydractl migrate` does" in bundle.hydra.refuses(
            "checkpoint", *option, bundle.id)


def tracks_writes():
    return "pre-copy (soft-dirty)    yes" in subprocess.run([BUILD / "checkpoint/hydra-checkpoint", "check"], capture_output=True, text=True,
                                                            check=False).stdout


def said(bundle, *command):
    """The message of hydra-checkpoint, which has the command's standard error."""
    result = bundle.hydra(*command, check=False)
    assert result.returncode == 1
    return result.stderr


@needs_checkpoint
def test_memory_ahead_takes_a_kernel_that_tracks_writes(bundle, tmp_path, wait):
    data = tmp_path / "data"
    data.mkdir()
    counting(bundle, data)
    wait(lambda: count(data) > 5)
    image = tmp_path / "image"
    for options, message in ((["--parent-path", "/x"], "--parent-path: '/x': expected a path from the images"),
                             (["--parent-path", "../x"], f"--parent-path: there is no '{image}/../x'")):
        assert message in said(bundle, "checkpoint", *options, "--image-path", image, bundle.id)
    if not tracks_writes():
        message = said(bundle, "checkpoint", "--pre-dump", "--image-path", image, bundle.id)
        assert "--pre-dump: this kernel does not tell which memory was written" in message
    before = count(data)
    wait(lambda: count(data) > before)


@needs_checkpoint
def test_memory_ahead_and_then_the_rest(bundle, tmp_path, wait):
    """Podman's `checkpoint --pre-checkpoint` and `--with-previous`."""
    if not tracks_writes():
        pytest.skip("this kernel does not track written pages")
    data = tmp_path / "data"
    data.mkdir()
    bundle.mount("/data", "bind", str(data), "bind")
    bundle.sh("exec 2>/dev/null; x=$(head -c 3000000 /dev/zero | tr '\\0' x); n=0; while :; do n=$((n + 1)); echo $n >/data/new; "
              "mv /data/new /data/count; if [ -e /data/ask ]; then rm /data/ask; echo ${#x} >/data/size; fi; sleep 0.01; done")
    pid = bundle.started()
    wait(lambda: count(data) > 5)
    for name, options in (("first", []), ("second", ["--parent-path", "../first"])):
        bundle.hydra.detached("checkpoint", "--pre-dump", *options, "--image-path", tmp_path / name, bundle.id)
        assert bundle.hydra.state(bundle.id)["status"] == "running"
    bundle.hydra.detached("checkpoint", "--image-path", tmp_path / "last", "--parent-path", "../second", bundle.id)
    assert reap(pid) == 137
    sizes = {name: sum(each.stat().st_size for each in (tmp_path / name).glob("pages-*.img")) for name in ("first", "second", "last")}
    assert sizes["first"] > 3000000 > 10 * sizes["second"] and 3000000 > 10 * sizes["last"]
    before = count(data)
    bundle.hydra.detached("restore", "--detach", "--image-path", tmp_path / "last", "--bundle", bundle.path, bundle.id)
    wait(lambda: count(data) > before + 5)
    (data / "ask").touch()
    wait(lambda: (data / "size").exists() and (data / "size").read_text() == "3000000\n")
    end(bundle)


@needs_checkpoint
def test_a_deleted_file_with_another_name(bundle, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    bundle.mount("/data", "bind", str(data), "bind")
    bundle.sh("exec 2>/dev/null; echo kept >/data/a; exec 9</data/a; ln /data/a /data/b; rm /data/a; mkfifo /data/go; read x </data/go; "
              "cat <&9 >/data/out; sleep 100000")
    pid = bundle.started()
    wait_until(lambda: (data / "go").exists())
    assert "link-remap" in said(bundle, "checkpoint", "--image-path", tmp_path / "image", bundle.id)
    bundle.hydra.detached("checkpoint", "--link-remap", "--tcp-skip-in-flight", "--image-path", tmp_path / "image", bundle.id)
    assert reap(pid) == 137 and [each for each in data.iterdir() if each.name.startswith("link_remap")]
    bundle.hydra.detached("restore", "--detach", "--tcp-close", "--image-path", tmp_path / "image", "--bundle", bundle.path, bundle.id)
    (data / "go").write_text("\n")
    wait_until(lambda: (data / "out").exists() and (data / "out").read_text() == "kept\n")
    assert not [each for each in data.iterdir() if each.name.startswith("link_remap")]
    end(bundle)


def save_with_users(bundle, image):
    """A container with a user namespace, to disk; without a sysfs, which CRIU may not make in one."""
    bundle.user_namespace()
    bundle.config["mounts"] = [each for each in bundle.config["mounts"] if not each["destination"].startswith("/sys")]
    pid = bundle.sh("exec 2>/dev/null; sleep 100000 & wait").started()
    bundle.hydra.detached("checkpoint", "--image-path", image, bundle.id)
    assert reap(pid) == 137


@needs_checkpoint
def test_a_user_namespace(bundle, tmp_path):
    """CRIU reads images as its root, who may not: they are his for as long as that takes."""
    image = tmp_path / "image"
    tmp_path.chmod(0o711)
    save_with_users(bundle, image)
    bundle.hydra.detached("restore", "--detach", "--image-path", image, "--bundle", bundle.path, bundle.id)
    assert bundle.hydra("exec", bundle.id, "id", "-u").stdout == "0\n"
    assert os.stat(f"/proc/{bundle.hydra.state(bundle.id)['pid']}").st_uid == 100000
    assert {(each.stat().st_uid, each.stat().st_mode & 0o77) for each in image.glob("*.img")} == {(0, 0)} and image.stat().st_uid == 0
    end(bundle)


@needs_checkpoint
def test_images_of_somebody_else(bundle, tmp_path):
    """What they say is theirs is not given away: a link to another folder, another name of another file."""
    image, other = tmp_path / "image", tmp_path / "other"
    other.mkdir(0o700)
    (other / "secret.img").write_text("secret")
    save_with_users(bundle, image)
    (image / "parent").symlink_to(other)
    bundle.hydra("restore", "--detach", "--image-path", image, "--bundle", bundle.path, bundle.id, check=False)
    bundle.hydra("delete", "--force", bundle.id)
    (image / "parent").unlink()
    os.link(other / "secret.img", image / "more.img")
    assert "image more.img is no file of its own" in said(bundle, "restore", "--image-path", image, "--bundle", bundle.path, bundle.id)
    (image / "more.img").unlink()
    assert {each.stat().st_uid for each in image.glob("*.img")} == {0}
    for path in (other, other / "secret.img"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o7777) in ((0, 0o700), (0, 0o644))
