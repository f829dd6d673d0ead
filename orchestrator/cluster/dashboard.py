"""Requests to a cluster's dashboard. They use plain HTTP: Ray is not imported."""

import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from orchestrator.cluster.connection import Connection
from workers.errors import ClusterError, UnreachableError
from workers.storage.typed_json import Json, parse_object

T = TypeVar("T")
_TIMEOUT_S = 10.0
_CPUS = re.compile(r"([\d.]+)/([\d.]+) CPU\b(?: \(([\d.]+) used of ([\d.]+) reserved)?")


@dataclass(frozen=True)
class Node:
    """A node as the cluster reports it."""

    node_id: str
    name: str
    ip: str
    is_alive: bool
    is_head: bool
    message: str
    """Why the node died, in Ray's words; empty if it lives."""
    cpus_total: float
    cpus_free: float | None
    """CPUs that no job holds; None if the cluster does not report them."""
    gpus_total: float = 0.0

    @property
    def resources(self) -> dict[str, float]:
        """All resources of the node, whether or not jobs hold them now."""
        return {"CPU": self.cpus_total, "GPU": self.gpus_total}


def get_json(connection: Connection, path: str, timeout_s: float = _TIMEOUT_S) -> Json:
    """Return the JSON object at a path of the dashboard.

    Raises ClusterError if no server answers in time, the server refuses the token, or it is not a
    Ray dashboard.
    """
    return _get(connection, path, timeout_s, parse_object)


def get_json_objects(
    connection: Connection, path: str, timeout_s: float = _TIMEOUT_S
) -> list[Json]:
    """Return the objects of the JSON array at a path of the dashboard. Raises ClusterError."""

    def parse(data: bytes) -> list[Json]:
        rows = parse_object(b'{"rows":' + data + b"}").get("rows")
        if not isinstance(rows, list):
            raise ValueError("it is not an array")
        return [row for row in rows if isinstance(row, dict)]

    return _get(connection, path, timeout_s, parse)


def _get(connection: Connection, path: str, timeout_s: float, parse: Callable[[bytes], T]) -> T:
    url = connection.address + path
    request = urllib.request.Request(url)
    for name, value in connection.headers.items():
        request.add_unredirected_header(name, value)  # no other host may get the token
    try:
        with _opener(url, connection.verify).open(request, timeout=timeout_s) as reply:
            return parse(reply.read())
    except urllib.error.HTTPError as error:
        raise _refusal(connection, error.code) from error
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(connection, error) from error
    except ValueError as error:
        raise ClusterError(
            f"the server at {url} is not a Ray dashboard: {error}",
            "name the dashboard: http://HOST:8265",
        ) from error


def _opener(url: str, verify: bool) -> urllib.request.OpenerDirector:
    parts = urlsplit(url)
    handlers: list[urllib.request.BaseHandler] = []
    if parts.hostname in ("127.0.0.1", "localhost", "::1"):
        # A proxy cannot reach this machine's loopback interface.
        handlers.append(urllib.request.ProxyHandler({}))
    if parts.scheme == "https" and not verify:
        handlers.append(urllib.request.HTTPSHandler(context=ssl._create_unverified_context()))
    return urllib.request.build_opener(*handlers)


def _no_answer(connection: Connection, error: Exception) -> ClusterError:
    reason = getattr(error, "reason", None) or error
    # A server answered, so the cluster must not count as unreachable.
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ClusterError(
            f"the certificate of {connection.address} cannot be checked: {reason.verify_message}",
            "if you trust the network in between, skip the check: --no-verify",
        )
    return UnreachableError(
        f"no cluster answers at {connection.address}: {reason or type(error).__name__}",
        "check the address, and whether the cluster runs: rnnjob cluster status, or a browser",
    )


def _refusal(connection: Connection, code: int) -> ClusterError:
    if code in (401, 403):
        is_missing = code == 401 and not connection.headers
        problem = "asks for a token" if is_missing else "refuses the token"
        return ClusterError(
            f"the cluster at {connection.address} {problem} (HTTP {code})",
            "export RAY_AUTH_TOKEN_PATH=FILE with the token that the cluster was started with",
        )
    return ClusterError(
        f"the cluster at {connection.address} answers with HTTP {code}",
        "check that this is the dashboard, http://HOST:8265, and see its logs",
    )


def list_nodes(connection: Connection, timeout_s: float = _TIMEOUT_S) -> list[Node]:
    """Return all nodes, dead ones too: the head first, the others by name. Raises ClusterError."""
    reply = get_json(connection, "/api/v0/nodes?detail=0&limit=10000", timeout_s)
    free = _cpus_free(get_json(connection, "/nodes?view=summary", timeout_s))
    try:
        nodes = [_node(row, free) for row in reply["data"]["result"]["result"]]
    except (KeyError, TypeError) as error:
        raise ClusterError(
            f"the answer of {connection.address} does not have the form that Ray 2.60 uses",
            "use the same Ray version here and on the cluster: the one that rnnjob requires",
        ) from error
    return sorted(nodes, key=lambda node: (not node.is_head, node.name, node.node_id))


def _node(row: Json, free: dict[str, float]) -> Node:
    is_alive = row["state"] == "ALIVE"
    total = row["resources_total"] or {}
    return Node(
        node_id=row["node_id"],
        name=row["node_name"],
        ip=row["node_ip"],
        is_alive=is_alive,
        is_head=bool(row["is_head_node"]),
        message=row.get("state_message") or "",
        cpus_total=float(total.get("CPU", 0.0)),
        cpus_free=free.get(row["node_id"]) if is_alive else 0.0,
        gpus_total=float(total.get("GPU", 0.0)),
    )


def _cpus_free(summary: Json) -> dict[str, float]:
    """Return the free CPUs by node id.

    They are read from lines like `1.0/2.0 CPU (1.0 used of 2.0 reserved in ...)`. CPUs that a
    placement group reserves are not free, whether it uses them or not.
    """
    lines = (summary.get("data") or {}).get("nodeLogicalResources") or {}
    free = {}
    for node_id, text in lines.items():
        if match := _CPUS.search(text):
            used, total, used_in_group, reserved = (float(n or 0) for n in match.groups())
            free[node_id] = max(0.0, total - used - (reserved - used_in_group))
    return free
