# SPDX-License-Identifier: Apache-2.0
"""The availability ledger: who was up, down, out of reach, and since when nobody could see it."""
import os
import re
import signal

from hosts import wait_for
from logs import Disk, log_options

SCRAPE = ("import socket; s=socket.socket(socket.AF_UNIX); s.connect('/run/hydra/metrics.sock');"
          "s.sendall(b'GET /metrics HTTP/1.1\\r\\n\\r\\n'); print(s.makefile().read(), end='')")


def subject(host, name):
    return host.json("ledger", name)["subjects"][0]


def container(host, name):
    """The container itself; the other one is its shim."""
    shim, found = host.json("ledger", name)["subjects"]
    assert (shim["name"], found["name"]) == (f"default/{name}", f"container default/{name}")
    return found


def intervals(host, name, prefix=""):
    full = name if name in ("monitor", "daemon") else f"{prefix}default/{name}"
    return [item for item in host.json("ledger", "--intervals", name)["intervals"] if item["name"] == full]


def states(host, name):
    return [item["state"] for item in intervals(host, name)]


def run(host, rootfs, name="web", *command):
    host.ctl("run", "-d", "--name", name, "--rootfs", rootfs, *(command or ("sleep", "1000")))
    return host.inspect(name)["shimPid"]


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def kill_monitor(host):
    """Returns when all shims have noticed, which hung up then: one that notices later than the next monitor began can't say more."""
    before = {pid: descriptors(pid) for pid in host.pids("hydra-shim")}
    host.kill("hydra-monitor")
    host.services["hydra-monitor"].wait()
    wait_for(lambda: all(descriptors(pid) < count for pid, count in before.items()), "the shims to notice")


def test_what_runs_is_up_and_what_ended_is_neither_up_nor_down(daemon_host, rootfs):
    host = daemon_host
    run(host, rootfs)
    assert [subject(host, name)["state"] for name in ("monitor", "daemon", "web")] == ["up", "up", "up"]
    assert subject(host, "web")["pid"] == host.inspect("web")["shimPid"]
    host.ctl("stop", "-t", "0", "web")
    wait_for(lambda: subject(host, "web")["state"] == "ended", "the shim's end")
    seen = subject(host, "web")
    assert seen["downNs"] == 0 and seen["upNs"] > 0 and seen["restarts"] == 0
    host.ctl("rm", "web")
    assert "knows no" in host.ctl("ledger", "web", check=False).stderr


def test_a_killed_daemon_was_down_until_the_next_one(daemon_host):
    host = daemon_host
    host.kill("hydrad")
    wait_for(lambda: subject(host, "daemon")["restarts"] == 1, "the next one")
    assert states(host, "daemon") == ["up", "down", "up"]
    seen = subject(host, "daemon")
    assert seen["downNs"] > 0 and seen["repairs"] == 1 and seen["meanRepairNs"] == seen["repairNs"] == seen["downNs"]
    assert intervals(host, "daemon")[1]["why"] == "signal 9"


def test_a_killed_shim_was_down_until_its_successor(daemon_host, rootfs):
    host = daemon_host
    shim = run(host, rootfs)
    host.run("kill", "-KILL", str(shim))
    wait_for(lambda: subject(host, "web")["restarts"] == 1, "the successor")
    assert states(host, "web") == ["up", "down", "up"]
    assert subject(host, "web")["pid"] not in (0, shim)


def test_a_stopped_shim_is_unreachable_not_down(daemon_host, rootfs):
    host = daemon_host
    shim = run(host, rootfs, "web", "sh", "-c", "echo hello; exec sleep 1000")
    wait_for(lambda: host.ctl("logs", "web").stdout == "hello\n", "its output")
    host.run("kill", "-STOP", str(shim))
    wait_for(lambda: subject(host, "web")["state"] == "unreachable", "the ledger to know")
    seen = subject(host, "web")["container"]
    assert container(host, "web")["state"] == "unknown"
    assert seen["state"] == "unknown" and seen["outputIsKnown"] and seen["outputReadBytes"] == seen["outputWrittenBytes"] == 6
    host.run("kill", "-CONT", str(shim))
    wait_for(lambda: subject(host, "web")["state"] == "up", "the ledger to know")
    assert states(host, "web") == ["up", "unreachable", "up"]
    assert subject(host, "web")["restarts"] == 0 and subject(host, "web")["repairs"] == 1


def test_a_container_is_down_between_two_runs(daemon_host, rootfs):
    host = daemon_host
    host.ctl("run", "-d", "--name", "web", "--restart", "on-failure:2", "--rootfs", rootfs, "sh", "-c", "exit 3")
    host.ctl("run", "--name", "once", "--rootfs", rootfs, "true")
    wait_for(lambda: container(host, "web")["restarts"] == 2 and container(host, "web")["state"] == "ended", "both restarts")
    assert [item["state"] for item in intervals(host, "web", "container ")] == ["up", "down", "up", "down", "up", "ended"]
    assert intervals(host, "web", "container ")[1]["why"] == "status 3"
    seen = container(host, "web")
    assert seen["downNs"] == seen["repairNs"] == 2 * seen["meanRepairNs"] + seen["repairNs"] % 2 and seen["upNs"] > 0
    wait_for(lambda: container(host, "once")["state"] == "ended", "the end")
    assert container(host, "once")["downNs"] == 0


