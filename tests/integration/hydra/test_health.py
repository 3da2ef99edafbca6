# SPDX-License-Identifier: Apache-2.0
"""Health checks are the shim's: no daemon is needed for them, and none disturbs them."""
import pytest

from hosts import wait_for

FAST = ("--health-interval", "100ms", "--health-timeout", "10s", "--health-retries", "2")


@pytest.fixture
def folder(any_host):
    path = any_host.path("/var/lib/hydra/health")
    path.mkdir()
    yield path
    for entry in path.iterdir():
        entry.unlink()
    path.rmdir()


def run(host, rootfs, command, *options, program_=("sleep", "1000")):
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, "-v", "/var/lib/hydra/health:/data", "--health-cmd", command, *FAST,
             *options, *program_)


def health(host):
    return (host.inspect("web")["health"] or {}).get("status")


def becomes(host, status):
    wait_for(lambda: health(host) == f"HEALTH_{status}", status)


def test_it_is_healthy_then_not_then_again(any_host, rootfs, folder):
    (folder / "well").touch()
    run(any_host, rootfs, "test -e /data/well")
    becomes(any_host, "HEALTHY")
    assert "(healthy)" in any_host.ctl("ps").stdout
    (folder / "well").unlink()
    becomes(any_host, "UNHEALTHY")
    assert any_host.inspect("web")["health"]["failures"] >= 2 and any_host.inspect("web")["state"] == "running"
    (folder / "well").touch()
    becomes(any_host, "HEALTHY")
    events = [line.split() for line in any_host.ctl("events", "web").stdout.splitlines() if " health" in line]
    assert [event[-1] for event in events] == ["healthy", "unhealthy", "healthy"]
    assert "exec-started" not in any_host.ctl("events", "web").stdout


def test_a_check_that_hangs_is_killed_and_has_failed(any_host, rootfs, folder):
    run(any_host, rootfs, "echo begun >>/data/log; sleep 1000", "--health-timeout", "200ms")
    becomes(any_host, "UNHEALTHY")
    assert any_host.inspect("web")["health"]["exitCode"] == 137
    wait_for(lambda: len((folder / "log").read_text().split()) > 3, "further checks")


def test_a_command_that_is_not_there_is_unhealthy(any_host, rootfs, folder):
    run(any_host, rootfs, "/no/such/program")
    becomes(any_host, "UNHEALTHY")
    assert any_host.inspect("web")["health"]["exitCode"] == 127


def test_failures_in_the_start_period_do_not_count(any_host, rootfs, folder):
    run(any_host, rootfs, "echo x >>/data/log; test -e /data/well", "--health-start-period", "1h")
    wait_for(lambda: (folder / "log").exists() and len((folder / "log").read_text().split()) > 4, "some checks")
    assert health(any_host) == "HEALTH_STARTING"
    (folder / "well").touch()
    becomes(any_host, "HEALTHY")
    (folder / "well").unlink()
    becomes(any_host, "UNHEALTHY")


def test_a_paused_container_is_left_alone_and_a_stopped_one_has_no_health(any_host, rootfs, folder):
    run(any_host, rootfs, "true")
    becomes(any_host, "HEALTHY")
    any_host.ctl("pause", "web")
    assert health(any_host) == "HEALTH_HEALTHY"
    any_host.ctl("resume", "web")
    any_host.ctl("stop", "-t", "0", "web")
    assert health(any_host) is None
    any_host.ctl("start", "web")
    becomes(any_host, "HEALTHY")


def test_it_can_be_changed_while_it_runs(any_host, rootfs, folder):
    run(any_host, rootfs, "true")
    becomes(any_host, "HEALTHY")
    any_host.ctl("update", "--health-cmd", "false", "web")
    becomes(any_host, "UNHEALTHY")
    any_host.ctl("update", "--no-healthcheck", "web")
    wait_for(lambda: health(any_host) is None, "no health")
    any_host.ctl("update", "--health-cmd", "true", "--health-interval", "50ms", "web")
    becomes(any_host, "HEALTHY")


@pytest.mark.parametrize("options, message", [
    (("--health-interval", "1s"), "--health-cmd COMMAND is missing"),
    (("--health-cmd", "true", "--health-interval", "soon"), "option --health-interval: 'soon'"),
    (("--health-cmd", "true", "--health-retries", "0"), "option --health-retries: '0'")])
def test_what_makes_no_sense_is_refused(any_host, rootfs, options, message):
    refused = any_host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, *options, "true", check=False)
    assert refused.returncode == 125 and message in refused.stderr


def test_checks_go_on_without_the_daemon_and_with_another_shim(daemon_host, rootfs):
    host = daemon_host
    folder = host.path("/var/lib/hydra/health")
    folder.mkdir()
    run(host, rootfs, "echo x >>/data/log")
    becomes(host, "HEALTHY")

    def goes_on():
        seen = len((folder / "log").read_text())
        wait_for(lambda: len((folder / "log").read_text()) > seen + 3, "further checks")
    host.kill("hydrad")
    goes_on()
    host.ctl("upgrade", "shim", "web")
    goes_on()
    before = host.inspect("web")["shimPid"]
    host.run("kill", "-9", str(before))
    wait_for(lambda: (seen := host.inspect("web"))["isReachable"] and seen["shimPid"] != before, "the successor")
    goes_on()
    assert health(host) == "HEALTH_HEALTHY"
    host.ctl("rm", "-f", "web")
    (folder / "log").unlink()
    folder.rmdir()


def test_a_running_check_is_not_in_the_way_of_a_checkpoint(host, rootfs):
    host.path("/var/lib/hydra/health").mkdir()
    run(host, rootfs, "sleep 1000")
    wait_for(lambda: host.run("pgrep", "-f", "sleep 1000", check=False).stdout.count("\n") > 1, "the check")
    host.ctl("checkpoint", "--images", "/run/images", "web")
    host.ctl("rm", "-f", "web")
    host.run("rm", "-r", "/run/images")
    host.path("/var/lib/hydra/health").rmdir()


def test_it_can_be_removed_in_the_middle_of_a_check(daemon_host, rootfs):
    """An exec that fails because its container is just ending must not keep the shim from ending."""
    host = daemon_host
    host.path("/var/lib/hydra/health").mkdir()
    for number in range(40):
        run(host, rootfs, "true", "--health-interval", "5ms")
        if number % 2:
            becomes(host, "HEALTHY")
        host.ctl("rm", "-f", "web")
    host.path("/var/lib/hydra/health").rmdir()
