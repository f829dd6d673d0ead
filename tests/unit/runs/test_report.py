"""The page report.html and its charts."""

import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.runs import RunStatus
from orchestrator.runs.report.charts import Series, confusion_table, line_chart
from orchestrator.runs.report.html import render, write_report
from orchestrator.runs.result import build_result
from tests.unit.folders import empty_run
from tests.unit.simulated import single, tiny_job, tiny_shape
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json
from workers.train import train

VOID = {"meta", "br", "line", "polyline", "circle"}


class Page(HTMLParser):
    """A parser that checks that tags are nested well, and keeps text, tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def trained(folder: Path) -> tuple[Json, list[Json]]:
    job = tiny_job(folder / "run", data=tiny_shape(test_head_rows=5))
    result = train(job, single(job))
    run = RunFolder.at(job.run_uri)
    status = RunStatus("run", "SUCCEEDED", "local", workers=1)
    return build_result(run, job, result, status, time.time()), run.read_metrics()


def empty(folder: Path, status: RunStatus) -> Json:
    run = empty_run(folder / "empty")
    return build_result(run, None, None, status, time.time())


def test_the_page_of_a_run_shows_its_numbers(tmp_path: Path) -> None:
    result, records = trained(tmp_path)
    page = Page(render(result, records))
    assert f"{result['test_accuracy']:.2%}" in page.text
    assert result["weights_sha256"] in page.text
    assert page.tags.count("svg") == 4
    assert page.text.count("Epochs") == 1
    assert "first 5 test rows" in page.text
    assert "true class by row, predicted by column" in page.text
    assert page.tags.count("tr") == (1 + 2) + (1 + 3) + (1 + 3)  # epochs, classes, confusion


def test_the_page_of_a_run_that_never_began_has_no_charts_and_says_why(tmp_path: Path) -> None:
    page = Page(render(empty(tmp_path, RunStatus("run", "FAILED", "ray", reason="no data")), []))
    assert "FAILED · no data · ray" in " ".join(page.text.split())
    assert "svg" not in page.tags
    assert "table" not in page.tags
    assert "weights none" in " ".join(page.text.split())


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(tmp_path: Path) -> None:
    text = render(*trained(tmp_path))
    page = Page(text)
    assert "://" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}


def test_ids_reasons_and_modes_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('&')</script>"
    status = RunStatus(evil, "FAILED", evil, reason=evil)
    result = {**empty(tmp_path, status), "run_id": evil}
    text = render(result, [])
    assert "<script" not in text
    page = Page(text)
    assert page.text.count(evil) == 4  # title, heading, reason, mode


def test_the_report_is_written_into_the_run_folder(tmp_path: Path) -> None:
    result, records = trained(tmp_path)
    run = empty_run(tmp_path / "run")
    write_report(run, result)
    assert run.storage.read("report.html").decode() == render(result, records)


def test_a_long_run_is_thinned_to_a_few_hundred_points(tmp_path: Path) -> None:
    result = empty(tmp_path, RunStatus("run", "FAILED"))
    records = [
        {"kind": "step", "step": n, "loss": 1.0 / n, "lr": 0.1, "gradient_norm": 1.0}
        for n in range(1, 10_001)
    ]
    page = Page(render(result, records))
    lines = [value or "" for name, value in page.attributes if name == "points"]
    assert len(lines) == 3
    assert all(300 <= len(line.split()) <= 400 for line in lines)


def test_a_chart_without_points_is_empty() -> None:
    assert line_chart("Loss", "step", [Series("a", "a", [])]) == ""


def test_a_chart_names_its_series_and_spans_its_points() -> None:
    figure = line_chart("Loss & co", "step", [Series("<a>", "a", [(1, 0.5), (9, 2.5)])])
    page = Page(figure)
    assert "Loss & co" in page.text
    assert "<a>" in page.text
    (points,) = [value or "" for name, value in page.attributes if name == "points"]
    assert points == "52.0,186.0 448.0,14.0"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.floats(-1e299, 1e299, allow_nan=False) | st.sampled_from([5e-324, 0.0, -1e-310]),
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_any_finite_points_make_a_chart_inside_its_frame(
    points: list[tuple[float, float]], percent: bool
) -> None:
    page = Page(line_chart("Loss", "step", [Series("a", "a", points)], percent))
    (drawn,) = [value or "" for name, value in page.attributes if name == "points"]
    for point in drawn.split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= 460
        assert 0 <= y <= 220


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e308])
def test_points_that_are_not_finite_are_left_out_of_a_chart(bad: float) -> None:
    """A run that diverged needs a report, too."""
    good: list[tuple[float, float]] = [(1, 0.5), (2, 2.5)]
    with_bad = line_chart("Loss", "step", [Series("a", "a", [*good, (3, bad)])])
    assert with_bad == line_chart("Loss", "step", [Series("a", "a", good)])
    assert line_chart("Loss", "step", [Series("a", "a", [(3, bad)])]) == ""


def test_the_confusion_table_tints_mistakes_by_their_share() -> None:
    table = confusion_table([[5, 2, 0], [0, 7, 4], [0, 0, 9]], ["0", "1", "2"])
    Page(table)
    assert table.count('class="right"') == 3
    assert '<td class="wrong" style="--share:0.50">2</td>' in table
    assert '<td class="wrong" style="--share:1.00">4</td>' in table
    assert table.count('class="none"') == 4
