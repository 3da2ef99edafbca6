# SPDX-License-Identifier: Apache-2.0
"""The command line as other programs use it, and what it says when it is used wrongly."""
import json
import os
import pathlib
import subprocess

import pytest
from conftest import HYDRA

COMMANDS = ("create start state kill delete run exec list ps pause resume update events spec features checkpoint restore").split()


def run(*args, **options):
    return subprocess.run([str(HYDRA), *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **options)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    for args in ((command, "--help"), (command, "-h")):
        result = run(*args)
        assert result.returncode == 0 and f"\nusage: hydra {command}" in result.stdout and result.stderr == ""


def test_the_program_has_help_and_a_version():
    assert all(command in run("--help").stdout for command in COMMANDS)
    assert run("--version").stdout.startswith("hydra version ")
    assert "spec: 1." in run("-v").stdout


@pytest.mark.parametrize("args, message", [
    ((), "no command"), (("frobnicate",), "unknown command 'frobnicate'"), (("--nope",), "unknown option '--nope'"),
    (("state",), "usage: hydra state"), (("state", "a", "b"), "usage: hydra state"), (("state", "../x"), "invalid container id"), (("state", ".x"), "no dot in front"),
    (("create", "--preserve-fds", "x", "id"), "not a whole number"), (("--root", "/", "list"), "must not be the root directory"),
    (("--log-format", "xml", "list"), "'xml' is not text or json"), (("--cgroup-manager", "x", "list"), "'x' is not"),
    (("restore", "--lsm-mount-context"), "flag needs an argument"), (("list", "-f", "xml"), "'xml' is not table or json"),
])
def test_wrong_use_is_one_message(args, message):
    result = run(*args)
    assert result.returncode != 0 and result.stdout == ""
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_options_in_all_the_forms_callers_use(bundle):
    bundle.save()
    for form in (["--bundle", str(bundle.path), bundle.id], [f"--bundle={bundle.path}", bundle.id], ["-b", str(bundle.path), bundle.id],
                 [bundle.id, "--bundle", str(bundle.path)], ["-no-subreaper", "--bundle", str(bundle.path), bundle.id]):
        bundle.hydra("run", *form)


def test_errors_go_to_the_log_as_json(hydra, tmp_path):
    message = hydra.refuses("--log", tmp_path / "log", "--log-format", "json", "state", "nobody")
    entry = json.loads((tmp_path / "log").read_text())
    assert entry["level"] == "error" and f"hydra: {entry['msg']}\n" == message and entry["time"].endswith("Z")
    hydra.refuses("--log", tmp_path / "text", "state", "nobody")
    assert (tmp_path / "text").read_text().startswith('level=error msg="')


@pytest.mark.skipif(pathlib.Path("/run/systemd/private").exists(), reason="systemd runs here")
@pytest.mark.parametrize("options", [["--systemd-cgroup"], ["--cgroup-manager", "systemd"]], ids=" ".join)
def test_without_systemd_nothing_is_made_for_its_manager(bundle, options):
    bundle.linux["cgroupsPath"] = f"system.slice:hydra:{bundle.id}"
    bundle.save()
    for command in ("run", "create"):
        message = bundle.hydra.refuses(*options, command, "--bundle", bundle.path, bundle.id)
        assert "needs systemd, which does not answer" in message and "--cgroup-manager cgroupfs" in message
    assert not (bundle.hydra.root / bundle.id).exists()


BAD_UNITS = {
    "/hydra/web": "not of the form slice:prefix:name", "a.slice:web": "not of the form slice:prefix:name", "a:b:c": "does not end in '.slice'",
    "a--b.slice:b:c": "each part between dashes needs a name", "a/b.slice:b:c": "cannot be the name of a systemd unit",
}


@pytest.mark.parametrize("path", BAD_UNITS)
def test_what_is_no_unit_is_refused_with_its_field(bundle, path):
    bundle.linux["cgroupsPath"] = path
    bundle.save()
    message = bundle.hydra.refuses("--systemd-cgroup", "run", "--bundle", bundle.path, bundle.id)
    assert message.startswith("hydra: linux.cgroupsPath: ") and BAD_UNITS[path] in message


def test_what_is_no_property_of_a_unit_is_refused_with_its_annotation(bundle):
    bundle.linux["cgroupsPath"] = f"system.slice:hydra:{bundle.id}"
    bundle.config["annotations"] = {"org.systemd.property.CollectMode": "inactive"}
    bundle.save()
    message = bundle.hydra.refuses("--systemd-cgroup", "run", "--bundle", bundle.path, bundle.id)
    assert "annotations.org.systemd.property.CollectMode: expected a value (strings are in quotes)" in message


def test_managers_that_contradict_each_other_are_refused(hydra):
    assert "contradicts" in hydra.refuses("--systemd-cgroup", "--cgroup-manager", "cgroupfs", "state", "nobody")
    assert "is not systemd, cgroupfs or disabled" in hydra.refuses("--cgroup-manager", "other", "state", "nobody")


def test_spec_writes_once(hydra, tmp_path):
    hydra("spec", "--bundle", tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["process"]["args"] == ["sh"]
    assert "exists" in hydra.refuses("spec", "-b", tmp_path)


def test_a_rootless_spec_works(bundle):
    bundle.hydra("spec", "--rootless", "--file", "rootless.json", "--bundle", bundle.path)
    rootless = json.loads((bundle.path / "rootless.json").read_text())
    rootless["root"]["path"] = bundle.config["root"]["path"]
    rootless["process"].update({"terminal": False, "args": ["id", "-u"]})
    (bundle.path / "rootless.json").write_text(json.dumps(rootless))
    assert bundle.hydra("run", "--config", "rootless.json", "--bundle", bundle.path, bundle.id).stdout == "0\n"


def test_version_tells_what_is_in_it():
    """As crun's does, which its tests and other callers look for."""
    assert {"+SYSTEMD", "+SECCOMP", "+EBPF", "+CRIU"} <= set(run("--version").stdout.splitlines()[-1].split())


def test_features():
    document = json.loads(run("features").stdout)
    assert document["ociVersionMin"] == "1.0.0" and "rro" in document["mountOptions"]
    assert document["linux"]["mountExtensions"]["idmap"]["enabled"] and "time" in document["linux"]["namespaces"]
    assert document["linux"]["seccomp"]["enabled"] and "SCMP_ACT_NOTIFY" in document["linux"]["seccomp"]["actions"]
    assert document["linux"]["cgroup"]["systemd"] and document["linux"]["cgroup"]["systemdUser"]
    assert document["potentiallyUnsafeConfigAnnotations"] == [
        "org.systemd.property.", "run.oci.keep_original_groups", "run.oci.pidfd_receiver"]
    assert document["linux"]["netDevices"]["enabled"] and document["linux"]["intelRdt"] == {"enabled": True, "schemata": True, "monitoring": True}
    assert "MPOL_BIND" in document["linux"]["memoryPolicy"]["modes"] and "MPOL_F_STATIC_NODES" in document["linux"]["memoryPolicy"]["flags"]


@pytest.mark.parametrize("change, message", [
    (lambda c: c["process"].update(args=["a", 5]), "config.json: process.args[1]: expected a string, found the number 5"),
    (lambda c: c.pop("ociVersion"), "ociVersion: missing"),
    (lambda c: c.pop("root"), "root.path: missing"),
    (lambda c: c.pop("process"), "process: missing"),
    (lambda c: c["root"].update(path="/no/such/folder"), "find rootfs '/no/such/folder': No such file or directory"),
    (lambda c: c["root"].update(path="/"), "the host's root cannot be a rootfs"),
    (lambda c: c["linux"]["namespaces"].append({"type": "user", "path": "/no/ns"}), "linux.namespaces[6].path: open user namespace '/no/ns'"),
    (lambda c: c["mounts"].append({"destination": "/data", "type": "bind", "source": "/no/such", "options": ["bind"]}), "mounts[7]: open source '/no/such'"),
    (lambda c: c["mounts"].append({"destination": "/data", "type": "nofs", "source": "x"}), "mounts[7]: mount nofs on '/data'"),
    (lambda c: c["process"].update(cwd="relative"), "process.cwd: 'relative' is not an absolute path"),
    (lambda c: c["process"].update(env=["novalue"]), "process.env[0]: 'novalue' has no '='"),
    (lambda c: c["process"].update(oomScoreAdj=5000), "process.oomScoreAdj"),
    (lambda c: c["process"].update(scheduler={"policy": "SCHED_X"}), "unknown policy 'SCHED_X'"),
    (lambda c: c["process"].update(ioPriority={"class": "X"}), "unknown class 'X'"),
    (lambda c: c["linux"].update(devices=[{"path": "/dev/x", "type": "z"}]), "linux.devices[0].type: 'z' is not c, b, u or p"),
    (lambda c: c["linux"].update(devices=[{"path": "/dev/null", "type": "c", "major": 9, "minor": 9}]), "something else is there"),
    (lambda c: c.update(hooks={"prestart": [{"path": "relative"}]}), "hooks.prestart[0].path"),
])
def test_a_bad_configuration_is_one_message_and_leaves_nothing(bundle, change, message):
    change(bundle.config)
    assert message in bundle.refuses()


def break_json(text):
    return text.replace('"cwd": "/"', "\"cwd\": '/'", 1)


@pytest.mark.parametrize("change, message", [
    (break_json, "config.json: not JSON: unexpected character at line 1, column "),
    (lambda text: text + "{}", "config.json: not JSON: unexpected character at line 1, column "),
    (lambda text: text + " " * (100 << 20), "larger than"),
    (lambda text: text.replace('"args"', '"args\\u0000"', 1), "NUL in a string"),
])
def test_a_configuration_that_is_not_json_is_refused(bundle, change, message):
    config = bundle.save().path / "config.json"
    config.write_text(change(config.read_text()))
    assert message in bundle.hydra.refuses("run", "--bundle", bundle.path, bundle.id)


def test_text_that_is_not_ascii_arrives(bundle):
    bundle.process["args"] = ["/bin/echo", "Grüße, 世界 🐉"]
    bundle.save()
    config = bundle.path / "config.json"
    config.write_text(json.dumps(bundle.config, ensure_ascii=False))
    assert bundle.hydra("run", "--bundle", bundle.path, bundle.id).stdout == "Grüße, 世界 🐉\n"


def test_a_bundle_whose_name_is_not_utf8_can_be_told_in_json(bundle, tmp_path):
    named = os.fsdecode(bytes(tmp_path) + b"/b\xff")
    bundle.process["args"] = ["/bin/sleep", "100000"]
    bundle.save().path.rename(named)
    bundle.hydra.detached("create", "--bundle", named, bundle.id)
    assert bundle.hydra.state(bundle.id)["bundle"] == f"{tmp_path}/b?"
    bundle.hydra("delete", "--force", bundle.id)