def test_a_stopped_daemon_is_unreachable(daemon_host):
    host = daemon_host
    host.kill("hydrad", signal.SIGSTOP)
    wait_for(lambda: subject(host, "daemon")["state"] == "unreachable", "the ledger to know")
    host.kill("hydrad", signal.SIGCONT)
    wait_for(lambda: subject(host, "daemon")["state"] == "up", "the ledger to know")


def test_the_window_without_a_monitor_is_measured(daemon_host, rootfs):
    host = daemon_host
    shim, daemon = run(host, rootfs), host.json("daemon")["pid"]
    kill_monitor(host)
    host.start("hydra-monitor")
    wait_for(lambda: states(host, "monitor") == ["up", "down", "up"], "the shim to tell when the monitor was lost")
    seen = subject(host, "monitor")
    assert seen["restarts"] == 1 and seen["repairs"] == 1 and seen["repairNs"] == seen["downNs"] > 0 and seen["unknownNs"] == 0
    # what went on without it was never down, and is the same as before
    assert states(host, "web") == ["up"] and subject(host, "web")["pid"] == shim
    assert states(host, "daemon") == ["up"] and subject(host, "daemon")["pid"] == daemon


def test_without_anybody_to_tell_the_window_is_unknown(daemon_host):
    kill_monitor(daemon_host)
    daemon_host.start("hydra-monitor")
    assert states(daemon_host, "monitor") == ["up", "unknown", "up"]
    assert subject(daemon_host, "monitor")["downNs"] == 0


def test_a_monitor_that_is_told_to_end_says_so(daemon_host):
    daemon_host.kill("hydra-monitor", signal.SIGTERM)
    daemon_host.services["hydra-monitor"].wait()
    daemon_host.start("hydra-monitor")
    assert states(daemon_host, "monitor") == ["up", "down", "up"]


def test_when_a_shim_died_without_a_monitor_is_unknown(daemon_host, rootfs):
    host = daemon_host
    shim = run(host, rootfs)
    kill_monitor(host)
    host.run("kill", "-KILL", str(shim))
    wait_for(lambda: not host.pids("hydra-shim"), "its death")
    host.start("hydra-monitor")
    wait_for(lambda: subject(host, "web")["state"] == "up", "the successor")
    assert states(host, "web")[:2] == ["up", "unknown"] and subject(host, "web")["restarts"] == 1


def test_a_daemon_that_outlived_its_monitor_is_watched_by_the_next(daemon_host):
    host = daemon_host
    daemon = host.json("daemon")["pid"]
    kill_monitor(host)
    host.start("hydra-monitor")
    assert host.json("daemon")["pid"] == daemon and len(host.pids("hydrad")) == 1
    host.kill("hydrad")
    wait_for(lambda: host.answers("hydrad.sock"), "the next daemon")
    assert states(host, "daemon") == ["up", "down", "up"]


def test_a_hung_shim_of_the_monitor_before_is_reported_by_the_daemon(daemon_host, rootfs):
    host = daemon_host
    shim = run(host, rootfs)
    kill_monitor(host)
    host.start("hydra-monitor")
    wait_for(lambda: states(host, "monitor") == ["up", "down", "up"], "the shim to come back")
    host.run("kill", "-STOP", str(shim))
    host.kill("hydrad")
    wait_for(lambda: subject(host, "web")["state"] == "unreachable", "the daemon to find out")
    host.run("kill", "-CONT", str(shim))
    wait_for(lambda: subject(host, "web")["state"] == "up", "the daemon to hear from it")


def test_the_ledger_outlives_an_upgrade_of_the_monitor(daemon_host, rootfs):
    host = daemon_host
    shim = run(host, rootfs)
    host.run("kill", "-KILL", str(shim))
    wait_for(lambda: subject(host, "web")["restarts"] == 1, "the successor")
    before = {name: states(host, name) for name in ("monitor", "daemon", "web")}
    host.ctl("upgrade", "monitor")
    assert {name: states(host, name) for name in before} == before
    assert subject(host, "web")["restarts"] == 1


def test_dropped_and_waiting_output_is_counted(daemon_host, rootfs):
    host = daemon_host
    disk = Disk(host)
    disk.fill()
    host.ctl("run", "-d", "--name", "web", "--rootfs", rootfs, *log_options(policy="drop-oldest", path=disk.path),
             "sh", "-c", "head -c 200000 /dev/zero; echo; exec sleep 1000")
    seen = wait_for(lambda: (found := subject(host, "web")["container"])["outputReadBytes"] == 200001 and found, "all of it to be read")
    assert seen["outputDroppedBytes"] > 0 and seen["outputSpilledBytes"] > 0
    assert seen["outputWrittenBytes"] + seen["outputDroppedBytes"] + seen["outputSpilledBytes"] == 200001
    assert parse(metrics(host))["hydra_container_output_dropped_bytes_total"]["samples"] == {
        'namespace="default",container="web"': seen["outputDroppedBytes"]}
    host.ctl("rm", "-f", "web")
    disk.remove()


