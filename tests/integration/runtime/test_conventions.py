# SPDX-License-Identifier: Apache-2.0
"""Habits of other runtimes that conformance suites and callers count on."""
import json
import os
import socket
import subprocess

import pytest

from conftest import PATIENCE_S


def inherited(bundle, *options, **environment):
    """A run that gets descriptor 3 of /dev/null and no other one from us."""
    bundle.save()
    command = bundle.hydra.command("run", *options, "--bundle", bundle.path, bundle.id)
    with open("/dev/null") as null:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, pass_fds=[3], timeout=PATIENCE_S,
                              env={**os.environ, **environment}, preexec_fn=lambda: os.dup2(null.fileno(), 3))


def test_an_unknown_capability_is_left_out_with_a_warning(bundle):
    bundle.process["capabilities"] = {kind: ["CAP_KILL", "CAP_NONSENSE"] for kind in ("bounding", "effective", "permitted")}
    result = bundle.sh("grep CapEff /proc/self/status").run()
    assert result.stdout.split() == ["CapEff:", "0000000000000020"]
    assert "warning: process.capabilities: unknown capability 'CAP_NONSENSE' is left out" in result.stderr
    bundle.sleeping()
    result = bundle.hydra("exec", "--cap", "CAP_OTHER", bundle.id, "true")
    assert "unknown capability" in result.stderr and result.stdout == ""


def test_a_user_namespace_without_mappings_has_the_caller_alone(bundle):
    bundle.linux["namespaces"].append({"type": "user"})
    for mount in bundle.config["mounts"]:
        mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]
    assert bundle.output("cat /proc/self/uid_map /proc/self/gid_map").split() == ["0", str(os.geteuid()), "1", "0", str(os.getegid()), "1"]


def test_the_last_of_equal_variables_counts(bundle):
    bundle.process["env"] += ["X=first", "XX=other", "X=last"]
    bundle.process["args"] = ["/bin/env"]
    assert [line for line in bundle.run().stdout.split() if line.startswith("X")] == ["XX=other", "X=last"]
    bundle.sleeping()
    assert bundle.hydra("exec", "-e", "X=again", bundle.id, "env").stdout.split().count("X=again") == 1
    assert "X=last" not in bundle.hydra("exec", "-e", "X=again", bundle.id, "env").stdout


def test_the_name_of_the_host_has_a_field_of_its_own(bundle):
    bundle.linux["sysctl"] = {"kernel.hostname": "x"}
    assert "not allowed as it conflicts with the OCI \"hostname\" field" in bundle.refuses()


def test_an_id_is_refused_with_the_character_that_is_wrong(hydra):
    assert "invalid character `/` in the ID" in hydra.refuses("state", "a/b")


def test_more_descriptors_may_be_asked_for_than_are_open(bundle):
    bundle.sh("readlink /proc/$$/fd/3")
    result = inherited(bundle, "--preserve-fds", "9")
    assert result.stdout == "/dev/null\n", result.stderr


@pytest.mark.parametrize("pid, expected", [(None, ["LISTEN_FDS=1", "LISTEN_PID=1", "/dev/null"]), ("1", [])])
def test_sockets_of_an_activation_reach_the_container(bundle, pid, expected):
    bundle.sh("env | grep ^LISTEN_ | sort; readlink /proc/$$/fd/3 || true")
    result = inherited(bundle, LISTEN_FDS="1", **({"LISTEN_PID": pid} if pid else {}))
    assert result.stdout.split() == expected, result.stderr


def test_a_link_that_leads_nowhere_is_followed_inside(bundle, rootfs, tmp_path):
    (tmp_path / "file").write_text("content")
    bundle.mount("/place", "tmpfs", "tmpfs")
    bundle.mount("/place/folder", "tmpfs", "tmpfs")
    source = tmp_path / "links"
    source.mkdir()
    (source / "link").symlink_to("../place/made/here")
    bundle.mount("/tmp", "bind", str(source), "bind")
    bundle.mount("/tmp/link", "bind", str(tmp_path / "file"), "bind")
    assert bundle.output("cat /place/made/here") == "content"
    assert not (tmp_path / "place").exists()


def test_a_link_can_be_copied_instead_of_bound(bundle, tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    bundle.mount("/place", "tmpfs", "tmpfs")
    bundle.mount("/place/a/link", "bind", str(tmp_path / "link"), "bind", "copy-symlink")
    assert bundle.output("readlink /place/a/link") == "nowhere\n"


def test_a_device_may_be_named_like_a_folder(bundle):
    bundle.mount("/dev", "tmpfs", "tmpfs")
    bundle.linux["devices"] = [{"path": "/dev/named//", "type": "c", "major": 1, "minor": 3}]
    bundle.linux.pop("resources", None)
    assert bundle.output("test -c /dev/named && echo yes") == "yes\n"


def test_groups_of_the_caller_can_be_kept(bundle):
    script = "grep Groups: /proc/self/status"
    before = os.getgroups()
    os.setgroups([7, 8])
    try:
        assert bundle.output(script).split() == ["Groups:"]
        bundle.config["annotations"] = {"run.oci.keep_original_groups": "1"}
        assert bundle.output(script).split() == ["Groups:", "7", "8"]
    finally:
        os.setgroups(before)


def test_an_annotation_names_a_receiver_of_the_pidfd(bundle, tmp_path):
    path = str(tmp_path / "receiver")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(PATIENCE_S)
        bundle.config["annotations"] = {"run.oci.pidfd_receiver": path}
        pid = bundle.create()
        with listener.accept()[0] as connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    with open(f"/proc/self/fdinfo/{fds[0]}") as info:
        assert f"Pid:\t{pid}\n" in info.read()
    os.close(fds[0])


def test_a_failing_poststart_hook_stops_the_container(bundle, tmp_path):
    marks = tmp_path / "marks"
    bundle.config["hooks"] = {"poststart": [{"path": "/bin/false"}],
                              "poststop": [{"path": "/bin/false"}, {"path": "/bin/sh", "args": ["sh", "-c", f"echo stopped >>{marks}"]}]}
    bundle.process["args"] = ["/bin/sleep", "100000"]
    assert "error running poststart hook #0" in bundle.refuses()
    assert marks.read_text() == "stopped\n"
    bundle.create()
    assert "error running poststart hook #0" in bundle.hydra.refuses("start", bundle.id)
    bundle.hydra("delete", "--force", bundle.id)
    assert marks.read_text() == "stopped\nstopped\n"


def test_the_log_has_a_type(hydra, tmp_path):
    assert "unknown log type 'invalid'" in hydra.refuses("--log=invalid:/path", "list")
    hydra.refuses(f"--log=file:{tmp_path}/log", "state", "nobody")
    assert "does not exist" in (tmp_path / "log").read_text()
    hydra.refuses("--log=syslog:test", "state", "nobody")


def test_the_state_is_there_under_the_name_that_crun_has(bundle):
    pid = bundle.sleeping()
    assert json.loads((bundle.hydra.root / bundle.id / "status").read_text())["pid"] == pid
