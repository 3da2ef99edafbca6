# SPDX-License-Identifier: Apache-2.0
"""Two hosts, a client and the switch between them."""
import json
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "hydra"))

from hosts import BUILD, DEADLINE, Host, wait_for  # noqa: E402, F401

SUBNET = "10.88.0"
PORT = 7443
CLIENT_IP = f"{SUBNET}.1"
NETWORK = {
    "cniVersion": "1.0.0", "name": "lan",
    "plugins": [{"type": "bridge", "bridge": "br0", "isGateway": False, "ipMasq": False,
                 "ipam": {"type": "host-local", "dataDir": "/run/cni-addresses",
                          "ranges": [[{"subnet": f"{SUBNET}.0/24", "rangeStart": f"{SUBNET}.100", "rangeEnd": f"{SUBNET}.200"}]]}}],
}


COUNT = 'trap "exit 7" TERM; i=0; while true; do echo line $i pid $$; i=$((i+1)); sleep 0.05; done'


def run(host, rootfs, name, *command, options=()):
    host.ctl("run", "-d", "--rootfs", rootfs, "--name", name, *options, *command)


def lines(host, name):
    return [int(word) for word in re.findall(r"line (\d+) pid 1\b", host.ctl("logs", name).stdout)]


def names(host):
    return {item["id"] for item in host.json("ps", "-a")}


def assert_counts_on(host):
    before = len(lines(host, "counter"))
    wait_for(lambda: len(lines(host, "counter")) > before + 3, "it to count on")


def sh(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def tracks_writes():
    """Soft-dirty tracking: what pre-copy needs of the kernel."""
    done = subprocess.run([str(BUILD / "checkpoint" / "hydra-checkpoint"), "check", "--format", "json"], capture_output=True, text=True)
    return json.loads(done.stdout)["memDirtyTrack"]


class Namespace:
    """A network namespace with nothing else of its own."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up; echo ready; exec sleep infinity"],
                                       stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"
        self.pid = self.holder.pid

    def inside(self, *command):
        return ["nsenter", "-t", str(self.pid), "--net", "--", *command]

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


def make_certificates(folder, *names):
    """A CA, and for each name a folder with ca.pem, cert.pem, key.pem."""
    folder.mkdir(parents=True)

    def openssl(*arguments):
        sh("openssl", *arguments, cwd=folder)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "2", "-subj", "/CN=hydra test CA")
    for name in names:
        own = folder / name
        own.mkdir()
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}/key.pem", "-out",
                f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out",
                f"{name}/cert.pem")
        (own / "ca.pem").write_bytes((folder / "ca.pem").read_bytes())
    return folder


class Cluster:
    """Use as a context manager."""

    def __init__(self, certificates, count=2):
        self.certificates = certificates
        self.hosts = [Host("abc"[number]) for number in range(count)]
        self.a, self.b = self.hosts[:2]
        self.switch, self.client = Namespace(), Namespace()

    def __enter__(self):
        try:
            for host in self.hosts:
                host.__enter__()
            sh(*self.switch.inside("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0"))
            sh(*self.switch.inside("ip", "link", "set", "br0", "up"))
            self._plug(0, self.client, None)
            sh(*self.client.inside("ip", "addr", "add", f"{CLIENT_IP}/24", "dev", "eth0"))
            for number, host in enumerate(self.hosts, 1):
                self._plug(number, host, f"{SUBNET}.{10 + number}")
                host.address = f"{SUBNET}.{10 + number}:{PORT}"
                self._configure(host, "abc"[number - 1])
        except BaseException:
            self.__exit__()
            raise
        return self

    def _plug(self, number, there, address):
        sh(*self.switch.inside("ip", "link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", str(there.pid)))
        sh(*self.switch.inside("ip", "link", "set", f"p{number}", "master", "br0", "up"))
        inside = ["nsenter", "-t", str(there.pid), "--net", "--"]
        sh(*inside, "ip", "link", "set", "eth0", "up")
        if address is None:
            return
        # an address of its own: else it takes the lowest one of its ports, and changes it with the containers that come and go
        sh(*inside, "ip", "link", "add", "br0", "address", f"02:00:00:00:00:{number:02x}", "type", "bridge", "forward_delay", "0")
        sh(*inside, "ip", "link", "set", "eth0", "master", "br0")
        sh(*inside, "ip", "addr", "add", f"{address}/24", "dev", "br0")
        sh(*inside, "ip", "link", "set", "br0", "up")

    def _configure(self, host, name):
        host.path("/run/cni.d").mkdir()
        host.path("/run/cni.d/lan.conflist").write_text(json.dumps(NETWORK))
        host.env["HYDRA_CNI_CONFIG"] = "/run/cni.d"
        host.options = ["--listen", f"0.0.0.0:{PORT}", "--certificates", str(self.certificates / name)]

    def start(self):
        for host in self.hosts:
            self.start_host(host)

    @staticmethod
    def start_host(host):
        host.start("hydra-monitor", "--", *host.options)
        wait_for(lambda: host.answers("hydrad.sock"), "hydrad")

    def cut(self, host):
        """Its connections break and no more come up, until the result is called."""
        number = self.hosts.index(host) + 1
        sh(*self.switch.inside("ip", "link", "set", f"p{number}", "down"))
        for each in self.hosts:
            each.run("ss", "-K", "dport", "=", f":{PORT}", "or", "sport", "=", f":{PORT}", check=False)
        return lambda: sh(*self.switch.inside("ip", "link", "set", f"p{number}", "up"))

    def other(self, host):
        return self.b if host is self.a else self.a

    def migrate(self, name, source, *options, **others):
        return source.ctl("--plain", "migrate", *options, name, self.other(source).address, **others)

    def __exit__(self, *_):
        for host in self.hosts:
            if hasattr(host, "pid"):
                host.__exit__()
        self.switch.close()
        self.client.close()

    def clean(self):
        """Removes what a test made, and looks at what is left."""
        for host in self.hosts:
            host.forget_faults()
            for name in ("hydra-monitor", "hydrad"):
                host.kill(name)
                wait_for(lambda: not host.pids(name), f"the end of {name}")  # noqa: B023
            wait_for(lambda: not host.answers("hydrad.sock"), "the end of hydrad's socket")  # noqa: B023
            for item in host.json("ps", "-a"):
                host.ctl("rm", "-f", item["id"])
        for host in self.hosts:
            host.assert_clean()
            work = host.path("/run/hydra/.work")
            left = [entry.name for entry in work.iterdir()] if work.exists() else []
            assert not left, f"left in .work of {host.name}: {left}"
