"""The page report.html, its figures, and the command `rnnjob report`."""

import json
import math
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.runs import RunStatus
from orchestrator.runs.report.axis import position_axis, value_axis
from orchestrator.runs.report.charts import HEIGHT, WIDTH, Series, chart
from orchestrator.runs.report.content import Predicted, Reported, WrongRow, read_reported
from orchestrator.runs.report.curves import thinned
from orchestrator.runs.report.html import MAX_RUNS, render, write_report
from orchestrator.runs.report.png import grey_png
from orchestrator.runs.report.sections import seconds_spent
from orchestrator.runs.report.split import histogram
from orchestrator.runs.report.tables import confusion_table
from orchestrator.runs.result import build_result
from tests.unit.folders import empty_run
from tests.unit.simulated import single, tiny_job, tiny_shape
from workers.errors import InputError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage
from workers.train import train

VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """A parser that checks that tags are nested well, and keeps text, tags and attributes, but
    no text of scripts and styles."""

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
        if not {"script", "style"} & set(self.open):
            self.text += data


def trained(folder: Path) -> Reported:
    job = tiny_job(folder / "run", data=tiny_shape(test_head_rows=5))
    result = train(job, single(job))
    run = RunFolder.at(job.run_uri)
    status = RunStatus("run", "SUCCEEDED", "local", workers=1)
    return read_reported(run, build_result(run, job, result, status, time.time()))


def empty(folder: Path, status: RunStatus) -> Reported:
    run = empty_run(folder / "empty")
    return Reported(build_result(run, None, None, status, time.time()), [], [])


def page_of(*reported: Reported) -> Page:
    return Page(render(reported).decode())


def test_the_page_of_a_run_shows_its_numbers(tmp_path: Path) -> None:
    run = trained(tmp_path)
    page = page_of(run)
    assert f"{run.result['test_accuracy']:.2%}" in page.text
    assert run.result["weights_sha256"] in page.text
    assert page.tags.count("svg") == 6  # five curves, and the workers
    assert "Epochs, and the account of the rows" in page.text
    assert "Where the time went" in page.text and "no restart" in page.text
    assert "first 5 test rows" in page.text
    assert "true class by row, predicted by column" in page.text


def test_the_page_of_a_run_that_never_began_has_no_charts_and_says_why(tmp_path: Path) -> None:
    page = page_of(empty(tmp_path, RunStatus("run", "FAILED", "ray", reason="no data")))
    assert "FAILED · no data · ray" in " ".join(page.text.split())
    assert "svg" not in page.tags
    assert "table" not in page.tags
    assert "weights none" in " ".join(page.text.split())


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    text = render([trained(tmp_path)]).decode()
    page = Page(text)
    assert "://" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert not {"link", "iframe"} & set(page.tags)
    assert not {"href"} & {name for name, _ in page.attributes}
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            "script-src 'unsafe-inline'") in page.attributes  # fmt: skip


def test_text_of_a_run_is_escaped_wherever_it_is(tmp_path: Path) -> None:
    evil = "</script><script>alert('&')</script>"
    status = RunStatus(evil, "FAILED", evil, reason=evil)
    run = empty(tmp_path, status)
    wrong = WrongRow(0, evil, evil, 0.5, tokens=(evil,))
    shown = replace(
        run,
        result={**run.result, "run_id": evil},
        restarts=[evil],
        spec={evil: evil},
        provenance={evil: evil},
        test=Predicted(1, 1, (wrong,)),
    )
    page = page_of(shown)
    assert page.text.count(evil) >= 8
    assert page.tags.count("script") == 1
    series = chart("Loss", "step", [Series(evil, 0, [(1, 1.0)])])
    assert Page(series).tags.count("script") == 1


def test_the_report_is_written_into_the_run_folder(tmp_path: Path) -> None:
    reported = trained(tmp_path)
    run = empty_run(tmp_path / "run")
    write_report(run, reported.result)
    assert run.storage.read("report.html") == render([reported])


