# SPDX-License-Identifier: Apache-2.0
"""create, start, state, kill, delete, run, list, ps, pause, resume, update, events."""
import json
import os
import pathlib
import signal
import subprocess

import pytest
from conftest import cgroup_dirs, covers, reap


def test_run_gives_the_exit_status_and_leaves_nothing(bundle):
    result = bundle.sh("echo out; echo err >&2; exit 7").run(check=False)
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")
    assert bundle.hydra("list", "-q").stdout == ""


def test_run_reports_death_by_signal(bundle):
    bundle.all_capabilities().sh("trap '' TERM; kill -9 $$; sleep 100000")
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"]
    assert bundle.run(check=False).returncode == 137


@covers("ociVersion")
def test_the_stages_of_a_life(bundle):
    hydra = bundle.hydra
    pid = bundle.sh("sleep 100000").create()
    state = hydra.state(bundle.id)
    assert state["status"] == "created" and state["id"] == bundle.id and state["bundle"] == str(bundle.path)
    assert list(state) == ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"]
    assert state["ociVersion"] == bundle.config["ociVersion"] == "1.3.0"
    hydra("start", bundle.id)
    assert hydra.state(bundle.id)["status"] == "running"
    hydra("kill", bundle.id, "KILL")
    assert reap(pid) == 137
    assert (hydra.state(bundle.id)["status"], hydra.state(bundle.id)["pid"]) == ("stopped", 0)
    hydra("delete", bundle.id)
    assert "does not exist" in hydra.refuses("state", bundle.id)


def test_init_is_a_child_of_create(bundle):
    """Its creator's subreaper adopts it: no process stays in between."""
    pid = bundle.sleeping()
    with open(f"/proc/{pid}/status") as status:
        assert f"PPid:\t{os.getpid()}" in status.read()


@covers("annotations")
def test_annotations_are_part_of_the_state(bundle):
    bundle.config["annotations"] = {"a": "b"}
    bundle.create()
    assert bundle.hydra.state(bundle.id)["annotations"] == {"a": "b"}


def test_a_container_starts_only_once(bundle):
    bundle.sleeping()
    assert "cannot start a container in the running state" in bundle.hydra.refuses("start", bundle.id)


def test_start_of_a_dead_container_says_so(bundle):
    pid = bundle.create()
    os.kill(pid, signal.SIGKILL)
    reap(pid)
    assert "container not running" in bundle.hydra.refuses("start", bundle.id)


def test_start_reports_why_exec_failed(bundle, rootfs):
    script = rootfs / "tmp" / "bad-interpreter"
    script.write_text("#!/nowhere\n")
    script.chmod(0o755)
    bundle.process["args"] = ["/tmp/bad-interpreter"]
    pid = bundle.create()
    message = bundle.hydra.refuses("start", bundle.id)
    assert "exec /tmp/bad-interpreter: no such file or directory" in message
    assert reap(pid) == 255


def test_the_same_id_cannot_be_used_twice(bundle):
    bundle.sleeping()
    message = bundle.hydra.refuses("create", "--bundle", bundle.path, bundle.id)
    assert "exists" in message
    assert bundle.hydra.state(bundle.id)["status"] == "running"


def test_delete_needs_force_while_it_runs(bundle):
    pid = bundle.sleeping()
    assert "not stopped" in bundle.hydra.refuses("delete", bundle.id)
    bundle.hydra("delete", "--force", bundle.id)
    assert reap(pid) == 137


def test_delete_of_a_created_container_kills_it(bundle):
    pid = bundle.create()
    bundle.hydra("delete", bundle.id)
    assert reap(pid) == 137


def test_forced_delete_of_nothing_succeeds(hydra):
    assert hydra("delete", "--force", "nobody").stderr == ""
    assert "container does not exist" in hydra.refuses("delete", "nobody")


def catches(pid, number):
    """Before it does, the first process of a pid namespace never sees the signal."""
    line = next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    return int(line.split()[1], 16) >> (number - 1) & 1


