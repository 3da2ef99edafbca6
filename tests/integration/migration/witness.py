# SPDX-License-Identifier: Apache-2.0
"""The witness in a container, and its client on the switch."""
import json
import pathlib
import select
import subprocess
import sys

from cluster import DEADLINE, wait_for

PORT = 7000
CLIENT = pathlib.Path(__file__).with_name("witness_client.py")


def start_witness(cluster, host, rootfs, pages=1024, name="witness"):
    """Returns its address."""
    host.ctl("run", "-d", "--rootfs", rootfs, "--name", name, "--network", "lan", "/bin/witness", str(PORT), str(pages))
    wait_for(lambda: "READY" in host.ctl("logs", name).stdout, "the witness")
    return host.inspect(name)["network"]["ip"].split("/")[0]


class Client:
    def __init__(self, cluster, address, pages=1024):
        self.process = subprocess.Popen(cluster.client.inside(sys.executable, str(CLIENT), address, str(PORT), str(pages)),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._answer(DEADLINE)

    def _answer(self, deadline):
        ready = select.select([self.process.stdout], [], [], deadline)[0]
        line = self.process.stdout.readline() if ready else "nothing"
        assert line.startswith("{"), f"the client says {line!r} {self.problem()}"
        return json.loads(line)

    def problem(self):
        if self.process.poll() is None:
            return "and waits"
        return self.process.stderr.read()

    def check(self, deadline=DEADLINE):
        """Every page is as it was written last; returns operations so far and the longest wait since the last time."""
        self.process.stdin.write("check\n")
        self.process.stdin.flush()
        return self._answer(deadline)

    def end(self, deadline=DEADLINE):
        result = self.check(deadline)
        self.close()
        return result

    def close(self):
        self.process.kill()
        self.process.communicate()
