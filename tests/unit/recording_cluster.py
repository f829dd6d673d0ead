"""A fake dashboard that accepts every job, runs none, and records each request."""

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
class RecordedRequest:
    """A request as the server received it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RecordingCluster:
    """The state of the fake cluster. A submitted job is PENDING, a stopped job is STOPPED."""

    def __init__(self) -> None:
        self.address = ""
        self.requests: list[RecordedRequest] = []
        self.jobs: dict[str, str] = {}
        """The status of each job in Ray's words, by the job's id."""
        self.os = ""
        """What the cluster says its nodes run on; empty if it does not say."""
        self.running_nodes = ""
        """What `ray status` lists below `Active:`; empty if the cluster does not tell."""

    def paths(self, method: str) -> list[str]:
        return [request.path for request in self.requests if request.method == method]

    def answer(self, request: RecordedRequest) -> tuple[int, Any]:
        self.requests.append(request)
        path = request.path.partition("?")[0].rstrip("/")
        if path == "/api/version":
            version = metadata.version("ray")
            return 200, {"version": "4", "ray_version": version, "ray_commit": ""}
        if path == "/api/v0/cluster_metadata":
            about = {"pythonVersion": platform.python_version()}
            return 200, {"data": {**about, **({"os": self.os} if self.os else {})}}
        if path == "/api/v0/nodes":
            return 200, {"data": {"result": {"result": [NODE]}}}
        if path == "/api/cluster_status" and self.running_nodes:
            text = f"Active:\n {self.running_nodes}\nPending:\n (no pending nodes)\n"
            return 200, {"data": {"clusterStatus": text}}
        if path == "/nodes":
            return 200, {"data": {"nodeLogicalResources": {"a": "0.0/4.0 CPU"}}}
        if path.startswith("/api/packages/"):
            return 200, {}  # every package counts as uploaded already
        if path.startswith("/api/jobs"):
            return self._job(request, path)
        return 404, {}

    def _job(self, request: RecordedRequest, path: str) -> tuple[int, Any]:
        if request.method == "POST" and path == "/api/jobs":
            job_id = request.json["submission_id"]
            self.jobs[job_id] = "PENDING"
            return 200, {"job_id": job_id, "submission_id": job_id}
        if path == "/api/jobs":
            return 200, [{"submission_id": i, "status": s} for i, s in self.jobs.items()]
        job_id = path.split("/")[3]
        if job_id not in self.jobs:
            return 404, {}
        if request.method == "POST":
            self.jobs[job_id] = "STOPPED"
            return 200, {"stopped": True}
        if request.method == "DELETE":
            del self.jobs[job_id]
            return 200, {"deleted": True}
        return 200, {"status": self.jobs[job_id]}


@contextmanager
def recording_cluster(context: ssl.SSLContext | None = None) -> Iterator[RecordingCluster]:
    cluster = RecordingCluster()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = RecordedRequest(self.command, self.path, dict(self.headers.items()), body)
            code, content = cluster.answer(request)
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
