# SPDX-License-Identifier: Apache-2.0
"""A "host" made of namespaces: its own mounts, processes, network, /run and /var/lib/hydra, and what is left on it."""
import contextlib
import json
import os
import pathlib
import re
import secrets
import signal
import subprocess
import time

BUILD = pathlib.Path(os.environ.get("HYDRA_BUILD", "/src/build"))
DEADLINE = float(os.environ.get("HYDRA_TEST_DEADLINE", "60"))
PROGRAMS = {"hydra": "runtime", "hydra-shim": "shim", "hydra-setup": "setup", "hydra-monitor": "monitor", "hydrad": "daemon",
            "hydractl": "cli", "hydra-checkpoint": "checkpoint", "hydra-pager": "checkpoint"}


def program(name):
    return str(BUILD / PROGRAMS[name] / name)


def wait_for(condition, what, deadline=DEADLINE):
    """Looks until condition() gives something true; the only place with a clock."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:.0f} s for {what}")
        time.sleep(0.01)
    return value


def ns_pids(pid):
    """The pid of a process in each pid namespace that it is in, from ours inwards."""
    return re.search(r"^NSpid:(.*)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1].split()


def identity(entry):
    """Start time and pid namespace: the same process has the same in each view of it."""
    return entry.joinpath("stat").read_text().rsplit(")", 1)[1].split()[19], os.readlink(entry / "ns/pid")


def program_of(words):
    """Also of one that a dynamic linker was asked to run, as CRIU is here."""
    return words[words.index("--argv0") + 1] if "--argv0" in words[1:] else words[0]


def signal_if_there(pid, signal_number):
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        pass


def entries_of(folder):
    """What is in it; a folder that is not there, or that goes while we look, has nothing in it."""
    try:
        return list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def command_line(pid):
    """For a report; the process may end while we look."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "(ended)"


def is_stopped(pid):
    """By a signal, not by a tracer."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return False


def has_executed(pid):
    """No child that has its parent's command line still, because it has not executed anything yet (PF_FORKNOEXEC)."""
    try:
        return not int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[6]) & 0x40
    except (FileNotFoundError, ProcessLookupError):
        return False