def test_several_runs_share_their_curves_and_have_parts_of_their_own(tmp_path: Path) -> None:
    first = trained(tmp_path)
    others = [replace(first, result={**first.result, "run_id": name}) for name in ("b", "c")]
    page = page_of(first, *others)
    assert page.tags.count("svg") == 5 + 3  # the workers of each
    assert page.tags.count("summary") == 3 + 3  # each run, and each origin
    assert "dashed: validation" in page.text


def test_runs_of_different_tasks_and_too_many_runs_are_refused(tmp_path: Path) -> None:
    run = trained(tmp_path)
    other = {**run.result, "run_id": "n", "test_accuracy": None, "test_mae": 0.5}
    with pytest.raises(InputError, match=r"accuracy.*mae.*different tasks"):
        render([run, replace(run, result=other)])
    with pytest.raises(InputError, match="do not fit one report"):
        render([run] * (MAX_RUNS + 1))


def test_restarts_are_marked_and_told(tmp_path: Path) -> None:
    run = trained(tmp_path)
    phase = {"attempt": 1, "workers": 2, "from_step": 0, "steps": 3, "seconds": 4.0,
             "repeated_steps": 0, "idle_s": 0.0}  # fmt: skip
    again = {**phase, "attempt": 2, "workers": 1, "from_step": 3, "idle_s": 2.0}
    result = {**run.result, "phases": [phase, again], "wall_s": 12.0}
    shown = replace(run, result=result, restarts=["12:00 worker: killed"])
    page = page_of(shown)
    assert "1 restart(s), marked" in page.text and "start 2 at step 3" in page.text
    assert "12:00 worker: killed" in page.text
    assert seconds_spent(shown)["restarts"] == 2.0
    assert seconds_spent(shown)["start and end"] == 12.0 - 4.0 - 4.0 - 2.0


def test_mistakes_are_pictures_lines_or_tokens(tmp_path: Path) -> None:
    run = trained(tmp_path)
    rows = (
        WrongRow(7, "4", "9", 0.99, pixels=bytes(6), width=3),
        WrongRow(8, "4", "9", 0.9, curves=((0.0, 1.0), (2.0, 3.0))),
        WrongRow(9, "4", "9", 0.8, tokens=("a", "b")),
    )
    page = page_of(replace(run, test=Predicted(20, 5, rows, ("speed",))))
    assert "speed" in page.text
    assert page.tags.count("img") == 1 and "3 of 5 mistakes in 20 test rows" in page.text
    assert ("alt", "4, taken for 9 (99.0%)") in page.attributes
    assert "a b" in page.text
    assert (
        "No test rows are shown: it is not here."
        in page_of(replace(run, test="it is not here")).text
    )


def test_numbers_are_drawn_against_their_predictions(tmp_path: Path) -> None:
    run = trained(tmp_path)
    result = {**run.result, "per_class": None, "confusion_matrix": None}
    pairs = ((1.0, 1.5), (2.0, 1.5), (3.0, 3.5))
    page = page_of(replace(run, result=result, test=Predicted(3, pairs=pairs)))
    assert "Predicted against true" in page.text and "Residuals" in page.text
    assert page.tags.count("circle") >= 3 and page.tags.count("rect") == 30


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_a_histogram_counts_each_value_once(values: list[float]) -> None:
    bars = histogram(values)
    assert sum(count for _, count in bars) == len(values)


def test_a_long_run_is_thinned_to_means_with_their_ranges() -> None:
    points = [(float(n), float(n % 2)) for n in range(1, 10_001)]
    means, band = thinned(points)
    assert 300 <= len(means) <= 400
    assert means[-1] == (10_000.0, pytest.approx(0.5, abs=0.1))
    assert all((low, high) == (0.0, 1.0) for _, low, high in band)
    assert thinned(points[:5]) == (points[:5], [])


def test_50000_steps_are_a_small_page_within_seconds(tmp_path: Path) -> None:
    run = trained(tmp_path)
    steps = [
        {"kind": "step", "step": n, "loss": 2.0 / n, "lr": 0.1, "gradient_norm": 1.0 + n % 7}
        for n in range(1, 50_001)
    ]
    epochs = [{**run.result["history"][0], "epoch": n, "step": 500 * n} for n in range(1, 101)]
    long = replace(run, steps=steps, result={**run.result, "history": epochs})
    started = time.process_time()
    page = render([long])
    assert time.process_time() - started < 5
    assert len(page) < 500_000


