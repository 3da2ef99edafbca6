# SPDX-License-Identifier: Apache-2.0
"""buildah run with --runtime hydra: the steps of a build."""
import subprocess

import pytest
from conftest import HYDRA, Tool, need


@pytest.fixture
def build(tmp_path, rootfs, nothing_is_left):
    """buildah run in a working container that has the image's files."""
    need("buildah")
    buildah = Tool("buildah", "--root", f"{tmp_path}/storage", "--runroot", f"{tmp_path}/run", "--storage-driver", "vfs")
    with open(tmp_path / "files.tar", "wb") as archive:
        subprocess.run(["tar", "-C", rootfs, "-c", "."], stdout=archive, check=True)
    # it would ask for more than a machine may allow
    buildah("from", "--name", "work", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "scratch")
    buildah("add", "work", tmp_path / "files.tar", "/")
    step = Tool(*buildah.base, "run", "--runtime", HYDRA, "--isolation", "oci", "--network", "none")
    step.buildah = buildah
    yield step
    buildah("rm", "--all", check=False)
    subprocess.run(["umount", "-l", tmp_path / "storage/vfs", tmp_path / "storage"], capture_output=True, check=False)


def test_steps_build_on_each_other(build, tmp_path):
    assert build("work", "--", "sh", "-c", "echo made > /made; id -u").stdout == "0\n"
    assert build("work", "--", "cat", "/made").stdout == "made\n"
    assert build("--user", "12:13", "--env", "A=b", "--workingdir", "/tmp", "work", "--", "sh", "-c", "id -u; id -g; echo $A; pwd").stdout == "12\n13\nb\n/tmp\n"
    build.buildah("config", "--cmd", "sleep 1", "work")
    image = build.buildah("commit", "work", "localhost/made").stdout.strip()
    assert image and build.buildah("images", "--format", "{{.Name}}").stdout.strip() == "localhost/made"


def test_a_step_that_fails_fails(build):
    result = build("work", "--", "sh", "-c", "exit 7", check=False)
    assert result.returncode == 7
    result = build("work", "--", "/no/such", check=False)
    assert result.returncode != 0 and "/no/such" in result.stderr


def test_volumes_and_input(build, tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given/file").write_text("given\n")
    out = build("--volume", f"{tmp_path}/given:/given:ro", "work", "--", "sh", "-c", "cat /given/file; touch /given/x 2>&1; true").stdout
    assert out.startswith("given\n") and "Read-only" in out
    with open(tmp_path / "given/file") as given:
        assert build("work", "--", "cat", stdin=given).stdout == "given\n"


def test_a_terminal(build):
    status, text = build.on_terminal("--tty", "work", "--", "sh", "-c", "'test -t 1 && echo terminal; exit 3'")
    assert status == 3 and text.startswith("terminal\n")
