# SPDX-License-Identifier: Apache-2.0
"""linux.intelRdt. No machine of ours has the hardware, so that what stands in here is, for who belongs to a group, a hierarchy of
cgroup v1 without controllers, whose folders and `tasks` files the kernel makes and moves threads by just as resctrl's; and, for what
is written to a class, a folder with such files. The kernel's own refusals of schemata are not to be had in this way."""
import os
import pathlib
import secrets
import subprocess
import time

import pytest
from conftest import BUILD, covers, reap, wait_until


NAME = f"name=rdt-{secrets.token_hex(4)}"  # the machine's, whose other tests may run just now


def mount(place):
    return subprocess.run(["mount", "-t", "cgroup", "-o", f"none,{NAME}", "none", place], check=False).returncode == 0


def unmount(place):
    """The kernel looks whether a hierarchy is empty just then, and folders are there a while longer than they can be seen. False: again."""
    if os.path.ismount(place) or mount(place):
        subprocess.run(["umount", place], check=True)
    time.sleep(0.1)  # nothing tells of its end
    return f"{NAME}:" not in pathlib.Path("/proc/self/cgroup").read_text()


@pytest.fixture
def groups(tmp_path, monkeypatch):
    place = tmp_path / "resctrl"
    place.mkdir()
    assert mount(place)
    (place / "info").mkdir()
    (place / "info/L3_MON").mkdir()
    monkeypatch.setenv("HYDRA_RESCTRL", str(place))
    yield place
    for folder, _, _ in os.walk(place, topdown=False):
        if folder != str(place):
            os.rmdir(folder)
    wait_until(lambda: unmount(place), "the end of the hierarchy")


@pytest.fixture
def classes(tmp_path, monkeypatch):
    place = tmp_path / "resctrl"
    make_class(place, "    MB:0=100;1=100\n    L3:0=000ff;1=000f0\n")
    make_class(place / "gold", "    MB:0= 70;1=100\n    L3:0=0000f;1=000f0\n")
    monkeypatch.setenv("HYDRA_RESCTRL", str(place))
    return place


def make_class(folder, schemata):
    folder.mkdir()
    (folder / "schemata").write_text(schemata)
    (folder / "tasks").touch()


def tasks(group):
    return [int(line) for line in (group / "tasks").read_text().split()]


def use(bundle, **fields):
    bundle.linux["intelRdt"] = fields
    return bundle


@covers("linux.intelRdt")
def test_a_container_has_a_class_of_its_own(groups, bundle, tmp_path):
    pid = use(bundle).sleeping()
    assert tasks(groups / bundle.id) == [pid]
    bundle.hydra.detached("exec", "--detach", "--pid-file", tmp_path / "pid", bundle.id, "sleep", "100000")
    other = int((tmp_path / "pid").read_text())
    assert tasks(groups / bundle.id) == [pid, other]
    os.kill(other, 9)
    reap(other)
    bundle.hydra("delete", "--force", bundle.id)
    assert not (groups / bundle.id).exists()


@covers("linux.intelRdt.closID")
def test_a_class_that_was_there_is_joined_and_stays(groups, bundle):
    (groups / "gold").mkdir()
    pid = use(bundle, closID="gold").sleeping()
    assert tasks(groups / "gold") == [pid]
    bundle.hydra("delete", "--force", bundle.id)
    assert (groups / "gold").exists()


@covers("linux.intelRdt.closID")
def test_the_class_that_everything_is_in(groups, bundle):
    pid = use(bundle, closID="/").sleeping()
    assert pid in tasks(groups)


@covers("linux.intelRdt.enableMonitoring", "linux.intelRdt.enableCMT", "linux.intelRdt.enableMBM")
def test_monitoring_has_a_group_that_goes_with_the_container(groups, bundle):
    (groups / "gold/mon_groups").mkdir(parents=True)
    pid = use(bundle, closID="gold", enableMonitoring=True, enableCMT=True, enableMBM=True).sleeping()
    assert tasks(groups / "gold/mon_groups" / bundle.id) == [pid] and not tasks(groups / "gold")
    bundle.hydra("delete", "--force", bundle.id)
    assert [each.name for each in (groups / "gold/mon_groups").iterdir() if each.is_dir()] == []


@pytest.mark.parametrize("field", ["enableMonitoring", "enableCMT", "enableMBM"])
def test_monitoring_that_the_machine_does_not_have(groups, bundle, field):
    (groups / "info/L3_MON").rmdir()
    assert f"linux.intelRdt.{field}: not supported by this machine" in use(bundle, **{field: True}).refuses()
    assert not (groups / bundle.id).exists()


