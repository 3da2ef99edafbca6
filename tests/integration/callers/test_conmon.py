# SPDX-License-Identifier: Apache-2.0
"""conmon alone, as CRI-O and podman start it, with hydra as its runtime."""
import json
import os
import pathlib
import secrets
import signal
import subprocess

import pytest
from conftest import HYDRA, PATIENCE_S, need, wait_until


class Conmon:
    def __init__(self, folder, rootfs):
        self.folder, self.id = folder, f"conmon-{secrets.token_hex(4)}"
        self.state = ["--root", f"{folder}/state"]
        for name in ("bundle", "exits", "persist"):
            (folder / name).mkdir()
        subprocess.run([HYDRA, "spec", "--bundle", folder / "bundle"], check=True)
        self.config = json.loads((folder / "bundle/config.json").read_text())
        self.config["root"]["path"] = str(rootfs)
        self.config["linux"]["cgroupsPath"] = f"/libpod_parent/libpod-{self.id}"
        self.config["process"]["terminal"] = False

    def hydra(self, *args, **options):
        return subprocess.run([HYDRA, *self.state, *args], capture_output=True, text=True, timeout=PATIENCE_S, **options)

    def start(self, *command, options=(), terminal=False, exec_id=None):
        """The pid that conmon reports; a negative one is a failure, with its message."""
        self.config["process"].update({"args": list(command), "terminal": terminal})
        (self.folder / "bundle/config.json").write_text(json.dumps(self.config))
        name = exec_id or "init"
        if exec_id:
            (self.folder / "process.json").write_text(json.dumps(self.config["process"]))
            options = [*options, "--exec", "--exec-process-spec", f"{self.folder}/process.json", "--exec-attach"]
        reading, writing = os.pipe()
        arguments = ["conmon", "--api-version", "1", "-c", self.id, "-u", name, "-r", HYDRA, "-b", f"{self.folder}/bundle", "-p", f"{self.folder}/{name}.pid",
                     "--conmon-pidfile", f"{self.folder}/{name}.conmon", "-l", f"k8s-file:{self.folder}/{name}.log", "--exit-dir", f"{self.folder}/exits",
                     "--persist-dir", f"{self.folder}/persist", "--socket-dir-path", str(self.folder), "-n", "name", *(["-t"] if terminal else []),
                     *[word for option in self.state for word in ("--runtime-arg", option)], *options]
        # the attach pipe of an exec: nobody attaches
        env = {**os.environ, "_OCI_SYNCPIPE": str(writing)}
        subprocess.run(arguments, pass_fds=[writing], env=env, check=not exec_id, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=PATIENCE_S)
        os.close(writing)
        with os.fdopen(reading) as answer:
            return json.loads(answer.readline())

    def log(self, name="init"):
        path = self.folder / f"{name}.log"
        return [line.split(" ", 3)[1:] for line in path.read_text().splitlines()] if path.exists() else []

    def exit_status(self):
        path = self.folder / "exits" / self.id
        return wait_until(lambda: path.exists() and path.read_text(), "the exit file")

    def end(self):
        self.hydra("delete", "--force", self.id)
        for path in self.folder.glob("*.conmon"):
            try:
                os.kill(int(path.read_text()), signal.SIGTERM)
            except ProcessLookupError:
                pass


@pytest.fixture
def conmon(tmp_path, rootfs, nothing_is_left):
    need("conmon")
    one = Conmon(tmp_path, rootfs)
    yield one
    one.end()


def test_created_started_logged_and_waited_for(conmon):
    answer = conmon.start("/bin/sh", "-c", "echo out; echo error >&2; printf partial; exit 7")
    pid = answer["data"]
    assert pid > 0 and pathlib.Path(f"/proc/{pid}").exists()
    assert conmon.hydra("start", conmon.id).returncode == 0
    assert conmon.exit_status() == "7"
    assert sorted(conmon.log()) == [["stderr", "F", "error"], ["stdout", "F", "out"], ["stdout", "P", "partial"]]


def test_a_failure_to_create_is_told_in_words(conmon):
    conmon.config["process"]["cwd"] = "relative"
    answer = conmon.start("/bin/true")
    assert answer["data"] < 0 and "cwd" in answer["message"]


def test_a_program_that_is_not_there_is_told_at_the_start(conmon):
    answer = conmon.start("/no/such")
    message = answer.get("message", "") + conmon.hydra("start", conmon.id).stderr
    assert "/no/such" in message and "no such file" in message.lower()


def test_a_terminal(conmon):
    assert conmon.start("/bin/sh", "-c", "tty; test -t 0 && test -t 2 && echo terminal; exit 3", terminal=True)["data"] > 0
    assert conmon.hydra("start", conmon.id).returncode == 0
    assert conmon.exit_status() == "3"
    lines = "".join(line[2] + ("\n" if line[1] == "F" else "") for line in conmon.log()).split()  # conmon cuts where its reads do
    assert lines[0] in ("/dev/console", "/dev/pts/0") and lines[1:] == ["terminal"]


def test_killed_from_outside(conmon):
    assert conmon.start("/bin/sleep", "100000")["data"] > 0
    assert conmon.hydra("start", conmon.id).returncode == 0
    assert json.loads(conmon.hydra("state", conmon.id).stdout)["status"] == "running"
    assert conmon.hydra("kill", conmon.id, "KILL").returncode == 0
    assert conmon.exit_status() == "137"
    assert json.loads(conmon.hydra("state", conmon.id).stdout)["status"] == "stopped"
