"""An HTTP proxy in front of one server. It fails for a while at moments that a seed decides."""

import http.client
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("500", "503", "close", "cut")
"""An answer with this HTTP status, or a connection closed before or in the middle of an answer."""
SLOW = "slow"
"""An answer that takes `_SLOW_S` longer."""
_SLOW_S = 1.0
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect"})
"""Headers that concern only one connection, so the proxy does not forward them."""


@dataclass(frozen=True)
class Outage:
    """A period in which every request fails."""

    fault: str
    """One of FAULTS, or SLOW."""
    after: int
    """How many requests the proxy forwards before the outage begins."""
    seconds: float


def outages(
    seed: int, faults: Sequence[str], num: int, seconds: float, max_between: int = 15
) -> list[Outage]:
    """Return `num` outages. The seed decides their kinds and when they begin."""
    generator = random.Random(seed)
    return [
        Outage(generator.choice(faults), generator.randrange(max_between), seconds)
        for _ in range(num)
    ]


class FaultyProxy:
    """A context manager that runs the proxy.

    It forwards requests until one has `trigger` in its path. Then the outages of the plan follow.
    """

    def __init__(self, upstream_port: int, plan: list[Outage], trigger: str = "") -> None:
        self.num_faults = 0
        self._upstream_port, self._trigger = upstream_port, trigger
        self._plan: Iterator[Outage] = iter(plan)
        self._next = next(self._plan, None)
        self._passed, self._until = 0, 0.0
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            def fault(self) -> str | None:
                return proxy._fault_for(self.path)

            def upstream(self) -> http.client.HTTPConnection:
                return http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=30)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def begin(self) -> None:
        """Let the plan begin with the next request, whatever its path."""
        self._trigger = ""

    @property
    def is_over(self) -> bool:
        """Whether all outages of the plan have ended."""
        with self._lock:
            return self._next is None

    def _fault_for(self, path: str) -> str | None:
        with self._lock:
            if self._trigger not in path and not self._passed:
                return None
            if self._next is None:
                return None
            if not self._until:
                self._passed += 1
                if self._passed <= self._next.after:
                    return None
                self._until = time.monotonic() + self._next.seconds
            if time.monotonic() < self._until:
                self.num_faults += 1
                return self._next.fault
            self._next, self._passed, self._until = next(self._plan, None), 1, 0.0
            return None

    def __enter__(self) -> "FaultyProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client may be killed at any moment, and the server be gone."""


class _Handler(BaseHTTPRequestHandler):
    """A handler that forwards a request, or fails in place of the server."""

    protocol_version = "HTTP/1.1"

    def fault(self) -> str | None:
        raise NotImplementedError

    def upstream(self) -> http.client.HTTPConnection:
        raise NotImplementedError

    def _answer(self) -> None:
        body = self._body()
        fault = self.fault()
        if fault == "close" or (fault == "cut" and self.command == "HEAD"):
            self.close_connection = True
        elif fault == "cut":
            # The server carries out the request: an answer may be lost after that, too.
            self._forward(body, cut=True)
        elif fault == SLOW:
            time.sleep(_SLOW_S)
            self._forward(body)
        elif fault:
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._forward(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _forward(self, body: bytes, cut: bool = False) -> None:
        upstream = self.upstream()
        headers = {n: v for n, v in self.headers.items() if n.lower() not in _HOP}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {*_HOP, "content-length", "date", "server"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        # The header promises one byte that never comes, so a client can see that data is missing.
        promised = int(length or 0) + (1 if cut else 0)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(content)
        upstream.close()
        self.close_connection = cut

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""