def test_a_creation_that_fails_leaves_no_class(groups, bundle):
    assert "linux.intelRdt: open" in use(bundle, l3CacheSchema="L3:0=f").refuses()  # here a class has no schemata
    assert not (groups / bundle.id).exists()


@covers("linux.intelRdt.schemata", "linux.intelRdt.l3CacheSchema", "linux.intelRdt.memBwSchema")
def test_schemata_are_written(classes, bundle):
    make_class(classes / bundle.id, "")
    pid = use(bundle, l3CacheSchema="MB:0=1\nL3:0=f;1=f0", memBwSchema="MB:0=70", schemata=["L2:0=3"]).sleeping()
    assert (classes / bundle.id / "schemata").read_text() == "L3:0=f;1=f0\nMB:0=70\nL2:0=3\n"
    assert (classes / bundle.id / "tasks").read_text() == str(pid)
    bundle.hydra("update", "--mem-bw-schema", "MB:0=50", "--l3-cache-schema", "L3:0=3;1=30", bundle.id)
    assert (classes / bundle.id / "schemata").read_text().startswith("L3:0=3;1=30\nMB:0=50\n")
    for file in ("schemata", "tasks"):
        (classes / bundle.id / file).unlink()  # which the kernel does by itself


@pytest.mark.parametrize("fields", [{}, {"schemata": ["L3:0=f"]}, {"l3CacheSchema": "L3:1=f0;0=F", "memBwSchema": "MB:0=70;1=100"},
                                    {"schemata": ["L3:0=ff", "L3:0=f"]}])
def test_a_class_that_is_as_asked_for_is_joined(classes, bundle, fields):
    before = (classes / "gold/schemata").read_text()
    pid = use(bundle, closID="gold", **fields).sleeping()
    assert (classes / "gold/tasks").read_text() == str(pid) and (classes / "gold/schemata").read_text() == before


@pytest.mark.parametrize("fields, message", [
    ({"closID": "gold", "schemata": ["L3:0=ff"]}, "closID: the class of service 'gold' has other schemata already"),
    ({"closID": "gold", "memBwSchema": "MB:2=70"}, "closID: the class of service 'gold' has other schemata already"),
    ({"closID": "gold", "schemata": ["L2:0=f"]}, "closID: the class of service 'gold' has other schemata already"),
    ({"closID": "silver"}, "closID: there is no class of service 'silver'"),
    ({"closID": "../x"}, "closID: '../x': expected the name of a class of service"),
    ({"closID": "info"}, "closID: 'info': expected the name of a class of service"),
    ({"closID": ""}, "closID: '': expected the name of a class of service"),
    ({"schemata": ["L3:0=f", "nothing"]}, "schemata[1]: 'nothing': expected one line"),
    ({"schemata": ["L3:0=f\nMB:0=1"]}, "schemata[0]: "),
    ({"memBwSchema": "L3:0=f"}, "memBwSchema: 'L3:0=f': expected one line"),
])
@covers("linux.intelRdt.…")
def test_what_cannot_be_is_refused(classes, bundle, fields, message):
    assert f"linux.intelRdt.{message}" in use(bundle, **fields).refuses()


def test_a_container_with_a_name_that_resctrl_has_for_itself(groups, bundle):
    use(bundle).save()
    message = bundle.hydra.refuses("run", "--bundle", bundle.path, "info")
    assert "a container called 'info' can have no class of its own" in message and (groups / "info/L3_MON").exists()


def test_update_of_a_container_without_a_class(classes, bundle):
    bundle.sleeping()
    assert "the container's configuration has no linux.intelRdt" in bundle.hydra.refuses("update", "--mem-bw-schema", "MB:0=50", bundle.id)
    assert (classes / "schemata").read_text().startswith("    MB:0=100")


@pytest.mark.skipif(not (BUILD / "checkpoint" / "hydra-checkpoint").exists(), reason="hydra-checkpoint was not built")
def test_a_restored_container_is_in_its_class(groups, bundle, tmp_path):
    """Threads and all, from birth: they are children of the command that brings them back."""
    pid = use(bundle).sh("exec 2>/dev/null; exec sleep 100000").started()
    bundle.hydra.detached("checkpoint", "--image-path", tmp_path / "image", bundle.id)
    assert reap(pid) == 137 and not (groups / bundle.id).exists()
    bundle.hydra.detached("restore", "--detach", "--image-path", tmp_path / "image", "--bundle", bundle.path, bundle.id)
    pid = bundle.hydra.state(bundle.id)["pid"]
    assert tasks(groups / bundle.id) == [pid]
    os.kill(pid, 9)
    reap(pid)
