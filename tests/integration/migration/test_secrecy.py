# SPDX-License-Identifier: Apache-2.0
"""Nothing of a container crosses the network in the clear."""
import secrets
import subprocess
import sys

from cluster import names, run, wait_for

# Prints "ready", then collects what crosses the interface until its input ends; says how much it was, and which needles were in it,
# in one packet or in the packets one after the other.
CAPTURE = """
import select, socket, sys
needles = sys.argv[2:]
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
packets.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
packets.bind((sys.argv[1], 0))
print("ready", flush=True)
flows, total = {}, 0
found, is_over = set(), False
while True:
    ready = select.select([packets] + ([] if is_over else [sys.stdin]), [], [], 0 if is_over else None)[0]
    if packets not in ready and is_over:
        break
    if packets in ready:
        packet = packets.recv(1 << 20)
        total += len(packet)
        is_tcp = packet[12:14] == b"\\x08\\0" and packet[23] == 6
        tcp = 14 + (packet[14] & 15) * 4
        flow, payload = packet[26:30] + packet[30:34] + packet[tcp:tcp + 4], packet[tcp + (packet[tcp + 12] >> 4) * 4:] if is_tcp else b""
        text = flows.get(flow, b"") + payload
        found.update(needle for needle in needles if needle.encode() in text or needle.encode() in packet)
        flows[flow] = text[-4096:]
    if sys.stdin in ready:
        is_over = True
lost = packets.getsockopt(263, 6, 8)  # SOL_PACKET, PACKET_STATISTICS
print(total, int.from_bytes(lost[4:], sys.byteorder), *sorted(found))
"""


class Capture:
    def __init__(self, host, *needles):
        self.process = host.popen([sys.executable, "-c", CAPTURE, "eth0", *needles], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def end(self):
        """Bytes, packets that were lost, needles that were found."""
        total, lost, *found = self.process.communicate(timeout=60)[0].split()
        return int(total), int(lost), found


def test_memory_layer_and_environment_of_a_container_are_not_to_be_seen(cluster, rootfs):
    memory, layer, environment = (kind + secrets.token_hex(24) for kind in ("memory", "layer", "environment"))
    run(cluster.a, rootfs, "secret", "sh", "-c", f"echo {layer} > /data/note; v={memory}; while true; do sleep 0.1; echo \"$v\" > /tmp/same; done",
        options=("--env", f"SECRET={environment}", "--env", "KNOWN=x"))
    wait_for(lambda: cluster.a.ctl("exec", "secret", "cat", "/data/note", check=False).stdout == layer + "\n", "the file")
    capture = Capture(cluster.b, memory, layer, environment)
    cluster.migrate("secret", cluster.a, "--compress", "none")
    assert names(cluster.a) == set()
    total, lost, found = capture.end()
    assert total > 100000 and lost == 0 and found == []
    assert cluster.b.ctl("exec", "secret", "cat", "/data/note", "/tmp/same").stdout == f"{layer}\n{memory}\n"
    assert environment in cluster.b.ctl("exec", "secret", "cat", "/proc/1/environ").stdout


def test_the_capture_would_have_seen_it(cluster):
    """The same capture finds a needle that is sent in the clear, also one in two segments."""
    needle = secrets.token_hex(24)
    capture = Capture(cluster.b, needle, "other")
    server = cluster.b.popen([sys.executable, "-c", "import socket; s=socket.create_server(('', 9)); print(flush=True); c=s.accept()[0]\n"
                              "while c.recv(99): pass"], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "\n"
    cluster.a.run(sys.executable, "-c", "import socket, sys; s=socket.create_connection((sys.argv[1], 9)); s.setsockopt(6, 1, 1)\n"
                  "for part in sys.argv[2:]: s.sendall(part.encode())", cluster.b.address.split(":")[0], needle[:20], needle[20:])
    assert server.wait(60) == 0
    server.stdout.close()
    assert capture.end()[2] == [needle]
