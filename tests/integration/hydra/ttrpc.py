# SPDX-License-Identifier: Apache-2.0
"""Just enough of ttrpc and protobuf to ask a resident program something without starting hydractl."""
import socket


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at


def fields(data):
    """(number, value) of each field; strings, bytes and messages as bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        yield key >> 3, value


def text_field(number, text):
    """Of at most 127 bytes."""
    return bytes([number << 3 | 2, len(text)]) + text.encode()


def bytes_field(number, data):
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


class Connection:
    """Calls one after the other; ConnectionError when it is closed or reset, RuntimeError when the answer is a refusal."""

    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.stream_id = 1
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def receive(self, size):
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return bytes(data)

    def call(self, service, method, payload=b"", step=0):
        """The response's message. step: the request is sent in pieces of so many bytes."""
        frame = self.question(service, method, payload)
        for at in range(0, len(frame), step or len(frame)):
            self.socket.sendall(frame[at:at + (step or len(frame))])
        return self.answer(f"{service}.{method}")

    def question(self, service, method, payload=b""):
        """The frame of a request, which is to be sent before answer() is asked for."""
        body = text_field(1, service) + text_field(2, method) + (bytes_field(3, payload) if payload else b"")
        return len(body).to_bytes(4, "big") + self.stream_id.to_bytes(4, "big") + b"\1\0" + body

    def answer(self, what=""):
        header = self.receive(10)
        answer = dict(fields(self.receive(int.from_bytes(header[:4], "big"))))
        if int.from_bytes(header[4:8], "big") != self.stream_id:
            raise RuntimeError("an answer to another question")
        self.stream_id += 2
        if dict(fields(answer.get(1, b""))).get(1, 0) != 0:
            raise RuntimeError(f"{what}: {answer[1]}")
        return answer.get(2, b"")
