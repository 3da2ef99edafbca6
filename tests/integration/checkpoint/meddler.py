# SPDX-License-Identifier: Apache-2.0
"""Somebody between the hosts who has the keys of both: sees every frame, and changes or keeps back what a test wants."""
import select
import socket
import ssl
import struct
import threading

FRAME_PAGES = 14
PAGE_HEAD = struct.Struct("<QIIII")
URGENT, COMPRESSED = 1, 4 + 8


class Frame:
    def __init__(self, data):
        self.data = bytearray(data)
        self.is_pages = data[4] == FRAME_PAGES
        self.is_urgent = self.is_pages and bool(PAGE_HEAD.unpack_from(data, 8)[3] & URGENT)
        self.is_compressed = self.is_pages and bool(PAGE_HEAD.unpack_from(data, 8)[3] & COMPRESSED)
        self.has_bytes = len(data) > 8 + PAGE_HEAD.size


class Meddler:
    """decide(number of the connection, frame from the source): whether it goes on, as it is then."""

    def __init__(self, listener, certificates, decide):
        self.target, self.decide, self.count = listener.socket.getsockname(), decide, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        listener.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.contexts = []
        for protocol, files in ((ssl.PROTOCOL_TLS_SERVER, certificates[1]), (ssl.PROTOCOL_TLS_CLIENT, certificates[0])):
            context = ssl.SSLContext(protocol)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(files[1])
            context.load_cert_chain(files[3], files[5])
            self.contexts.append(context)

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def _accept(self):
        while True:
            try:
                here, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(here, self.count), daemon=True).start()
            self.count += 1

    def _serve(self, here, number):
        try:
            with here, socket.create_connection(self.target) as there, self.contexts[1].wrap_socket(there) as target, \
                    self.contexts[0].wrap_socket(here, server_side=True) as source:
                self._pump(source, target, number)
        except OSError:
            pass

    def _pump(self, source, target, number):
        buffer = b""
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
                    frame, buffer = Frame(buffer[:8 + size]), buffer[8 + size:]
                    if self.decide(number, frame):
                        target.sendall(frame.data)

    def __exit__(self, *_):
        self.socket.close()
