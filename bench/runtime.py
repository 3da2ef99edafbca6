#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long OCI runtimes take: `run /bin/true`, `exec /bin/true`, and create + start + kill + delete; and the memory that `create` takes at most.

The runtimes take turns within each round, so that a busy machine is busy for all of them; medians and their ratios are printed. Configurations:
podman's own (podman makes it, with its seccomp profile; its network namespace exists already), containerd's (`ctr oci spec`, with that same profile; a
new network namespace) and a plain one (`crun spec`, without seccomp). The floor is a bare clone3 with a container's namespaces and mounts (bench/floor.c).
Everything happens in a private mount namespace without the cgroup2 mount of the hybrid layout, which crun refuses; all of them see the same hierarchies.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

APPLETS = ("true", "sleep", "sh")
BUILD = os.environ.get("HYDRA_BUILD", "/src/build")
BUDGET = {"run": 0.6, "exec": 0.6, "life": 0.5, "memory": 1.0}
UNIT = {"run": "ms", "exec": "ms", "life": "ms", "memory": "KiB"}
DUMPER = """#!/bin/sh
while [ $# -gt 0 ]; do
	case $1 in --bundle | -b) cp "$2/config.json" "$0.json" ;; esac
	shift
done
exit 1
"""


def run(*command):
    """Milliseconds that the command took. Its stderr is a file: a detached container would keep a pipe open."""
    with tempfile.TemporaryFile("w+") as stderr:
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, stderr.fileno(), 2)]
        start = time.perf_counter()
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        elapsed = time.perf_counter() - start
        stderr.seek(0)
        if status != 0:
            raise SystemExit(f"{' '.join(command)}: status {status}: {stderr.read()}")
    return 1000 * elapsed


def memory_of(*command):
    """The most that it had, in KiB; started by a small program, because what starts it counts until it is another program."""
    with tempfile.NamedTemporaryFile("r") as file:
        run(shutil.which("busybox"), "time", "-f", "%M", "-o", file.name, *command)
        return int(file.read().split()[-1])


def output_of(*command, check=True):
    return subprocess.run(command, capture_output=True, text=True, check=check, timeout=60).stdout


def make_rootfs(path):
    for folder in ("bin", "proc", "dev", "sys", "etc", "tmp", "run"):
        (path / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), path / "bin" / "busybox")
    for applet in APPLETS:
        (path / "bin" / applet).symlink_to("busybox")


def podman_config(folder, rootfs):
    """What podman gives to its runtime; the files that are mounted stay as long as podman's container."""
    dumper = folder / "dumper"
    dumper.write_text(DUMPER)
    dumper.chmod(0o755)
    podman = ["podman", "--root", f"{folder}/storage", "--runroot", f"{folder}/podman", "--tmpdir", f"{folder}/tmp", "--storage-driver", "vfs",
              "--cgroup-manager", "cgroupfs", "--runtime", str(dumper)]
    output_of(*podman, "create", "--name", "model", "--network", "none", "--rootfs", str(rootfs), "/bin/true")
    output_of(*podman, "start", "model", check=False)
    return json.loads(pathlib.Path(f"{dumper}.json").read_text())


def containerd_config(seccomp):
    config = json.loads(output_of("ctr", "oci", "spec"))
    config["linux"]["seccomp"] = seccomp
    return config


def plain_config(folder):
    bundle = folder / "plain-model"
    bundle.mkdir()
    output_of("crun", "spec", "--bundle", str(bundle))
    return json.loads((bundle / "config.json").read_text())


def make_bundle(path, config, rootfs, args):
    path.mkdir()
    config["process"].update({"terminal": False, "args": args})
    config["root"] = {"path": str(rootfs), "readonly": True}
    config.pop("hooks", None)
    (path / "config.json").write_text(json.dumps(config))


@contextlib.contextmanager
def network_namespace():
    name = f"bench{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield f"/run/netns/{name}"
    subprocess.run(["ip", "netns", "del", name], check=True)


