"""Small protocol clients for load, trigger and health programs: HTTP, raw bytes, Redis.

Everything talks to 127.0.0.1 on the case's port (CASE_PORT), inside the container's network.
"""
import http.client
import os
import socket
import sys
import time
import traceback
import uuid

HOST = "127.0.0.1"
PORT = int(os.environ.get("CASE_PORT", "0"))


def could_not_tell(kind, value, trace):
    """What a program of a case died of says nothing about the service: a trigger's status 1 would be
    taken for "refused"."""
    traceback.print_exception(kind, value, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)


sys.excepthook = could_not_tell


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


def request(method, path, body=None, headers=None, timeout=10, port=None, tls=None):
    """One HTTP exchange on a connection of its own, by TLS when there is a context for it; the
    path is sent as it is."""
    connection = (http.client.HTTPSConnection(HOST, port or PORT, timeout=timeout, context=tls) if tls
                  else http.client.HTTPConnection(HOST, port or PORT, timeout=timeout))
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Response(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def expect(response, *statuses):
    """The response, when it has one of these statuses (200 by default)."""
    if response.status not in (statuses or (200,)):
        raise RuntimeError(f"HTTP {response.status}: {response.text[:200]}")
    return response


def get(path, *statuses, **options):
    return expect(request("GET", path, **options), *statuses)


def post(path, body, *statuses, kind="application/x-www-form-urlencoded", **options):
    return expect(request("POST", path, body, {"Content-Type": kind}, **options), *statuses)


def multipart(fields, files):
    """(body, content type) of a form: fields {name: text}, files {name: (filename, bytes)}."""
    boundary = uuid.uuid4().hex
    parts = []
    for name, text in fields.items():
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'.encode())
    for name, (filename, content) in files.items():
        head = (f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
                "Content-Type: application/octet-stream\r\n\r\n")
        parts.append(head.encode() + content)
    body = b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts)
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def raw(data, timeout=10, limit=1 << 20, port=None):
    """Send bytes, return all that comes until the peer closes or the time is up."""
    got = b""
    with socket.create_connection((HOST, port or PORT), timeout=timeout) as peer:
        peer.sendall(data)
        try:
            while len(got) < limit:
                piece = peer.recv(65536)
                if not piece:
                    break
                got += piece
        except socket.timeout:
            pass
    return got


class Redis:
    """A Redis connection: call(words...) sends one command and returns its reply."""
    password = None  # given on connecting, when set

    def __init__(self, timeout=10):
        self.socket = socket.create_connection((HOST, PORT), timeout=timeout)
        self.file = self.socket.makefile("rb")
        if self.password:
            self.call("AUTH", self.password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    @staticmethod
    def encode(words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        return b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(word), word) for word in words)

    def call(self, *words):
        return self.pipeline([words])[0]

    def pipeline(self, commands):
        self.socket.sendall(b"".join(self.encode(words) for words in commands))
        return [self.reply() for _ in commands]

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        size = int(rest)
        if kind == b"$":
            return None if size < 0 else self.file.read(size + 2)[:-2]
        return None if size < 0 else [self.reply() for _ in range(size)]


def wait_for(condition, seconds, step=0.1):
    """Whether the condition (a function; an exception counts as no) holds within the time."""
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return True
        except (OSError, RuntimeError, http.client.HTTPException):
            pass
        if time.monotonic() > end:
            return False
        time.sleep(step)


def gone(seconds=2):
    """Whether nobody listens on the port, now or within the time: the service has ended, and is
    started again a moment later."""
    def refused():
        try:
            socket.create_connection((HOST, PORT), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    return wait_for(refused, seconds, step=0.02)


def verdict(worked, proof):
    """End a trigger: True worked, False refused, None could not tell; with its proof line."""
    print(proof)
    sys.exit({True: 0, False: 1, None: 2}[worked])
