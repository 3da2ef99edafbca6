# SPDX-License-Identifier: Apache-2.0
"""Bad input: one message that names the thing and what was expected, and nothing left behind."""
import json
import re
import subprocess

import pytest
from hosts import program

CASES = [
    (["run", "--rootfs", "/nonexistent", "true"], "'/nonexistent'"),
    (["run", "--rootfs", "relative", "true"], "absolute"),
    (["run", "--rootfs", "/etc/passwd", "true"], "expected a folder"),
    (["run", "--rootfs", "ROOT"], "command"),
    (["run", "true"], "rootfs or a bundle"),
    (["run", "--rootfs", "ROOT", "--name", "a/b", "true"], "'a/b'"),
    (["run", "--rootfs", "ROOT", "--memory", "lots", "true"], "--memory: 'lots'"),
    (["run", "--rootfs", "ROOT", "--cpus", "-1", "true"], "--cpus: '-1'"),
    (["run", "--rootfs", "ROOT", "--pids", "0", "true"], "--pids: '0'"),
    (["run", "--rootfs", "ROOT", "--restart", "sometimes", "true"], "--restart: 'sometimes'"),
    (["run", "--rootfs", "ROOT", "--log-opt", "max-size=big", "true"], "--log-opt: 'max-size=big'"),
    (["run", "--rootfs", "ROOT", "-v", "/nonexistent:/x", "true"], "/nonexistent:/x"),
    (["run", "--rootfs", "ROOT", "-v", "x", "true"], "--mount: 'x'"),
    (["run", "--rootfs", "ROOT", "-e", "NOVALUE", "true"], "'NOVALUE'"),
    (["run", "--rootfs", "ROOT", "-u", "root", "true"], "user 'root'"),
    (["run", "--rootfs", "ROOT", "--network", "missing", "true"], "network 'missing'"),
    (["run", "--rootfs", "ROOT", "/no/such/program"], "/no/such/program"),
    (["run", "--bundle", "/tmp"], "config.json"),
    (["run", "--unknown"], "--unknown"),
    (["frobnicate"], "'frobnicate'"),
    (["--format", "yaml", "ps"], "'yaml'"),
    (["inspect", "missing"], "'missing'"),
    (["stop", "missing"], "'missing'"),
    (["kill", "missing"], "'missing'"),
    (["exec", "missing", "true"], "'missing'"),
    (["logs", "missing"], "'missing'"),
    (["attach", "missing"], "'missing'"),
    (["rm", "missing"], "'missing'"),
    (["start", "missing"], "'missing'"),
    (["events", "missing"], "'missing'"),
    (["stats"], "usage: hydractl stats"),
]


@pytest.mark.parametrize("arguments, named", CASES, ids=[" ".join(case[0]) for case in CASES])
def test_one_message_names_the_thing(any_host, rootfs, arguments, named):
    done = any_host.ctl(*[rootfs if word == "ROOT" else word for word in arguments], check=False)
    assert done.returncode in (125, 126, 127)
    assert named in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    any_host.assert_clean()


def test_a_name_in_use_is_refused_and_its_container_untouched(any_host, rootfs):
    any_host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "sleep", "1000")
    before = any_host.inspect("web")
    done = any_host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "true", check=False)
    assert done.returncode == 125 and "'web' is in use" in done.stderr
    assert any_host.inspect("web")["pid"] == before["pid"]


@pytest.mark.parametrize("change, named", [
    (lambda config: config["process"].update(args="sh"), "process.args"),
    (lambda config: config["process"].update(cwd=7), "process.cwd"),
    (lambda config: config.update(mounts={}), "mounts"),
    (lambda config: config["root"].update(path=None), "root.path"),
], ids=["args", "cwd", "mounts", "root"])
def test_a_broken_bundle_names_its_field(any_host, rootfs, tmp_path, change, named):
    from hosts import program
    any_host.run(program("hydra"), "spec", "--bundle", str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"]["terminal"] = False
    config["root"]["path"] = rootfs
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = any_host.ctl("run", "--name", "b", "--bundle", str(tmp_path), check=False)
    assert done.returncode == 125 and named in done.stderr, done.stderr
    any_host.assert_clean()


def test_a_full_disk_is_reported_and_nothing_left(any_host, rootfs):
    any_host.run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=4", "tmpfs", "/var/lib/hydra")
    done = any_host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "true", check=False)
    assert done.returncode == 125 and "No space left" in done.stderr
    any_host.run("umount", "/var/lib/hydra")
    any_host.assert_clean()


@pytest.mark.parametrize("name", ["hydrad", "hydra-monitor"])
def test_programs_that_stay_say_what_they_are(name):
    def say(*arguments):
        return subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=60, check=False)

    done = say("--help")
    assert done.returncode == 0 and done.stdout.startswith(f"{name} ") and "Options:\n" in done.stdout and done.stderr == ""
    done = say("--version")
    assert done.returncode == 0 and re.fullmatch(rf"{name} [0-9.]+\n", done.stdout) and done.stderr == ""
    done = say("--frobnicate")
    assert done.returncode == 1 and "'--frobnicate'" in done.stderr and done.stdout == ""
