"""What workers on Ray tell their driver, through Ray's table of keys and values."""

from types import SimpleNamespace

import pytest

pytest.importorskip("ray")

from workers.records import ray_reports
from workers.records.activity import STARTING, Activity


class Table:
    """Ray's table, which counts what it is asked."""

    def __init__(self) -> None:
        self.texts: dict[bytes, bytes] = {}
        self.num_reads = 0

    def _internal_kv_put(self, key: str, text: str, namespace: str) -> None:
        self.texts[key.encode()] = text.encode()

    def _internal_kv_list(self, prefix: str, namespace: str) -> list[bytes]:
        self.num_reads += 1
        return [key for key in self.texts if key.startswith(prefix.encode())]

    def internal_kv_get_gcs_client(self) -> "Table":
        return self

    def internal_kv_multi_get(self, keys: list[bytes], namespace: bytes) -> dict[bytes, bytes]:
        self.num_reads += 1
        return {key: self.texts[key] for key in keys}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    table = Table()
    monkeypatch.setattr(ray_reports, "internal_kv", table)
    context = SimpleNamespace(get_node_id=lambda: "node")
    monkeypatch.setattr(ray_reports.ray, "get_runtime_context", lambda: context)
    return table


def test_a_worker_has_reported_before_it_trains(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nothing is left of the worker that had its rank before, once all have started."""
    monkeypatch.setattr(ray_reports, "EVERY_S", 3600.0)
    table.texts[b"topic/1"] = b"of the worker before"
    with ray_reports.reporting("topic", 1, Activity()):
        [report] = ray_reports.read_reports("topic")
    assert (report.rank, report.doing, report.beats, report.node) == (1, STARTING, 0, "node")


def test_the_reports_of_many_workers_take_two_requests(table: Table) -> None:
    for rank in range(64):
        with ray_reports.reporting("topic", rank, Activity()):
            pass
    with ray_reports.reporting("another", 0, Activity()):
        pass
    assert sorted(report.rank for report in ray_reports.read_reports("topic")) == list(range(64))
    assert table.num_reads == 2


def test_no_reports_and_a_damaged_one_are_none(table: Table) -> None:
    assert ray_reports.read_reports("topic") == []
    table.texts[b"topic/0"] = b"{"
    assert ray_reports.read_reports("topic") == []


def test_a_damaged_report_hides_no_other(table: Table) -> None:
    for rank in range(3):
        with ray_reports.reporting("topic", rank, Activity()):
            pass
    table.texts[b"topic/1"] = b"not JSON"
    assert [report.rank for report in ray_reports.read_reports("topic")] == [0, 2]