def has_ended(pid):
    """Gone or a zombie: before that its sockets may still be open, although its command line is not to be seen any more."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Host:
    """Use as a context manager; everything in it ends with it."""

    def __init__(self, name="host"):
        self.name = f"{name}-{secrets.token_hex(4)}"
        self.env = {"PATH": f"{BUILD / 'cli'}:/usr/sbin:/usr/bin:/sbin:/bin", "HYDRA_CGROUP": f"/hydra-test-{self.name}",
                    "HYDRA_FAULTS": "/run/faults", "HOME": "/root", "LANG": "C.UTF-8"}
        self.env.update({key: value for key, value in os.environ.items() if key.startswith(("ASAN_", "UBSAN_", "LSAN_"))})
        self.services = {}
        self.arrived = set()

    def __enter__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--net", "--uts", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
             "tini", "-s", "--", "sh", "-c",
             "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /var/lib/hydra /run/faults && mount -t tmpfs tmpfs /var/lib/hydra"
             " && ip link set lo up && echo ready && exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n", "the host's namespaces could not be made"
        children = pathlib.Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        self.pid = int(children[0])
        self.sleeper = int(pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()[0])
        return self

    def __exit__(self, *_):
        for signal_number in (signal.SIGCONT, signal.SIGKILL):
            for pid in self.pids():
                try:
                    os.kill(pid, signal_number)
                except ProcessLookupError:
                    pass
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.holder.wait()
        self.holder.stdout.close()
        for service in self.services.values():
            service.wait()

    def inside(self, command):
        return ["nsenter", "-t", str(self.pid), "--mount", "--pid", "--net", "--uts", f"--wdns={os.environ.get('PWD', '/')}", *command]

    def popen(self, command, **options):
        options.setdefault("env", self.env)
        return subprocess.Popen(self.inside(command), **options)

    def run(self, *command, check=True, timeout=DEADLINE, **options):
        options.setdefault("env", self.env)
        options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
        if "input" in options:
            options.pop("stdin")
        done = subprocess.run(self.inside(command), capture_output=True, text=True, timeout=timeout, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} failed with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    @staticmethod
    def program(name):
        return program(name)

    def ctl(self, *arguments, **options):
        return self.run(program("hydractl"), *arguments, **options)

    def json(self, *arguments):
        return json.loads(self.ctl("--format", "json", *arguments).stdout)

    def inspect(self, name):
        return self.json("inspect", name)

    def path(self, inner):
        """A path of the host as this process can open it."""
        return pathlib.Path(f"/proc/{self.pid}/root{inner}")

    # services

    def start(self, name, *arguments):
        log = open(self.path(f"/run/{name}.log"), "ab")
        self.services[name] = self.popen([program(name), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        sockets = {"hydrad": "hydrad.sock", "hydra-monitor": "monitor.sock"}
        wait_for(lambda: self.answers(sockets[name]), f"{name} to listen\n{self.log(name)}")
        return self.services[name]

    def answers(self, socket_name):
        question = {"hydrad.sock": "daemon", "monitor.sock": "ledger"}[socket_name]
        return self.ctl(question, check=False).returncode == 0

    def log(self, name):
        path = self.path(f"/run/{name}.log")
        return path.read_text() if path.exists() else ""

    def pids(self, name=None):
        """Our pids of the processes in this host (but its first), or of those running a program."""
        found = []
        depth = len(ns_pids(self.pid)) - 1
        for entry in pathlib.Path("/proc").iterdir():
            try:
                inner = ns_pids(entry.name)[depth:depth + 1] if entry.name.isdigit() else []
                if inner in ([], ["1"]) or identity(entry) != identity(self.path(f"/proc/{inner[0]}")):
                    continue
                command = program_of((entry / "cmdline").read_bytes().decode(errors="replace").split("\0"))
            except (FileNotFoundError, ProcessLookupError, PermissionError):  # it ended while we looked
                continue
            if name is None or os.path.basename(command) == name:
                found.append(int(entry.name))
        return found

    def pid_of(self, name):
        """Of the only process that runs a program; what that starts has its name, too, until it executes something else."""
        seen = []
        wait_for(lambda: seen.append(self.pids(name)) or len(seen[-1]) == 1, f"one {name}: {self.pids(name)}")
        return seen[-1][0]

    def kill(self, name, signal_number=signal.SIGKILL):
        """Signals all processes of a program; returns after a SIGKILL when these are gone."""
        victims = self.pids(name)
        if signal_number == signal.SIGCONT:  # it would undo the stop with which LeakSanitizer attaches, which then waits for ever
            victims = [pid for pid in victims if is_stopped(pid)]
        for pid in victims:
            signal_if_there(pid, signal_number)
        if signal_number == signal.SIGCONT and name in self.services:  # nsenter stopped with its child
            self.services[name].send_signal(signal.SIGCONT)
        if signal_number == signal.SIGKILL:
            wait_for(lambda: all(has_ended(pid) for pid in victims), f"{name} to be gone")

    def crash(self):
        """All that runs on it ends at once, and what is not on its disk is gone; it has another boot id from then on."""
        while pids := [pid for pid in self.pids() if pid != self.sleeper]:
            for pid in pids:
                signal_if_there(pid, signal.SIGKILL)
            wait_for(lambda: all(has_ended(pid) for pid in pids), "everything to end")  # noqa: B023
        self.services = {}
        self.run("sh", "-c", "grep -E ' /(run/hydra|var/lib/hydra/.)' /proc/self/mounts | cut -d' ' -f2 | sort -r | while read -r at; do"
                 " umount -l \"$at\"; done; rm -rf /run/hydra /run/faults/* /run/cni-addresses/*/[0-9]*; cat /proc/sys/kernel/random/uuid > /run/boot_id;"
                 " mount --bind /run/boot_id /proc/sys/kernel/random/boot_id; rm -rf /var/lib/hydra/default")
        for hierarchy in pathlib.Path("/sys/fs/cgroup").iterdir():
            for group in sorted(hierarchy.glob(f"{self.env['HYDRA_CGROUP'].strip('/')}/**/"), reverse=True):
                try:
                    group.rmdir()
                except OSError:
                    pass

    # faults

    def order_fault(self, point, order="kill"):
        self.arrived.discard(point)
        self.path(f"/run/faults/{point}").write_text(order)

    def has_arrived(self, point):
        """Who was ordered to stop has stopped."""
        path = self.path(f"/run/faults/{point}.arrived")
        if path.exists() and (not path.read_text().startswith("stop") or any(is_stopped(pid) for pid in self.pids())):
            self.arrived.add(point)
        return point in self.arrived

    def forget_faults(self):
        self.arrived.clear()
        for path in self.path("/run/faults").iterdir():
            path.unlink()

    # what is left

    def leftovers(self):
        """Everything that a host without containers must not have."""
        left = []
        for folder in ("/run/hydra/default", "/var/lib/hydra/default"):
            left += [f"{folder}/{entry.name}" for entry in entries_of(self.path(folder))]
        mounts = pathlib.Path(f"/proc/{self.pid}/mounts").read_text().splitlines()
        left += [line for line in mounts if "/run/hydra/" in line or "/var/lib/hydra/" in line]
        for hierarchy in pathlib.Path("/sys/fs/cgroup").iterdir():
            left += [entry.path for entry in entries_of(f"{hierarchy}{self.env['HYDRA_CGROUP']}/default") if entry.is_dir()]
        for name in ("hydra-shim", "hydra-setup", "hydra", "hydra-checkpoint", "hydra-pager", "criu"):
            left += [f"process {name} {pid}: {command_line(pid)}" for pid in self.pids(name)]
        return left

    def assert_clean(self):
        try:
            wait_for(lambda: not self.leftovers(), "the host to be clean", 20)
        except AssertionError:
            raise AssertionError(f"left on {self.name}: {self.leftovers()}") from None
        finally:
            for hierarchy in pathlib.Path("/sys/fs/cgroup").iterdir():
                for group in (f"{hierarchy}{self.env['HYDRA_CGROUP']}/default", f"{hierarchy}{self.env['HYDRA_CGROUP']}"):
                    try:
                        os.rmdir(group)
                    except OSError:
                        pass
