# SPDX-License-Identifier: Apache-2.0
"""The same migration over TCP: only with TLS and only among hosts of one CA; cut connections are taken up again."""
import signal
import socket
import ssl
import threading
import time

import pytest

from conftest import wait_for
from meddler import Meddler
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
                    self.cut()
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for pair in list(self.pairs):
            for each in pair:
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
    again = move.worker(2)
    move.stdio.stdin.write("random 2000\n")
    assert move.stdio.stdout.line("RANDOM") == "RANDOM bad=0"
    move.expect_moved()
    assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=16384"
    assert "reconnecting" in move.sender.phases()
    assert again.wait() == 0
    proxy.close()


@pytest.fixture
def damaged(container, migrate, certificates, listener, tmp_path):
    """Moves a container of 32 MiB, with one page damaged on each of the connections with these numbers."""
    def make(*numbers):
        one, left, is_armed = start(container, 32), set(numbers), threading.Event()

        def damage(connection, frame):
            if frame.has_bytes and frame.is_pages and connection in left and is_armed.is_set():
                left.remove(connection)
                frame.data[-1] ^= 1
            return True

        with Meddler(listener, certificates, damage):
            move = migrate(one, listener=listener, source_args=certificates[0], target_args=certificates[1],
                           target_env=faults(tmp_path / "faults", receive__committed="stop"))
            wait_for(lambda: (tmp_path / "faults" / "receive.committed.arrived").exists(), "the commit")
            is_armed.set()
            move.receiver.kill(signal.SIGCONT)
            move.stdio.stdin.write("random 2000\n")
            assert move.stdio.stdout.line("RANDOM") == "RANDOM bad=0"
            move.expect_moved()
            assert move.stdio.ask("verify", "VERIFY") == "VERIFY bad=0 pages=8192"
            assert not left
        return move

    return make


def test_a_damaged_page_is_never_installed_but_asked_for_again(damaged):
    move = damaged(0, 2)
    lost = [line["message"] for line in move.receiver.lines if line["phase"] == "source-lost"]
    assert lost == ["pages were damaged on their way"] * 2


def test_a_damaged_page_that_a_task_waits_for_is_asked_for_over_the_other_connection(damaged):
    move = damaged(1)
    assert "source-lost" not in move.receiver.phases() and len(move.workers) == 2
    assert "connection for faults lost" in move.receiver.stderr


def test_a_connection_cut_before_the_commit_changes_nothing(container, migrate, certificates, listener):
    one = start(container, 64)
    proxy = Proxy(listener.socket.getsockname())
    listener.address = proxy.address
    proxy.limit = 20000
    move = migrate(one, listener=listener, source_args=certificates[0], target_args=certificates[1])
    expect_stayed(one, move, 16384)
    proxy.close()