class Runtime:
    def __init__(self, name, path, folder, bundles):
        self.name, self.folder, self.bundles = name, folder, bundles
        self.command = [path, "--root", str(folder / f"state-{name}")]
        self.values = {"run": [], "exec": [], "life": [], "memory": []}

    def __call__(self, *args):
        return run(*self.command, *args)

    def bundle(self, kind, container):
        """One for each container: its cgroup is part of the configuration."""
        path = self.bundles / kind / "config.json"
        config = json.loads(path.read_text())
        config["linux"]["cgroupsPath"] = f"/bench/{container}"
        path.write_text(json.dumps(config))
        return "--bundle", str(path.parent)

    def start_target(self):
        target = f"{self.name}-target"
        self("run", "--detach", *self.bundle("sleep", target), target)

    def stop_target(self):
        subprocess.run([*self.command, "delete", "--force", f"{self.name}-target"], check=False, capture_output=True)

    def life(self, container):
        total = self("create", *self.bundle("sleep", container), container) + self("start", container)
        return total + self("kill", container, "KILL") + self("delete", "--force", container)

    def memory(self, container):
        peak = memory_of(*self.command, "create", *self.bundle("sleep", container), container)
        self("delete", "--force", container)
        return peak

    def measure(self, number):
        container = f"{self.name}-{number}"
        self.values["run"].append(self("run", *self.bundle("true", container), container))
        self.values["exec"].append(self("exec", f"{self.name}-target", "/bin/true"))
        self.values["life"].append(self.life(container))
        self.values["memory"].append(self.memory(container))


def leave_hybrid_layout():
    """In a hybrid layout: a view of the v1 hierarchies alone, in a mount namespace of our own."""
    os.unshare(os.CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    top = pathlib.Path("/sys/fs/cgroup")
    if not (top / "unified" / "cgroup.procs").exists():
        return
    with tempfile.TemporaryDirectory() as name:
        view = pathlib.Path(name)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", name], check=True)
        for hierarchy in top.iterdir():
            if hierarchy.name == "unified":
                continue
            (view / hierarchy.name).mkdir()
            subprocess.run(["mount", "--bind", str(hierarchy), str(view / hierarchy.name)], check=True)
        subprocess.run(["mount", "--move", name, str(top)], check=True)


def remove_cgroups():
    for path in pathlib.Path("/sys/fs/cgroup").glob("*/bench"):
        path.rmdir()
    with contextlib.suppress(FileNotFoundError):
        pathlib.Path("/sys/fs/cgroup/bench").rmdir()


def report(name, runtimes, floor):
    hydra = runtimes[0]
    print(f"{name + ': median (hydra / other)':38}" + "".join(f"{runtime.name:>18}" for runtime in runtimes) + f"{'floor':>10}{'budget':>10}")
    for kind in hydra.values:
        medians = [statistics.median(runtime.values[kind]) for runtime in runtimes]
        cells = [f"{medians[0]:.2f}"] + [f"{value:.2f} ({medians[0] / value:.2f})" for value in medians[1:]]
        low = f"{statistics.median(floor):.2f}" if kind == "run" else ""
        print(f"{kind + ', ' + UNIT[kind]:38}" + "".join(f"{cell:>18}" for cell in cells) + f"{low:>10}{'≤ ' + str(BUDGET[kind]):>10}")


def measure(options, folder, name, config, rootfs):
    """All runtimes with one configuration."""
    work = folder / f"bench-{name}"
    work.mkdir()
    peers = [(peer, shutil.which(peer)) for peer in ("crun", "runc")]
    for kind, args in (("true", ["/bin/true"]), ("sleep", ["/bin/sleep", "100000"])):
        make_bundle(work / kind, config, rootfs, args)
    runtimes = [Runtime(peer, path, work, work) for peer, path in [("hydra", options.hydra), *peers] if path]
    floor = []
    try:
        for runtime in runtimes:
            runtime.start_target()
        for number in range(options.rounds + 2):
            floor.append(run(f"{BUILD}/runtime/floor", str(rootfs), "/bin/true"))
            for runtime in runtimes:
                runtime.measure(number)
    finally:
        for runtime in runtimes:
            runtime.stop_target()
    for runtime in runtimes:
        runtime.values = {kind: values[2:] for kind, values in runtime.values.items()}  # without the warm-up
    report(name, runtimes, floor[2:])
    return {"floor": {"run": floor[2:]}, **{runtime.name: runtime.values for runtime in runtimes}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--hydra", default=f"{BUILD}/runtime/hydra")
    parser.add_argument("--config", action="append", choices=("podman", "containerd", "plain"), help="more than once: these; default: all")
    parser.add_argument("--json", help="also write all values to this file")
    options = parser.parse_args()
    leave_hybrid_layout()
    with tempfile.TemporaryDirectory() as name, network_namespace() as namespace:
        folder = pathlib.Path(name)
        rootfs = folder / "rootfs"
        make_rootfs(rootfs)
        podman = podman_config(folder, rootfs)
        for item in podman["linux"]["namespaces"]:
            if item["type"] == "network":
                item["path"] = namespace
        configs = {"podman": podman, "containerd": containerd_config(podman["linux"]["seccomp"]), "plain": plain_config(folder)}
        values = {name: measure(options, folder, name, configs[name], rootfs) for name in options.config or configs}
        remove_cgroups()
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(values))


main()
