# SPDX-License-Identifier: Apache-2.0
"""Names of hosts, whether containers can be moved there, and certificates that are not valid (now)."""
import datetime
import json
import shutil

import pytest

from cluster import assert_counts_on, make_certificates, names, sh, wait_for
from test_rollback import assert_stayed


def at(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")


def certificate(folder, name, first_day, last_day, ca=None):
    """A certificate of the CA in folder for other days, in a folder of its own; with the other host's CA if that is another one."""
    own = folder / f"{name}-{first_day}-{last_day}"
    shutil.copytree(folder / name, own)
    sh("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-not_before", at(first_day),
       "-not_after", at(last_day), "-out", str(own / "cert.pem"), cwd=folder)
    if ca is not None:
        shutil.copy(ca, own / "ca.pem")
    return own


def use_certificates(cluster, host, folder):
    """hydrad of the host gets others."""
    for name in ("hydra-monitor", "hydrad"):
        host.kill(name)
    wait_for(lambda: not host.answers("hydrad.sock"), "the end of hydrad's socket")
    host.options[host.options.index("--certificates") + 1] = str(folder)
    cluster.start_host(host)


def test_names_are_kept(counter):
    a, b = counter.a, counter.b
    a.ctl("host", "add", "b", b.address)
    a.ctl("host", "add", "c", "10.88.0.99:1", "--certificates", str(counter.certificates / "a"))
    assert [(item["name"], item["address"]) for item in a.json("host", "list")] == [("b", b.address), ("c", "10.88.0.99:1")]
    a.kill("hydrad")
    wait_for(lambda: a.answers("hydrad.sock"), "the next hydrad")
    a.ctl("host", "add", "c", "10.88.0.98:1")
    a.ctl("host", "remove", "c")
    assert [item["name"] for item in a.json("host", "list")] == ["b"] and "b " in a.ctl("host", "list").stdout
    for wrong, complaint in ((("add", "b/d", b.address), "host name"), (("add", "d", "nowhere"), "HOST:PORT"), (("remove", "c"), "no host 'c'"),
                             (("rename",), "expected")):
        done = a.ctl("host", *wrong, check=False)
        assert done.returncode == 125 and complaint in done.stderr, done.stderr
    done = a.ctl("migrate", "counter", "c", check=False)
    assert done.returncode == 125 and "hydractl host list" in done.stderr
    assert "moved to b" in a.ctl("migrate", "counter", "b").stdout
    assert names(a) == set() and b.inspect("counter")["state"] == "running"


def test_a_host_is_checked(counter):
    a, b = counter.a, counter.b
    a.ctl("host", "add", "b", b.address)
    seen = json.loads(a.ctl("--format", "json", "host", "check", "b").stdout)
    assert seen["problem"] == "" and seen["certificate"] == "CN=b" and seen["ownCertificate"] == "CN=a"
    assert seen["certificateFrom"] < seen["certificateUntil"] and seen["protocol"] == 1 and seen["criuProblem"] == ""
    assert seen["kernel"] and seen["criuVersion"] and 0 < seen["memoryAvailableBytes"] < seen["memoryBytes"] and seen["processors"] > 0
    assert abs(seen["clockDifferenceUs"]) <= seen["clockUncertaintyUs"] + 1000 and {"checksums", "lz4"} < set(seen["capabilities"])
    assert [item["id"] for item in seen["containers"]] == []
    text = a.ctl("host", "check").stdout
    assert text.startswith(f"b ({b.address}): ready\n") and "certificates accepted in both directions" in text and "CRIU" in text
    a.ctl("host", "add", "nobody", "10.88.0.12:1")
    done = a.ctl("host", "check", check=False)
    assert done.returncode == 1 and "nobody (10.88.0.12:1): connect to '10.88.0.12:1': Connection refused" in done.stdout
    assert a.ctl("host", "check", "b").returncode == 0
    assert_counts_on(a)


@pytest.mark.parametrize("days, complaint", [((-3, -1), "expired at"), ((1, 3), "is not valid before")])
def test_a_target_whose_certificate_is_not_valid_now(counter, tmp_path, days, complaint):
    made = make_certificates(tmp_path / "tls", "a", "b")
    use_certificates(counter, counter.a, made / "a")
    use_certificates(counter, counter.b, certificate(made, "b", *days))
    counter.a.ctl("host", "add", "b", counter.b.address)
    said = counter.a.ctl("--plain", "migrate", "counter", "b", check=False)
    assert said.returncode == 125 and f"the other host's certificate (CN=b) {complaint}" in said.stderr and "cert.pem" in said.stderr
    checked = counter.a.ctl("host", "check", "b", check=False)
    assert checked.returncode == 1 and f"(CN=b) {complaint}" in checked.stdout
    assert_stayed(counter)


@pytest.mark.parametrize("days, complaint", [((-3, -1), "expired at"), ((1, 3), "is not valid before")])
def test_a_source_whose_certificate_is_not_valid_now(counter, tmp_path, days, complaint):
    made = make_certificates(tmp_path / "tls", "a", "b")
    use_certificates(counter, counter.b, made / "b")
    own = certificate(made, "a", *days)
    said = counter.a.ctl("--plain", "migrate", "--certificates", str(own), "counter", counter.b.address, check=False)
    assert said.returncode == 125 and f"this host's certificate (CN=a) {complaint}" in said.stderr and str(own) in said.stderr
    assert_stayed(counter)


def test_hosts_of_different_cas(counter, tmp_path):
    one, other = make_certificates(tmp_path / "one", "a", "b"), make_certificates(tmp_path / "other", "a", "b")
    use_certificates(counter, counter.b, one / "b")
    said = counter.a.ctl("--plain", "migrate", "--certificates", str(other / "a"), "counter", counter.b.address, check=False)
    assert said.returncode == 125 and "the other host's certificate (CN=b) is not of the CA in this host's ca.pem" in said.stderr
    both = tmp_path / "both"  # trusts the target, which does not trust it
    shutil.copytree(other / "a", both)
    shutil.copy(one / "b/ca.pem", both / "ca.pem")
    said = counter.a.ctl("--plain", "migrate", "--certificates", str(both), "counter", counter.b.address, check=False)
    assert said.returncode == 125 and "says that this host's certificate is not of its CA" in said.stderr
    assert_stayed(counter)


def test_certificates_as_credentials_of_systemd(counter):
    a, b = counter.a, counter.b
    at_option = a.options.index("--certificates")
    a.env["CREDENTIALS_DIRECTORY"] = a.options[at_option + 1]
    del a.options[at_option:at_option + 2]
    for name in ("hydra-monitor", "hydrad"):
        a.kill(name)
    wait_for(lambda: not a.answers("hydrad.sock"), "the end of hydrad's socket")
    counter.start_host(a)
    assert a.json("daemon")["certificates"] == a.env["CREDENTIALS_DIRECTORY"]
    counter.migrate("counter", a)
    assert b.inspect("counter")["state"] == "running"
