# SPDX-License-Identifier: Apache-2.0
"""A host with Debian's containerd, whose tasks have Hydra's shims."""
import pathlib
import signal
import subprocess

from hosts import Host, has_executed, program, wait_for

CONFIG = """
version = 2
root = "/run/c/root"
state = "/run/c/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/c/c.sock"
"""


class Containerd(Host):
    def __enter__(self):
        super().__enter__()
        bin_folder = self.path("/run/bin")
        bin_folder.mkdir()
        (bin_folder / "containerd-shim-hydra-v1").symlink_to(program("hydra-shim"))
        self.env["PATH"] = f"/run/bin:{self.env['PATH']}"
        self.env.update({name.upper().replace("-", "_"): program(name) for name in ("hydra", "hydra-setup", "hydra-shim")})
        self.path("/run/c.toml").write_text(CONFIG)
        self.start_containerd()
        return self

    def start_containerd(self):
        log = open(self.path("/run/containerd.log"), "ab")
        self.services["containerd"] = self.popen(["containerd", "-c", "/run/c.toml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        wait_for(lambda: self.ctr("version", check=False).returncode == 0, "containerd")

    def ctr(self, *arguments, **options):
        return self.run("ctr", "-a", "/run/c/c.sock", *arguments, **options)

    def options(self):
        """Of ctr run: our runtime and root file system, and a cgroup of this host alone."""
        return ("--runtime", "io.containerd.hydra.v1", "--cgroup", f"{self.env['HYDRA_CGROUP']}/default/task", "--rootfs", self.rootfs)

    def status(self, name):
        lines = [line.split() for line in self.ctr("task", "ls").stdout.splitlines()[1:]]
        return {line[0]: (int(line[1]), line[2]) for line in lines}.get(name)

    def is_running(self, name):
        return (self.status(name) or (0, "gone"))[1] == "RUNNING"

    def crash(self):
        self.kill("containerd")
        self.services["containerd"].wait()

    def stop_and_go(self, signal_number):
        """SIGSTOP or SIGCONT for containerd and its clients; nsenter stops with what it started."""
        for name in ("containerd", "ctr"):
            self.kill(name, signal_number)
        for service in self.services.values():
            service.send_signal(signal.SIGCONT)

    def shim_of(self, name):
        """Its pid outside; None while there is none."""
        for pid in self.pids("hydra-shim"):
            try:
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if f"--id\0{name}\0".encode() in command and has_executed(pid):
                return pid
        return None

    def start_task(self, name, script="while true; do sleep 0.1; done"):
        self.ctr("run", "-d", *self.options(), name, "/bin/sh", "-c", script)

    def session(self, *arguments, **options):
        """ctr, attached; its standard input and output are pipes."""
        return self.popen(["ctr", "-a", "/run/c/c.sock", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

    def remove_tasks(self):
        for name in [line.split()[0] for line in self.ctr("task", "ls").stdout.splitlines()[1:]]:
            self.ctr("task", "kill", "-s", "KILL", name, check=False)
            wait_for(lambda: not self.is_running(name), "the end")
            self.ctr("task", "rm", name, check=False)
        wait_for(lambda: not self.pids("hydra-shim"), "the shims to end")
