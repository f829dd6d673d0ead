"""A dashboard that takes every job, runs none, and keeps what it was asked."""

import json
import platform
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from typing import Any

NODE = {
    "node_id": "a",
    "node_name": "n0",
    "node_ip": "127.0.0.1",
    "state": "ALIVE",
    "is_head_node": True,
    "resources_total": {"CPU": 4.0},
    "state_message": None,
}


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RecordingCluster:
    """`jobs`: what it says of each; a job that it is given is PENDING, one that it is to stop is
    STOPPED."""

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[Asked] = []
        self.jobs: dict[str, str] = {}

    def paths(self, method: str) -> list[str]:
        return [asked.path for asked in self.asked if asked.method == method]

    def answer(self, asked: Asked) -> tuple[int, Any]:
        self.asked.append(asked)
        path = asked.path.partition("?")[0].rstrip("/")
        if path == "/api/version":
            version = metadata.version("ray")
            return 200, {"version": "4", "ray_version": version, "ray_commit": ""}
        if path == "/api/v0/cluster_metadata":
            return 200, {"data": {"pythonVersion": platform.python_version()}}
        if path == "/api/v0/nodes":
            return 200, {"data": {"result": {"result": [NODE]}}}
        if path == "/nodes":
            return 200, {"data": {"nodeLogicalResources": {"a": "0.0/4.0 CPU"}}}
        if path.startswith("/api/packages/"):
            return 200, {}  # each package is there already
        if path.startswith("/api/jobs"):
            return self._job(asked, path)
        return 404, {}

    def _job(self, asked: Asked, path: str) -> tuple[int, Any]:
        if asked.method == "POST" and path == "/api/jobs":
            job_id = asked.json["submission_id"]
            self.jobs[job_id] = "PENDING"
            return 200, {"job_id": job_id, "submission_id": job_id}
        job_id = path.split("/")[3]
        if job_id not in self.jobs:
            return 404, {}
        if asked.method == "POST":
            self.jobs[job_id] = "STOPPED"
            return 200, {"stopped": True}
        if asked.method == "DELETE":
            del self.jobs[job_id]
            return 200, {"deleted": True}
        return 200, {"status": self.jobs[job_id]}


@contextmanager
def recording_cluster(context: ssl.SSLContext | None = None) -> Iterator[RecordingCluster]:
    cluster = RecordingCluster()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, dict(self.headers.items()), body)
            code, content = cluster.answer(asked)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_GET = do_POST = do_PUT = do_DELETE = _reply

        def log_message(self, format: str, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if context else "http"
    cluster.address = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
