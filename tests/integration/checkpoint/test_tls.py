# SPDX-License-Identifier: Apache-2.0
"""The same migration over TCP: only with TLS and only among hosts of one CA; cut connections are taken up again."""
import select
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

from conftest import wait_for
from migration import Listener, make_certificates
from test_migrate import expect_stayed, faults, migrate, start  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls") / "one")


@pytest.fixture
def listener():
    one = Listener()
    yield one
    one.close()


def test_over_tls(container, migrate, certificates, listener):
    one = start(container, 64)
    move = migrate(one, listener=listener, source_args=certificates[0], target_args=certificates[1])
    move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=16384"


def test_hosts_of_another_ca_are_refused(container, migrate, certificates, listener, tmp_path):
    others = make_certificates(tmp_path / "other", "other")
    one = start(container, 4)
    move = migrate(one, listener=listener, source_args=certificates[0], target_args=others[1])
    expect_stayed(one, move, 1024)
    assert "TLS" in move.sender.stderr


def test_a_peer_without_a_certificate_is_refused(certificates, listener, tmp_path):
    from migration import Worker
    from conftest import PAGER
    (tmp_path / "works").mkdir()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = socket.create_connection(listener.socket.getsockname())
    with listener.accept() as connection:
        receiver = Worker([PAGER, "receive", "--connection-fd", str(connection.fileno()), "--work-root",
                           str(tmp_path / "works"), *certificates[1]], [connection.fileno()])
    with pytest.raises(OSError):
        with context.wrap_socket(client) as tls:
            tls.recv(1)
            raise ConnectionResetError
    assert receiver.wait() == 1
    assert "certificate" in receiver.stderr
    client.close()


class Proxy:
    """A network between the hosts that can be cut."""

    def __init__(self, target):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.target, self.pairs, self.bytes, self.limit = target, [], 0, None
        threading.Thread(target=self._accept, daemon=True).start()

    def accept(self):
        raise NotImplementedError

    def _accept(self):
        while True:
            try:
                here, _ = self.socket.accept()
                there = socket.create_connection(self.target)
            except OSError:
                return
            self.pairs.append((here, there))
            for pair in ((here, there), (there, here)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self.bytes += len(data)
                if self.limit is not None and self.bytes > self.limit:
                    self.limit = None  # the next connection, which may come at once, is whole
                    break
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.socket.close()
        for pair in self.pairs:
            for each in pair:
                each.close()


def test_a_cut_connection_is_taken_up_again(container, migrate, certificates, listener):
    one = start(container, 64)
    proxy = Proxy(listener.socket.getsockname())
    listener.address = proxy.address
    move = migrate(one, listener=listener, source_args=certificates[0], target_args=certificates[1])
    move.receiver.phase("paging")
    proxy.limit = proxy.bytes + (1 << 20)
    move.receiver.phase("source-lost")
    again = move.receive(listener.accept())
    move.stdio.stdin.write("random 2000\n")
    assert move.stdio.stdout.line("RANDOM") == "RANDOM bad=0"
    move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=16384"
    assert "reconnecting" in move.sender.phases()
    assert again.wait() == 0
    proxy.close()


FRAME_PAGES = 14
PAGE_HEAD = 24


class Meddler:
    """Somebody with both hosts' keys, who changes one bit of a page on each of the first connections."""

    def __init__(self, target, certificates, spoils):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.target, self.spoils, self.changed, self.connections, self.is_armed = target, spoils, 0, 0, False
        self.contexts = []
        for protocol, files in ((ssl.PROTOCOL_TLS_SERVER, certificates[1]), (ssl.PROTOCOL_TLS_CLIENT, certificates[0])):
            context = ssl.SSLContext(protocol)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(files[1])
            context.load_cert_chain(files[3], files[5])
            self.contexts.append(context)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                here, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(here,), daemon=True).start()

    def _serve(self, here):
        try:
            with socket.create_connection(self.target) as there, self.contexts[1].wrap_socket(there) as target, \
                    self.contexts[0].wrap_socket(here, server_side=True) as source:
                self._pump(source, target)
        except OSError:
            pass

    def _pump(self, source, target):
        self.connections += 1
        buffer, is_clean = b"", self.connections > self.spoils
        while True:
            for one in [each for each in (source, target) if each.pending()] or select.select([source, target], [], [])[0]:
                data = one.recv(1 << 16)
                if not data:
                    return
                if one is target:
                    source.sendall(data)
                    continue
                buffer += data
                while len(buffer) >= 8 and len(buffer) >= 8 + (size := struct.unpack_from("<I", buffer)[0]):
                    frame, buffer = bytearray(buffer[:8 + size]), buffer[8 + size:]
                    if not is_clean and self.is_armed and frame[4] == FRAME_PAGES and size > PAGE_HEAD:
                        is_clean, self.changed = True, self.changed + 1
                        frame[-1] ^= 1
                    target.sendall(frame)

    def close(self):
        self.socket.close()


def test_a_damaged_page_is_never_installed_but_asked_for_again(container, migrate, certificates, listener, tmp_path):
    one = start(container, 32)
    meddler = Meddler(listener.socket.getsockname(), certificates, spoils=2)
    listener.address = meddler.address
    move = migrate(one, listener=listener, source_args=certificates[0], target_args=certificates[1],
                   target_env=faults(tmp_path / "faults", receive__committed="stop"))
    wait_for(lambda: (tmp_path / "faults" / "receive.committed.arrived").exists(), "the commit")
    meddler.is_armed = True
    move.receiver.kill(signal.SIGCONT)
    again = [move.receive(listener.accept()) for _ in range(2)]
    move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"
    lost = [line["message"] for line in move.receiver.lines if line["phase"] == "source-lost"]
    assert lost == ["pages were damaged on their way"] * 2 and meddler.changed == 2
    for worker in again:
        worker.wait()
    meddler.close()


def test_a_connection_cut_before_the_commit_changes_nothing(container, migrate, certificates, listener):
    one = start(container, 64)
    proxy = Proxy(listener.socket.getsockname())
    listener.address = proxy.address
    proxy.limit = 20000
    move = migrate(one, listener=listener, source_args=certificates[0], target_args=certificates[1])
    expect_stayed(one, move, 16384)
    proxy.close()
