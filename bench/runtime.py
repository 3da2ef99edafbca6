#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long OCI runtimes take: `run /bin/true`, `exec true`, and create + start + state + kill + delete.

The runtimes take turns within each round, so that a busy machine is busy for all of them; medians and their ratios are
printed. Everything happens in a private mount namespace without the cgroup2 mount of the hybrid layout, which crun
refuses; all of them see the same hierarchies. Run as root (scripts/devroot bench/runtime.py --hydra PATH).
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

APPLETS = ("true", "sleep", "sh")


def run(*command):
    """Seconds that the command took. Its stderr is a file: a detached container would keep a pipe open."""
    with tempfile.TemporaryFile("w+") as stderr:
        start = time.perf_counter()
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, timeout=60)
        elapsed = time.perf_counter() - start
        stderr.seek(0)
        if result.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: exit status {result.returncode}: {stderr.read()}")
    return elapsed


def make_bundle(path, rootfs, args):
    path.mkdir()
    subprocess.run(["runc" if shutil.which("runc") else "crun", "spec", "--bundle", str(path)], check=True)
    config = json.loads((path / "config.json").read_text())
    config["process"].update({"terminal": False, "args": args})
    config["root"] = {"path": str(rootfs), "readonly": True}
    (path / "config.json").write_text(json.dumps(config))


def make_rootfs(path):
    for folder in ("bin", "proc", "dev", "sys", "etc"):
        (path / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), path / "bin" / "busybox")
    for applet in APPLETS:
        (path / "bin" / applet).symlink_to("busybox")


class Runtime:
    def __init__(self, name, path, folder):
        self.name, self.folder = name, folder
        self.command = [path, "--root", str(folder / f"state-{name}")]
        self.times = {"run": [], "exec": [], "life": []}

    def __call__(self, *args):
        return run(*self.command, *args)

    def start_target(self):
        self("run", "--detach", "--bundle", str(self.folder / "sleep"), f"bench-{self.name}-target")

    def stop_target(self):
        subprocess.run([*self.command, "delete", "--force", f"bench-{self.name}-target"], check=False, capture_output=True)

    def life(self, container):
        total = self("create", "--bundle", str(self.folder / "sleep"), container)
        total += self("start", container) + self("state", container) + self("kill", container, "KILL")
        return total + self("delete", "--force", container)

    def measure(self, number):
        container = f"bench-{self.name}-{number}"
        self.times["run"].append(self("run", "--bundle", str(self.folder / "true"), container))
        self.times["exec"].append(self("exec", f"bench-{self.name}-target", "/bin/true"))
        self.times["life"].append(self.life(container))


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


def report(runtimes):
    hydra = runtimes[0]
    print(f"{'median ms (hydra / other)':28}" + "".join(f"{runtime.name:>18}" for runtime in runtimes))
    for kind in hydra.times:
        medians = [statistics.median(runtime.times[kind]) * 1000 for runtime in runtimes]
        cells = [f"{medians[0]:.2f}"] + [f"{value:.2f} ({medians[0] / value:.2f})" for value in medians[1:]]
        print(f"{kind:28}" + "".join(f"{cell:>18}" for cell in cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--hydra", default=os.environ.get("HYDRA_BUILD", "/src/build") + "/runtime/hydra")
    parser.add_argument("--json", help="also write all times to this file")
    options = parser.parse_args()
    leave_hybrid_layout()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_rootfs(folder / "rootfs")
        make_bundle(folder / "true", folder / "rootfs", ["/bin/true"])
        make_bundle(folder / "sleep", folder / "rootfs", ["/bin/sleep", "100000"])
        peers = [(peer, shutil.which(peer)) for peer in ("crun", "runc")]
        runtimes = [Runtime(peer, path, folder) for peer, path in [("hydra", options.hydra), *peers] if path]
        try:
            for runtime in runtimes:
                runtime.start_target()
            for number in range(options.rounds + 2):
                for runtime in runtimes:
                    runtime.measure(number)
        finally:
            for runtime in runtimes:
                runtime.stop_target()
        for runtime in runtimes:
            runtime.times = {kind: times[2:] for kind, times in runtime.times.items()}  # without the warm-up
        report(runtimes)
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps({runtime.name: runtime.times for runtime in runtimes}))


main()
