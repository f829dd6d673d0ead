"""The curve of a job over the number of workers: what counts, where adding some stops paying."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.display.scaling import WIDTH, sentences, shown
from orchestrator.runs.report.scaling import render_curve
from orchestrator.runs.scaling import PARTS, Curve, Point, read_point
from tests.unit.runs import whole_records
from workers.errors import StorageError
from workers.records.run_folder import RunFolder
from workers.shards.order import most_shards
from workers.storage.typed_json import Json

SECONDS = {"data_s": 0.1, "compute_s": 0.5, "exchange_s": 0.2}


def run_with(folder: Path, records: list[Json]) -> RunFolder:
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(text)
    return RunFolder.at(str(folder))


def step(number: int, time: float, **values: object) -> Json:
    return whole_records.step(number, time=time, seconds=SECONDS, **values)


def test_steps_before_the_end_of_the_warm_up_are_not_counted(tmp_path: Path) -> None:
    records = [whole_records.start(), *(step(n, 10.0 * n) for n in (1, 2, 3))]
    point = read_point(run_with(tmp_path, records), 2, "w", warm_up=2)
    assert (point.workers, point.steps, point.rows) == (2, 1, 64)
    assert point.seconds == {
        "data": 0.1,
        "compute": 0.5,
        "exchange": 0.2,
        "other": pytest.approx(9.2),
    }
    assert point.samples_per_s == pytest.approx(6.4)


def test_a_restart_warms_up_again(tmp_path: Path) -> None:
    before = [whole_records.start(), *(step(n, float(n)) for n in (1, 2, 3))]
    after = [whole_records.start(3, 2), *(step(n, 50.0 + n) for n in (4, 5))]
    point = read_point(run_with(tmp_path, before + after), 1, "w", warm_up=1)
    assert point.steps == 3
    assert point.seconds["other"] == pytest.approx(3 * 0.2)


def test_a_validation_between_two_steps_is_no_part_of_a_step(tmp_path: Path) -> None:
    records = [step(1, 1.0), step(2, 2.0), whole_records.epoch(1, 2), step(3, 100.0, epoch=2)]
    point = read_point(run_with(tmp_path, records), 1, "w", warm_up=0)
    assert point.steps == 3
    assert sum(point.seconds.values()) == pytest.approx(0.8 + 1.0 + 0.8)


@pytest.mark.parametrize(
    "seconds",
    [None, {}, {"data_s": 1.0}, {**SECONDS, "compute_s": "long"}, {**SECONDS, "data_s": None}],
)
def test_a_run_without_the_seconds_of_its_steps_is_an_error(
    tmp_path: Path, seconds: object
) -> None:
    records = [whole_records.step(1, **({"seconds": seconds} if seconds is not None else {}))]
    with pytest.raises(StorageError, match="has no step after the first 0"):
        read_point(run_with(tmp_path, records), 1, "w", warm_up=0)


def curve(speeds: dict[int, float], exchange_s: float = 0.0, weights: str = "w" * 64) -> Curve:
    """Return a curve with these samples per second: one step of 100 rows each."""
    points = []
    for workers, speed in speeds.items():
        exchange = exchange_s if workers > 1 else 0.0
        compute = 100 / speed - exchange
        seconds = {"data": 0.0, "compute": compute, "exchange": exchange, "other": 0.0}
        points.append(Point(workers, f"job-workers{workers}", 1, 100, seconds, weights))
    return Curve(points, num_shards=8)


def test_speed_up_and_efficiency_are_those_beside_the_fewest_workers() -> None:
    found = curve({2: 200.0, 4: 300.0})
    last = found.points[-1]
    assert found.speed_up(last) == pytest.approx(1.5)
    assert found.efficiency(last) == pytest.approx(0.75)
    assert found.worth(*found.points) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("speeds", "up_to"),
    [
        ({1: 100.0}, 1),
        ({1: 100.0, 2: 200.0, 4: 400.0}, 4),
        ({1: 100.0, 2: 149.0, 4: 400.0}, 1),  # it is gone up step by step
        ({1: 100.0, 2: 190.0, 4: 280.0}, 2),
        ({1: 100.0, 2: 190.0, 4: 291.0, 8: 290.0}, 4),
    ],
)
def test_adding_workers_pays_while_each_brings_half_of_a_first_one(
    speeds: dict[int, float], up_to: int
) -> None:
    found = curve(speeds)
    assert found.points[found.last_that_pays].workers == up_to
    assert found.to_json()["pays_up_to"] == up_to


def test_what_loses_most_time_beside_an_equal_share_bounds_the_speed() -> None:
    # Of 1 s, two workers would need 0.5 s each. They need 0.9 s, of which 0.35 s is the exchange.
    assert curve({1: 100.0, 2: 100 / 0.9}, exchange_s=0.35).bound == "exchange"
    assert curve({1: 100.0, 2: 100 / 0.9}, exchange_s=0.05).bound == "compute"
    assert curve({1: 100.0, 2: 190.0}, exchange_s=0.02).bound == ""
    assert curve({1: 100.0}).bound == ""


def test_the_sentences_say_where_it_stops_and_why_and_that_the_weights_are_the_same() -> None:
    found = curve({1: 100.0, 2: 190.0, 4: 210.0}, exchange_s=0.2)
    where, why, weights = sentences(found)
    assert where.startswith("Adding workers pays up to 2: from 2 to 4, each one added brings 10%")
    assert why.startswith("With 4 workers, most time is lost by the exchange")
    assert weights == "The weights are the same for all numbers of workers: wwwwwwwwwwww."
    slower = sentences(curve({1: 100.0, 2: 90.0}))[0]
    assert slower.startswith("Adding workers does not pay: from 1 to 2, it becomes slower")
    below = sentences(curve({1: 100.0, 2: 149.7}))[0]
    assert "each one added brings 49% (the rule: at least 50%" in below
    assert "the most measured" in sentences(curve({1: 100.0, 2: 190.0}))[0]


def test_different_weights_are_said() -> None:
    same = curve({1: 100.0, 2: 190.0})
    other = Curve([same.points[0], curve({2: 190.0}, weights="v").points[0]], 8)
    assert sentences(other)[-1] == "The weights are not the same for all numbers of workers."
    assert other.to_json()["weights"] == "different"


def test_a_curve_of_which_no_run_succeeded_is_a_document_too() -> None:
    found = Curve([], 8).to_json()
    assert (found["points"], found["pays_up_to"], found["bound"]) == ([], None, None)


def test_a_curve_of_one_point_says_nothing_of_equal_weights_and_one_of_two_what_bounds_it() -> None:
    assert sentences(curve({1: 100.0})) == []
    found = curve({1: 100.0, 2: 100 / 0.9}, exchange_s=0.35).to_json()
    assert found["bound"] == {"part": "exchange", "workers": 2}


def test_what_is_printed_is_80_columns_wide() -> None:
    file = io.StringIO()
    console = Console(file=file, width=WIDTH)
    for part in shown(curve({1: 123456.0, 512: 1234567.0, 4096: 12345678.0}, exchange_s=1e-6)):
        console.print(part)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].split() == [
        "WORKERS",
        "SAMPLES/S",
        "SPEED-UP",
        "EFFICIENCY",
        *map(str.upper, PARTS),
    ]
    assert re.search(r"4096  #+\.+$", "\n".join(lines), re.MULTILINE)


def test_the_page_has_the_curve_the_parts_and_what_is_said() -> None:
    found = curve({1: 100.0, 2: 190.0}, exchange_s=0.1)
    page = render_curve(found, ["a <b> c"]).decode()
    assert "<h1>job: scaling</h1>" in page and "a &lt;b&gt; c" in page
    assert page.count('<figure class="chart">') == 2
    assert all(f">{part}</span>" in page for part in PARTS)
    assert "job-workers2" in page


@pytest.mark.parametrize(
    ("shards", "workers", "most"), [(8, 3, 3), (8, 4, 2), (8, 8, 1), (8, 5, 2)]
)
def test_the_worker_with_most_shards(shards: int, workers: int, most: int) -> None:
    assert most_shards(shards, workers) == most
