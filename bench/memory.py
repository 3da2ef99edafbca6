#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Private memory (Private_Clean + Private_Dirty of smaps_rollup) of the supervisors of idle containers.

hydra-shim beside conmon with crun or runc, and containerd-shim-runc-v2, each with the same number of containers that
sleep, all alive at the same time. What a supervisor shares with its copies is not its own; with one container everything
would be.
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

from common import Host, make_rootfs, remove_idle, start_idle, wait_for

CONTAINERD = """
version = 2
root = "/run/c/root"
state = "/run/c/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/c/c.sock"
"""


def private_kib(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(value) for value in re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", rollup, re.M))


def make_bundle(path, rootfs, cgroup):
    path.mkdir()
    subprocess.run(["runc", "spec", "--bundle", str(path)], check=True)
    config = json.loads((path / "config.json").read_text())
    config["process"].update({"terminal": False, "args": ["sleep", "1000000"]})
    config["root"] = {"path": rootfs, "readonly": True}
    config["linux"]["cgroupsPath"] = cgroup
    (path / "config.json").write_text(json.dumps(config))


class Conmon:
    """conmon 2 as podman calls it, with runc (crun refuses hybrid cgroups)."""

    name = "conmon"

    def __init__(self, host, rootfs, folder):
        self.host, self.rootfs, self.folder = host, rootfs, folder

    def start(self, count):
        for number in range(count):
            bundle = self.folder / f"conmon{number}"
            make_bundle(bundle, self.rootfs, f"/hydra-bench-{self.host.name}/{number}")
            name = f"conmon-{self.host.name}-{number}"
            pid_file, log = bundle / "pid", bundle / "log"
            self.quietly("conmon", "--api-version", "1", "-c", name, "-u", name, "-r", shutil.which("runc"), "-b", str(bundle),
                          "-p", str(pid_file), "-n", name, "-l", f"k8s-file:{log}", "--exit-dir", str(self.folder),
                         "--socket-dir-path", str(bundle))
            wait_for(pid_file.exists, f"{name}")
            self.quietly("runc", "start", name)

    def quietly(self, *command):
        """Without pipes: what goes on in the background would hold them."""
        job = self.host.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if job.wait(60) != 0:
            raise SystemExit(f"{' '.join(command)}: exit status {job.returncode}")

    def pids(self):
        return self.host.pids("conmon")

    def stop(self, count):
        for number in range(count):
            self.host.run("runc", "delete", "--force", f"conmon-{self.host.name}-{number}", check=False)


class ContainerdShim:
    name = "containerd-shim-runc-v2"

    def __init__(self, host, rootfs, folder):
        self.host, self.folder = host, folder
        self.rootfs = str(folder / "ctr-rootfs")
        shutil.copytree(rootfs, self.rootfs, symlinks=True)

    def ctr(self, *arguments, **options):
        return self.host.run("ctr", "-a", "/run/c/c.sock", *arguments, **options)

    def start(self, count):
        self.host.path("/run/c.toml").write_text(CONTAINERD)
        self.host.services["containerd"] = self.host.popen(["containerd", "-c", "/run/c.toml"], stdin=subprocess.DEVNULL,
                                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.ctr("version", check=False).returncode == 0, "containerd")
        for number in range(count):
            self.ctr("run", "-d", "--rootfs", self.rootfs, f"idle{number}", "/bin/sleep", "1000000")

    def pids(self):
        return self.host.pids("containerd-shim-runc-v2")

    def stop(self, count):
        for number in range(count):
            self.ctr("task", "kill", "-s", "KILL", f"idle{number}", check=False)
        for number in range(count):
            self.ctr("task", "rm", f"idle{number}", check=False)


class Hydra:
    name = "hydra-shim"

    def __init__(self, host, rootfs, _folder):
        self.host, self.rootfs = host, rootfs

    def start(self, count):
        start_idle(self.host, self.rootfs, count)

    def pids(self):
        return self.host.pids("hydra-shim")

    def stop(self, count):
        remove_idle(self.host, count)


def report(measured):
    hydra = statistics.mean(measured["hydra-shim"])
    print(f"{'private KiB per container':28}{'processes':>10}{'mean':>10}{'max':>10}{'hydra / it':>12}", flush=True)
    for name, sizes in measured.items():
        mean = statistics.mean(sizes)
        print(f"{name:28}{len(sizes):>10}{mean:>10.1f}{max(sizes):>10}{hydra / mean:>12.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Host("memory") as host:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / "rootfs").mkdir()
        rootfs = make_rootfs(folder / "rootfs")
        supervisors = [Hydra(host, rootfs, folder)]
        supervisors += [peer(host, rootfs, folder) for peer in (Conmon, ContainerdShim) if shutil.which(peer.name)]
        try:
            for supervisor in supervisors:
                supervisor.start(options.count)
            report({supervisor.name: [private_kib(pid) for pid in supervisor.pids()] for supervisor in supervisors})
        finally:
            for supervisor in supervisors:
                supervisor.stop(options.count)


main()
