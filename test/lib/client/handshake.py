"""The part of a TLS 1.2 handshake that is in the clear, for triggers that need no more of it."""
import os
import socket

from wire import HOST, PORT

ALERT, HANDSHAKE, HEARTBEAT = 21, 22, 24  # kinds of records
CLIENT_HELLO, CERTIFICATE, DONE = 1, 11, 14  # kinds of messages in the handshake


def sized(width, data):
    """The data after its length in `width` bytes."""
    return len(data).to_bytes(width, "big") + data


class Handshake:
    """A connection on which the client has sent its hello and the server all that it answers."""

    def __init__(self, ciphers, extensions, timeout=20):
        """`extensions` is {number: content}."""
        self.socket = socket.create_connection((HOST, PORT), timeout=timeout)
        self.file = self.socket.makefile("rb")
        listed = b"".join(number.to_bytes(2, "big") + sized(2, content) for number, content in extensions.items())
        self.message(CLIENT_HELLO, b"\3\3" + os.urandom(32) + b"\0" + sized(2, ciphers) + b"\1\0" + sized(2, listed))
        self._answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, kind, body):
        self.socket.sendall(bytes([kind]) + b"\3\3" + sized(2, body))

    def message(self, kind, body):
        """Send a message of the handshake in a record of its own."""
        self.send(HANDSHAKE, bytes([kind]) + sized(3, body))

    def record(self):
        """(kind, body) of the next record; (None, b"") when the server has ended the connection."""
        try:
            head = self.file.read(5)
            if len(head) == 5:
                return head[0], self.file.read(int.from_bytes(head[3:], "big"))
        except ConnectionResetError:
            pass
        return None, b""

    def _answer(self):
        messages, kind = b"", None
        while kind != DONE:
            while len(messages) < 4 or len(messages) < 4 + int.from_bytes(messages[1:4], "big"):
                record, body = self.record()
                if record != HANDSHAKE:
                    raise RuntimeError(f"no handshake, but {record} {body!r}")
                messages += body
            kind = messages[0]
            messages = messages[4 + int.from_bytes(messages[1:4], "big"):]