def test_kill_takes_names_and_numbers(bundle, wait):
    for name in ("15", "TERM", "sigterm"):
        one = bundle.another()
        pid = one.sh("trap 'exit 9' TERM; while :; do sleep 0.01; done").started()
        wait(lambda pid=pid: catches(pid, signal.SIGTERM), "the trap")
        one.hydra("kill", one.id, "0")
        one.hydra("kill", one.id, name)
        assert reap(pid) == 9


def test_kill_says_when_there_is_nobody(bundle):
    pid = bundle.sleeping()
    bundle.hydra("kill", bundle.id, "KILL")
    reap(pid)
    assert "container not running" in bundle.hydra.refuses("kill", bundle.id, "KILL")
    bundle.hydra("kill", "--all", bundle.id, "KILL")
    assert "unknown signal" in bundle.hydra.refuses("kill", bundle.id, "NOPE")


def test_kill_all_reaches_every_process(bundle, wait):
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"]
    pid = bundle.sh("sleep 100000 & sleep 100000 & wait").started()
    wait(lambda: len(json.loads(bundle.hydra("ps", "-f", "json", bundle.id).stdout)) == 3)
    bundle.hydra("kill", "--all", bundle.id, "KILL")
    assert reap(pid) == 137
    wait(lambda: bundle.hydra("ps", "-f", "json", bundle.id).stdout == "[]\n")


def test_kill_and_delete_by_expression(bundle):
    pid = bundle.sleeping()
    bundle.hydra("kill", "--regex", f"^{bundle.id}$", "KILL")
    assert reap(pid) == 137
    bundle.hydra("delete", "--regex", f"^{bundle.id}$")
    assert bundle.hydra("list", "-q").stdout == ""


def test_list_in_all_forms(bundle):
    hydra = bundle.hydra
    assert "list" in hydra.refuses("list") and hydra("--version").returncode == 0
    bundle.sleeping()
    assert hydra("list", "-q").stdout == f"{bundle.id}\n"
    assert hydra("list").stdout.split("\n")[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    entries = json.loads(hydra("list", "--format=json").stdout)
    assert [entry["id"] for entry in entries] == [bundle.id]
    hydra("delete", "--force", bundle.id)
    assert hydra("list", "-f", "json").stdout == "null\n"


def test_list_does_not_stumble_over_half_made_containers(bundle):
    (bundle.hydra.root / "half").mkdir(parents=True)
    (bundle.hydra.root / "broken").mkdir()
    (bundle.hydra.root / "broken" / "state.json").write_text("{")
    assert bundle.hydra("list", "-q").stdout == ""
    assert "does not exist" in bundle.hydra.refuses("state", "half")
    bundle.hydra("delete", "--force", "half")
    bundle.hydra("delete", "--force", "broken")


def test_ps_shows_the_processes(bundle):
    pid = bundle.sleeping()
    assert json.loads(bundle.hydra("ps", "--format", "json", bundle.id).stdout) == [pid]
    lines = bundle.hydra("ps", bundle.id).stdout.splitlines()
    assert "PID" in lines[0] and len(lines) == 2 and str(pid) in lines[1]
    assert bundle.hydra("ps", bundle.id, "-o", "pid,comm").stdout.split() == ["PID", "COMMAND", str(pid), "sleep"]


def test_pause_and_resume(bundle):
    hydra = bundle.hydra
    bundle.sleeping()
    hydra("pause", bundle.id)
    assert hydra.state(bundle.id)["status"] == "paused"
    assert "cannot exec in a paused container (use --ignore-paused to override)" in hydra.refuses("exec", bundle.id, "true", status=255)
    assert "cannot pause" in hydra.refuses("pause", bundle.id)
    hydra("resume", bundle.id)
    assert hydra.state(bundle.id)["status"] == "running"
    assert "cannot resume" in hydra.refuses("resume", bundle.id)


def test_a_paused_container_can_be_deleted(bundle):
    pid = bundle.sleeping()
    bundle.hydra("pause", bundle.id)
    bundle.hydra("delete", "--force", bundle.id)
    assert reap(pid) == 137


def test_pid_file_holds_exactly_the_pid(bundle, tmp_path):
    pid = bundle.create("--pid-file", tmp_path / "pid")
    assert (tmp_path / "pid").read_text() == str(pid)


def test_run_can_detach_and_keep(bundle):
    bundle.sh("exit 3").save()
    assert bundle.run("--keep", check=False).returncode == 3
    assert bundle.hydra.state(bundle.id)["status"] == "stopped"
    bundle.hydra("delete", bundle.id)
    bundle.process["args"] = ["/bin/sleep", "100000"]
    bundle.save()
    bundle.hydra.detached("run", "--detach", "--bundle", bundle.path, bundle.id)
    assert bundle.hydra.state(bundle.id)["status"] == "running"


def test_run_passes_signals_on(bundle, tmp_path, wait):
    bundle.sh("trap 'exit 5' TERM; echo >/data/ready; while :; do sleep 0.01; done")
    bundle.mount("/data", "bind", str(tmp_path), "bind").save()
    process = subprocess.Popen(bundle.hydra.command("run", "--bundle", bundle.path, bundle.id), stdin=subprocess.DEVNULL)
    wait((tmp_path / "ready").exists)
    process.terminate()
    assert process.wait(60) == 5


def test_a_container_without_cgroups(bundle):
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] != "cgroup"]
    bundle.save()
    result = bundle.hydra("--cgroup-manager", "disabled", "run", "--bundle", bundle.path, bundle.id)
    assert result.stderr == "" and cgroup_dirs(bundle.id) == []


