"""All runs of a storage are told with one request to each cluster, and one deadline for all."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.client import Client
from orchestrator.cluster.connection import Connection
from orchestrator.observe.survey import DEADLINE_S, survey
from orchestrator.runs import RunStatus
from tests.conftest import HANG_S
from tests.unit.recording_cluster import RecordingCluster, recording_cluster
from workers.storage.storage import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "runs"))


@pytest.fixture
def cluster() -> Iterator[RecordingCluster]:
    with recording_cluster() as cluster:
        yield cluster


@pytest.fixture
def silent() -> Iterator[list[str]]:
    """The addresses of two servers that accept connections and never answer."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        yield [f"http://127.0.0.1:{server.getsockname()[1]}" for server in servers]


def add(storage: Storage, run_id: str, address: str, state: str = "RUNNING") -> RunStatus:
    run = runs.create_run(storage, run_id, "name: x\n", "cluster", address)
    return runs.write_status(run, RunStatus(run_id, state, "cluster", address=address, attempt=1))


def told(storage: Storage, records: list[RunStatus]) -> dict[str, str]:
    found = survey(storage, records, lambda status: Connection(status.address))
    return {status.run_id: status.state for status in found}


def test_one_request_tells_all_runs_of_a_cluster(
    storage: Storage, cluster: RecordingCluster
) -> None:
    records = [add(storage, f"r{number}", cluster.address) for number in range(30)]
    records.append(add(storage, "ended", cluster.address, "SUCCEEDED"))
    cluster.jobs.update({f"r{number}": "RUNNING" for number in range(1, 30)}, r2="STOPPED")
    states = told(storage, records)
    assert cluster.paths("GET") == ["/api/jobs/"]
    assert (states.pop("r0"), states.pop("r2"), states.pop("ended")) == (
        "LOST",
        "STOPPED",
        "SUCCEEDED",
    )
    assert set(states.values()) == {"RUNNING"} and len(states) == 28


def test_clusters_that_never_answer_have_one_deadline_together(
    storage: Storage, cluster: RecordingCluster, silent: list[str]
) -> None:
    records = [add(storage, f"s{number}", address) for number, address in enumerate(silent)]
    records.append(add(storage, "r", cluster.address))
    cluster.jobs["r"] = "RUNNING"
    begun = time.monotonic()
    assert told(storage, records) == {"s0": "UNREACHABLE", "s1": "UNREACHABLE", "r": "RUNNING"}
    assert DEADLINE_S < time.monotonic() - begun < HANG_S


def test_a_run_that_ended_or_was_deleted_meanwhile_is_told_as_it_is(
    storage: Storage, cluster: RecordingCluster
) -> None:
    records = [add(storage, name, cluster.address) for name in ("ended", "deleted")]
    add_outcome = RunStatus("ended", "SUCCEEDED", "cluster", address=cluster.address, ended_at=2.0)
    runs.write_status(runs.run_at(storage.uri, "ended"), add_outcome)
    storage.child("deleted").delete()
    assert told(storage, records) == {"ended": "SUCCEEDED"}


def test_no_cluster_is_asked_that_the_user_never_named(
    storage: Storage, cluster: RecordingCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "state"))
    add(storage, "r", cluster.address)
    cluster.jobs["r"] = "RUNNING"
    client = Client(storage.uri)
    assert [status.state for status in client.list_runs()] == ["UNREACHABLE"]
    assert cluster.requests == []
    client.connection(cluster.address)
    assert [status.state for status in client.list_runs()] == ["RUNNING"]
