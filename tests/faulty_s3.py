"""A proxy in front of a real S3 server that injects faults: what networks and stores do on a bad day."""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

PASSING = ("reset", "answer lost", "slow down", "internal error", "time-out", "truncated", "flipped down", "flipped up")
LASTING = ("expired", "no bucket", "no permission")
Fault = Literal[
    "reset",
    "answer lost",
    "slow down",
    "internal error",
    "time-out",
    "truncated",
    "flipped down",
    "flipped up",
    "expired",
    "no bucket",
    "no permission",
]
ANSWERS: dict[str, tuple[int, str]] = {
    "slow down": (503, "SlowDown"),
    "internal error": (500, "InternalError"),
    "expired": (403, "ExpiredToken"),
    "no bucket": (404, "NoSuchBucket"),
    "no permission": (403, "AccessDenied"),
}
Choose = Callable[[str, str], Fault | None]


class FaultyS3(ThreadingHTTPServer):
    """Forwards to `upstream`, unless `choose(method, path)` names a fault. `injected` counts those that took effect."""

    daemon_threads = True
    silence_s = 2.0  # How long a time-out keeps the client waiting; its own limit must be shorter.

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.choose: Choose = lambda method, path: None
        self.injected: Counter[str] = Counter()
        self.counting = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, fault: str) -> None:
        with self.counting:
            self.injected[fault] += 1

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go away in the middle of things here, as they are made to."""


def at_random(rate: float, seed: int, faults: tuple[str, ...] = PASSING) -> Choose:
    """One of the faults for this share of the requests."""
    rng, lock = random.Random(seed), threading.Lock()

    def choose(method: str, path: str) -> Fault | None:
        with lock:
            return rng.choice(faults) if rng.random() < rate else None  # type: ignore[return-value]

    return choose


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyS3

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.choose(self.command, self.path)
        if fault == "reset":
            return self._cut(fault)
        if fault == "time-out":
            time.sleep(self.server.silence_s)
            return self._cut(fault)
        if fault in ANSWERS:
            self.server.count(fault)
            status, code = ANSWERS[fault]
            return self._answer(status, f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode(), {})
        if fault == "flipped up" and body and self.command == "PUT":
            self.server.count(fault)
            body = body[:-1] + bytes([body[-1] ^ 1])
        status, data, headers = self._forwarded(body)
        if fault == "answer lost":
            return self._cut(fault)
        if fault == "truncated" and len(data) > 1:
            self.server.count(fault)
            self._answer(status, data, headers, cut_at=len(data) // 2)
            return None
        if fault == "flipped down" and data and self.command == "GET" and status < 300:
            self.server.count(fault)
            data = data[:-1] + bytes([data[-1] ^ 1])
        return self._answer(status, data, headers)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any

    def _forwarded(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # Host too, as it was signed.
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            data = answer.read()
            skipped = ("content-length", "transfer-encoding", "connection", "date", "server")
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in skipped}
            if self.command == "HEAD":
                headers["Content-Length"] = answer.headers["Content-Length"] or "0"
            return answer.status, data, headers
        finally:
            connection.close()

    def _answer(self, status: int, data: bytes, headers: dict[str, str], cut_at: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:cut_at])
        if cut_at is not None:
            self.wfile.flush()
            self.close_connection = True

    def _cut(self, fault: str) -> None:
        """End the connection with a reset."""
        self.server.count(fault)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def faulty_s3(upstream: str) -> Iterator[FaultyS3]:
    """Run the proxy in a thread."""
    with FaultyS3(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