def test_a_recycled_pid_is_not_the_container(bundle):
    pid = bundle.sleeping()
    path = bundle.hydra.root / bundle.id / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "startTime": state["startTime"] + 1}))
    assert bundle.hydra.state(bundle.id)["status"] == "stopped"
    assert "container not running" in bundle.hydra.refuses("kill", bundle.id, "KILL")
    os.kill(pid, 0)
    path.write_text(json.dumps(state))


def test_no_descriptor_leaks_into_the_container(bundle):
    read_end, write_end = os.pipe()
    try:
        bundle.sh("ls /proc/self/fd").save()
        result = subprocess.run(bundle.hydra.command("run", "--bundle", bundle.path, bundle.id), stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, pass_fds=[read_end, write_end], timeout=60)
        # 3 is what ls itself has opened
        assert result.stdout.split() == ["0", "1", "2", "3"], result.stderr
    finally:
        os.close(read_end)
        os.close(write_end)


def test_descriptors_asked_for_are_kept(bundle):
    with open("/dev/null") as null:
        os.dup2(null.fileno(), 3)
        bundle.sh("readlink /proc/$$/fd/3; ls /proc/$$/fd").save()
        result = subprocess.run(bundle.hydra.command("run", "--preserve-fds", "1", "--bundle", bundle.path, bundle.id),
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, close_fds=False, timeout=60)
    assert result.stdout.split()[0] == "/dev/null" and "3" in result.stdout.split()[1:], result.stderr
    assert "descriptor 3 (preserved-fd 0) is not open" in bundle.refuses("--preserve-fds", "1")


@pytest.mark.parametrize("point", ["container-saved", "create-cgroup-made", "create-spawned", "create-ready",
                                   "create-committing", "container-forgotten", "delete-cgroups-removed"])
def test_a_killed_command_leaves_what_delete_can_clean(bundle, tmp_path, point):
    """The fixture checks that really nothing is left."""
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / point).write_text("kill")
    environment = {"HYDRA_FAULTS": str(faults)}
    bundle.save()
    result = subprocess.run(bundle.hydra.command("run", "--bundle", bundle.path, bundle.id), stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}, timeout=60)
    if not (faults / f"{point}.arrived").exists():
        pytest.skip("built without -Dfault_points=true")
    assert result.returncode != 0
    bundle.hydra("list", "-f", "json")
    bundle.hydra("delete", "--force", bundle.id)
    assert bundle.hydra("list", "-q").stdout == ""
    assert bundle.run().returncode == 0