# Prometheus

def metrics(host):
    headers, text = host.run("python3", "-c", SCRAPE).stdout.split("\n\n", 1)
    assert "text/plain; version=0.0.4" in headers
    return text


SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')
UNITS = ("seconds", "bytes", "ratio", "info")


def parse(text):
    """The families of an exposition, each with its type and samples; asserts what promtool's linter would complain about."""
    families, current, seen = {}, None, set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in families and len(line.split(None, 3)) == 4
            families[current] = {"type": None, "samples": {}}
        elif line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name == current and kind in ("counter", "gauge", "histogram") and not families[name]["samples"]
            families[name]["type"] = kind
        else:
            sample = SAMPLE.fullmatch(line)
            name = re.sub("_(bucket|sum|count)$", "", sample[1]) if families[current]["type"] == "histogram" else sample[1]
            assert sample and name == current and families[current]["type"], line
            assert line.rsplit(" ", 1)[0] not in seen, line
            seen.add(line.rsplit(" ", 1)[0])
            families[current]["samples"][sample[1].removeprefix(current) + (sample[2] or "")] = float(sample[3])
    for name, family in families.items():
        assert re.fullmatch(r"hydra_[a-z_]+", name) and (family["type"] == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(ns|ms|us|kib|mib|milliseconds|kilobytes)(_|$)", name), name
        assert all(value >= 0 for value in family["samples"].values())
    return families


def test_metrics_follow_the_rules_of_prometheus(daemon_host, rootfs):
    host = daemon_host
    shim = run(host, rootfs)
    host.ctl("run", "--name", "over", "--rootfs", rootfs, "true")
    host.run("kill", "-KILL", str(shim))
    wait_for(lambda: subject(host, "web")["restarts"] == 1, "the successor")
    wait_for(lambda: subject(host, "over")["state"] == "ended", "the end of the other")
    families = parse(metrics(host))
    web = 'program="shim",namespace="default",container="web"'
    states_seen = families["hydra_program_state"]["samples"]
    assert {key: value for key, value in states_seen.items() if web in key} == {
        f'{web},state="up"': 1, f'{web},state="down"': 0, f'{web},state="unreachable"': 0, f'{web},state="unknown"': 0}
    assert families["hydra_program_restarts_total"]["samples"][web] == 1
    assert families["hydra_program_repair_seconds_total"]["samples"][web] > 0
    assert families["hydra_program_state_seconds_total"]["samples"][f'{web},state="down"'] > 0
    assert families["hydra_shims_restarts_total"]["samples"][""] == 1
    assert not any("over" in key for key in states_seen), "what has ended has no series"
    assert len(states_seen) == 3 * 4
    descriptors = families["hydra_monitor_descriptors"]["samples"][""]
    assert 0 < families["hydra_monitor_deposits"]["samples"][""] < descriptors < families["hydra_monitor_descriptors_limit"]["samples"][""]


def test_a_reader_who_does_not_read_hangs_nobody(daemon_host):
    """A scrape is answered as it is read."""
    host = daemon_host
    slow = host.popen(["python3", "-c", "import socket, sys; s=socket.socket(socket.AF_UNIX); s.connect('/run/hydra/metrics.sock');"
                       "print('connected', flush=True); sys.stdin.read()"], stdin=-1, stdout=-1, text=True)
    assert slow.stdout.readline() == "connected\n"
    parse(metrics(host))
    slow.communicate("")


# the monitor's limits

def test_a_monitor_without_room_says_so_and_the_container_goes_on_unprotected(host, rootfs):
    log = open(host.path("/run/hydra-monitor.log"), "ab")
    host.services["hydra-monitor"] = host.popen(["prlimit", "--nofile=80:80", host.program("hydra-monitor")], stdin=-3, stdout=log, stderr=log)
    log.close()
    wait_for(lambda: host.answers("hydrad.sock"), "hydrad")
    names = [f"c{number}" for number in range(18)]
    for name in names:
        run(host, rootfs, name, "sh", "-c", f"echo {name}; exec sleep 1000")
    protected = [name for name in names if host.inspect(name)["unprotected"] == ""]
    without = [name for name in names if name not in protected]
    assert protected and without
    for name in names:
        wait_for(lambda: host.ctl("logs", name).stdout == f"{name}\n", "its output")
    why = "hydra-monitor has no room: its limit is 80 descriptors"
    assert {host.inspect(name)["unprotected"] for name in without} == {why}
    assert f"unprotected {why}" in host.ctl("events", without[0]).stdout
    families = parse(metrics(host))
    assert families["hydra_monitor_descriptors_limit"]["samples"][""] == 80
    assert 50 <= families["hydra_monitor_descriptors"]["samples"][""] < 80
    assert families["hydra_monitor_deposits_refused_total"]["samples"][""] >= len(without)
    # room is given to who waits for it
    for name in protected:
        host.ctl("rm", "-f", name)
    wait_for(lambda: host.inspect(without[0])["unprotected"] == "" or host.inspect(without[-1])["unprotected"] == "", "room")