def test_a_chart_without_points_is_empty() -> None:
    assert chart("Loss", "step", [Series("a", 0, [])]) == ""


def test_a_chart_names_its_series_and_spans_its_points() -> None:
    figure = chart("Loss & co", "step", [Series("<a>", 0, [(1, 0.5), (9, 2.5)])])
    page = Page(figure)
    assert "Loss & co" in page.text
    assert "<a>" in page.text
    (points,) = [value or "" for name, value in page.attributes if name == "points"]
    assert points == "50.0,198.0 388.0,12.0"
    data = json.loads(figure.partition('json">')[2].partition("</script>")[0])
    assert data["series"][0]["points"] == [[50.0, 198.0, "1", "0.5"], [388.0, 12.0, "9", "2.5"]]


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
    st.sampled_from([2.0, 200.0, math.inf]),
)
def test_any_finite_points_make_a_chart_inside_its_frame(
    points: list[tuple[float, float]], percent: bool, log_ratio: float
) -> None:
    figure = chart("L", "step", [Series("a", 0, points)], percent=percent, log_ratio=log_ratio)
    (drawn,) = [value or "" for name, value in Page(figure).attributes if name == "points"]
    for point in drawn.split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e308])
def test_points_that_are_not_finite_are_left_out_of_a_chart(bad: float) -> None:
    """A run that diverged needs a report, too."""
    good: list[tuple[float, float]] = [(1, 0.5), (2, 2.5)]
    with_bad = chart("Loss", "step", [Series("a", 0, [*good, (3, bad)])])
    assert with_bad == chart("Loss", "step", [Series("a", 0, good)])
    assert chart("Loss", "step", [Series("a", 0, [(3, bad)])]) == ""


def test_ticks_are_round_numbers() -> None:
    assert value_axis([0.13, 0.92]).ticks == (0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0)
    assert value_axis([0.0, 2.0], whole=True).ticks == (0.0, 1.0, 2.0)
    assert value_axis([1e-4, 2.0], log_ratio=200).ticks[0] == 1e-4
    assert position_axis([1, 50_000]).ticks == (20_000.0, 40_000.0)
    assert position_axis([1, 1]).ticks
    assert position_axis([1, 2]).ticks == (1.0, 2.0)


def test_the_confusion_table_tints_mistakes_by_their_share() -> None:
    table = confusion_table([[5, 2, 0], [0, 7, 4], [0, 0, 9]], ["0", "1", "2"])
    Page(table)
    assert table.count('class="right"') == 3
    assert '<td class="wrong" style="--share:0.50">2</td>' in table
    assert '<td class="wrong" style="--share:1.00">4</td>' in table
    assert table.count('class="none"') == 4


def test_a_picture_is_a_png_with_these_pixels() -> None:
    import torch
    from torchvision.io import decode_png

    pixels = bytes(range(6))
    image = decode_png(torch.frombuffer(bytearray(grey_png(pixels, 3)), dtype=torch.uint8))
    assert image.tolist() == [[[0, 1, 2], [3, 4, 5]]]


def report(*arguments: str) -> Result:
    return CliRunner().invoke(main, ("report", *arguments))


def test_runs_that_go_on_or_have_no_metrics_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = runs.create_run(Storage(str(tmp_path / "runs")), "r", "name: r\n", "local")
    going = report("r")
    assert (going.exit_code, "r is QUEUED" in going.stderr) == (2, True)
    assert "rnnjob wait r" in going.stderr
    status = RunStatus("r", runs.FAILED, "local", exit_code=1)
    run.write_json(run.RESULT, build_result(run, None, None, status, time.time()))
    runs.write_status(run, status)
    ended = report("r")
    assert (ended.exit_code, "r is FAILED and has no metrics" in ended.stderr) == (2, True)
    assert "rnnjob why r" in ended.stderr
    assert not run.storage.exists(run.REPORT) and not Path("report.html").exists()
