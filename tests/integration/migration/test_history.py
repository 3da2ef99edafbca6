# SPDX-License-Identifier: Apache-2.0
"""What is known of migrations while they go on and afterwards: hydractl migrations, the ledger, Prometheus."""
import json
import re
import shutil
import signal

import pytest

from cluster import names, run, wait_for
from test_there_and_back import ask

SCRAPE = ("import socket; s=socket.socket(socket.AF_UNIX); s.connect('/run/hydra/metrics.sock');"
          "s.sendall(b'GET /metrics HTTP/1.1\\r\\n\\r\\n'); print(s.makefile().read(), end='')")
KNOWN_BY_BOTH = ("id", "mode", "namespace", "containerId", "downtimeUs", "lazyUs", "stalls", "stallUs", "stallMaxUs", "tasks", "result")


def history(host, *arguments):
    return json.loads(host.ctl("--format", "json", "migrations", *arguments).stdout)


def metric(host, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", host.run("python3", "-c", SCRAPE).stdout, re.M)
    return float(found[1]) if found else None


def only(host, **wanted):
    """The one migration of a host, when it is as wanted."""
    found = history(host, "--all")
    assert len(found) <= 1
    return found[0] if found and all(found[0][key] == value for key, value in wanted.items()) else None


def test_both_hosts_know_what_a_migration_cost(cluster, rootfs):
    cluster.a.ctl("create", "-i", "--name", "hash", "--rootfs", rootfs, "ticker", "64")
    cluster.a.ctl("start", "hash")
    assert ask(cluster.a, "hash", "verify") == "VERIFY bad=0 pages=16384"
    cluster.b.order_fault("receive.committed", "stop")
    moving = cluster.a.popen([cluster.a.program("hydractl"), "--plain", "migrate", "hash", cluster.b.address])
    wait_for(lambda: cluster.b.has_arrived("receive.committed"), "the commit")
    assert [item["phase"] for item in history(cluster.a)] == ["committed"] and len(history(cluster.b)) == 1
    assert metric(cluster.a, "hydra_migrations_running") == 1
    cluster.b.kill("hydra-pager", signal.SIGCONT)
    assert ask(cluster.b, "hash", "verify") == "VERIFY bad=0 pages=16384"  # while its memory is still coming, perhaps
    assert moving.wait(60) == 0
    left, came = (wait_for(lambda: only(host, result="done"), "the end to be noted") for host in (cluster.a, cluster.b))  # noqa: B023
    assert [left[key] for key in KNOWN_BY_BOTH] == [came[key] for key in KNOWN_BY_BOTH]
    assert left["mode"] == "post-copy" and not left["isArrival"] and came["isArrival"]
    assert left["peer"] == cluster.b.address and came["peer"] == cluster.a.address.split(":")[0]
    assert 0 < left["startedNs"] < left["frozenNs"] < left["runningNs"] < left["endedNs"]
    assert left["downtimeUs"] > 0 and left["lazyUs"] > 0 and left["bytesSent"] > 64 << 20
    assert left["stallUs"] >= left["stallMaxUs"] >= (left["stalls"] > 0) and left["stalls"] == sum(task["stalls"] for task in left["tasks"])
    assert history(cluster.a) == history(cluster.b) == []
    assert left["id"] in cluster.a.ctl("migrations", "-a").stdout and cluster.a.ctl("migrations").stdout.count("\n") == 1


def test_the_ledger_counts_each_migration_once(counter):
    cluster = counter
    cluster.migrate("counter", cluster.a)
    wait_for(lambda: only(cluster.b, result="done"), "the end to be noted")
    for host, direction in ((cluster.a, "out"), (cluster.b, "in")):
        for _ in range(2):  # also by the next monitor, from its ledger
            assert metric(host, f'hydra_migrations_total{{direction="{direction}",result="done"}}') == 1
            assert metric(host, f'hydra_migration_downtime_seconds_count{{direction="{direction}"}}') == 1
            assert metric(host, f'hydra_migration_lazy_seconds_bucket{{direction="{direction}",le="+Inf"}}') == 1
            assert metric(host, f'hydra_migration_bytes_total{{direction="{direction}"}}') > 0
            noted = host.json("ledger")["migrations"]
            assert [(item["name"], item["isArrival"]) for item in noted] == [("default/counter", direction == "in")]
            assert "default/counter" in host.ctl("ledger", "--migrations").stdout
            host.kill("hydra-monitor")
            cluster.start_host(host)


def test_a_failed_one_is_known_with_its_reason(counter):
    counter.b.order_fault("receive.images")
    assert counter.a.ctl("--plain", "migrate", "counter", counter.b.address, check=False).returncode == 125
    left = wait_for(lambda: only(counter.a, result="failed"), "the failure to be noted")
    came = wait_for(lambda: only(counter.b, result="failed"), "the failure to be noted there")
    assert left["message"] and came["message"] and left["phase"] == "failed"
    assert metric(counter.a, 'hydra_migrations_total{direction="out",result="failed"}') == 1
    assert metric(counter.a, 'hydra_migration_downtime_seconds_count{direction="out"}') == 0


def test_a_reboot_forgets_none(counter):
    counter.migrate("counter", counter.a)
    known = wait_for(lambda: only(counter.a, result="done"), "the end to be noted")
    shutil.rmtree(counter.a.path("/run/hydra/.migrations"))
    assert only(counter.a) == known
    assert names(counter.a) == set()


@pytest.mark.parametrize("victim", ["source", "target"])
def test_who_watches_dies_after_the_hand_over(counter, victim):
    host = counter.a if victim == "source" else counter.b
    counter.b.order_fault("receive.committed", "stop")
    moving = counter.a.popen([counter.a.program("hydractl"), "--plain", "migrate", "counter", counter.b.address], stdout=-3, stderr=-3)
    wait_for(lambda: counter.b.has_arrived("receive.committed"), "the commit")
    host.kill("hydra-setup")
    counter.b.kill("hydra-pager", signal.SIGCONT)
    wait_for(lambda: all(item["state"] == "stopped" for item in counter.a.json("ps", "-a")), "its end at the source")
    known = wait_for(lambda: (found := only(host)) and found["isDone"] and found, "its end")
    assert not known["hasFailed"], known
    moving.wait(60)
