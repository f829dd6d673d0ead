"""Requests to a dashboard, and to servers that are not a dashboard."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import get_json, list_nodes
from workers.errors import ClusterError

HEADERS = {"Authorization": "Bearer secret"}


@dataclass
class Dashboard:
    """A server that sends one fixed answer per path, and records each request."""

    address: str
    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """The HTTP status, the body and the Location header, by path."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """The path and the Authorization header of each request."""

    def answer(self, path: str, content: Any, code: int = 200, location: str = "") -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        self.answers[path] = (code, text, location)


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            served.requests.append((path, self.headers.get("Authorization")))
            code, text, location = served.answers.get(path, (404, "", ""))
            self.send_response(code)
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Dashboard(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def make_node(
    node_id: str, name: str, state: str = "ALIVE", is_head: bool = False
) -> dict[str, Any]:
    cpus = {"CPU": 2.0} if state == "ALIVE" else {}
    return {
        "node_id": node_id,
        "node_name": name,
        "node_ip": "10.0.0.1",
        "state": state,
        "is_head_node": is_head,
        "resources_total": cpus,
        "state_message": None if state == "ALIVE" else "lost",
    }


def answer_nodes(dashboard: Dashboard, nodes: list[dict[str, Any]], free: dict[str, str]) -> None:
    dashboard.answer("/api/v0/nodes", {"data": {"result": {"result": nodes}}})
    dashboard.answer("/nodes", {"data": {"nodeLogicalResources": free}})


def test_the_head_is_the_first_of_the_listed_nodes(dashboard: Dashboard) -> None:
    rows = [make_node("c", "n2", "DEAD"), make_node("b", "n1"), make_node("a", "n9", is_head=True)]
    answer_nodes(dashboard, rows, {"a": "0.5/2.0 CPU\n0B/1GiB memory"})
    nodes = list_nodes(Connection(dashboard.address, HEADERS))
    assert [(node.node_id, node.is_alive, node.cpus_free) for node in nodes] == [
        ("a", True, 1.5),
        ("b", True, None),
        ("c", False, 0.0),
    ]
    assert nodes[2].message == "lost"
    assert {token for _, token in dashboard.requests} == {"Bearer secret"}


def test_cpus_that_a_placement_group_holds_are_not_free(dashboard: Dashboard) -> None:
    text = "1.0/4.0 CPU (1.0 used of 3.0 reserved in placement groups)"
    answer_nodes(dashboard, [make_node("a", "n0")], {"a": text})
    assert list_nodes(Connection(dashboard.address))[0].cpus_free == 1.0


@pytest.mark.parametrize(
    ("code", "headers", "cause"),
    [
        (401, {}, "asks for a token"),
        (401, HEADERS, "refuses the token"),
        (403, HEADERS, "refuses the token"),
        (500, HEADERS, "HTTP 500"),
    ],
)
def test_a_refusal_is_an_error_with_a_cure(
    code: int, headers: dict[str, str], cause: str, dashboard: Dashboard
) -> None:
    dashboard.answer("/api/version", "", code)
    with pytest.raises(ClusterError, match=cause) as refused:
        get_json(Connection(dashboard.address, headers), "/api/version")
    assert refused.value.cure
    assert refused.value.exit_code == 3
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["<html>a login page</html>", "[]", ""])
def test_a_server_that_is_not_a_dashboard_is_an_error(text: str, dashboard: Dashboard) -> None:
    dashboard.answer("/api/version", text)
    with pytest.raises(ClusterError, match="is not a Ray dashboard"):
        get_json(Connection(dashboard.address), "/api/version")


def test_an_answer_of_another_form_is_an_error(dashboard: Dashboard) -> None:
    dashboard.answer("/api/v0/nodes", {"data": None})
    dashboard.answer("/nodes", {"data": None})
    with pytest.raises(ClusterError, match="Ray"):
        list_nodes(Connection(dashboard.address))


def test_the_token_does_not_follow_a_redirect(dashboard: Dashboard) -> None:
    dashboard.answer("/api/version", "", 302, f"{dashboard.address}/elsewhere")
    dashboard.answer("/elsewhere", {})
    get_json(Connection(dashboard.address, HEADERS), "/api/version")
    assert dashboard.requests == [("/api/version", "Bearer secret"), ("/elsewhere", None)]


def test_an_unknown_host_name_is_an_error() -> None:
    with pytest.raises(ClusterError, match="no cluster answers"):
        get_json(Connection("http://no-such-host.invalid:8265"), "/api/version")
