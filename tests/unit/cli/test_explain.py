"""`rnnjob explain`: what it prints and writes, and what it refuses."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.runs import RunStatus
from orchestrator.runs.result import build_result
from tests.unit.trained.runs import train
from workers.storage.storage import Storage


def rnnjob(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the runs `a` and `b`, which is the working directory."""
    path = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("RNNJOB_CACHE_DIR", str(path / "cache"))
        patch.setenv("RNNJOB_STATE_DIR", str(path / "state"))
        train("a", "mnist-sample", training__epochs=1)
        train("b", "mnist-sample", training__epochs=1, model__cell="gru", model__read="columns")
        yield path


def files(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*")}


def test_a_run_is_explained_and_its_folder_is_only_read(folder: Path) -> None:
    before = files(folder / "runs")
    done = rnnjob("explain", "a", "--rows", "20")
    assert done.exit_code == 0, done.stderr
    assert "a: LSTM, 8 units, back-propagation full" in done.stdout
    assert "read: the first 20 rows of the test split of mnist-sample" in done.stdout
    assert "forget gate" in done.stdout and "cell state" in done.stdout
    assert files(folder / "runs") == before
    assert rnnjob("explain", "a", "--rows", "20").stdout == done.stdout


def test_all_rows_end_with_the_accuracy_of_an_evaluation(folder: Path) -> None:
    found = json.loads(rnnjob("explain", "a", "--rows", "100000", "--row", "3", "--json").stdout)
    (run,) = found["runs"]
    evaluated = json.loads(rnnjob("evaluate", "a", "--json").stdout)
    assert run["num_rows"] == evaluated["rows"]
    assert run["scores"][-1] == pytest.approx(evaluated["accuracy"])
    assert run["unrolled"]["number"] == 3 and len(run["unrolled"]["states"]) == 28
    assert {curve["of"] for curve in run["gradients"]} == {"hidden state", "cell state"}


def test_rows_are_those_of_the_split_in_its_order(folder: Path) -> None:
    from orchestrator.datasets.prepare import prepare

    data = prepare("mnist-sample", None, 16)
    wanted = [
        data.table("test", number % 16).column("label")[number // 16].as_py()
        for number in range(40)
    ]
    found = [
        json.loads(rnnjob("explain", "a", "--rows", "1", "--row", str(n), "--json").stdout)
        for n in (0, 5, 39)
    ]
    assert [int(each["runs"][0]["unrolled"]["truth"]) for each in found] == [
        wanted[n] for n in (0, 5, 39)
    ]


def test_the_page_and_the_figures_are_written_where_it_is_said(folder: Path) -> None:
    done = rnnjob("explain", "a", "b", "--rows", "9", "-o", "e.html", "--figures", "pictures")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.endswith("wrote e.html\nwrote pictures\n")
    assert "While it reads" in (folder / "e.html").read_text()
    names = {file.name for file in (folder / "pictures").iterdir()}
    assert names == {
        "gradient.svg", "accuracy.svg", "gates-a.svg", "gates-b.svg", "unrolled-a.svg",
        "unrolled-b.svg",
    }  # fmt: skip
    (folder / "pictures" / "mine.txt").write_text("mine")
    taken = rnnjob("explain", "a", "--figures", "pictures", "--force")
    assert (taken.exit_code, "pictures is nothing that this" in taken.stderr) == (2, True)
    taken = rnnjob("explain", "a", "-o", "e.html")
    assert (taken.exit_code, "e.html exists" in taken.stderr) == (2, True)


def test_a_report_has_the_section_on_demand(folder: Path) -> None:
    done = rnnjob("report", "b", "--explain", "-o", "r.html")
    assert done.exit_code == 0, done.stderr
    text = (folder / "r.html").read_text()
    assert "While it reads" in text and "Gates of the GRU" in text
    assert "While it reads" not in (folder / "runs" / "b" / "report.html").read_text()


def refused(*arguments: str) -> tuple[str, str]:
    done = rnnjob("explain", *arguments)
    assert done.exit_code == 2, done.output
    cause, cure = done.stderr.splitlines()
    assert cause.startswith("Error: ") and cure.startswith("Try: ")
    return cause, cure


def test_what_cannot_be_explained_is_refused_with_a_cure(folder: Path) -> None:
    cause, cure = refused("a", "--row", "100000")
    assert "--row is 100000" in cause and "from 0 to" in cure
    run = runs.create_run(Storage(str(folder / "runs")), "r", "name: r\n", "local")
    cause, cure = refused("r")
    assert "r is QUEUED: it is explained when it has ended" in cause
    assert "rnnjob wait r" in cure
    status = RunStatus("r", runs.FAILED, "local", exit_code=1)
    run.write_json(run.RESULT, build_result(run, None, None, status, time.time()))
    runs.write_status(run, status)
    cause, cure = refused("r")
    assert "r is FAILED and has no metrics" in cause and "rnnjob why r" in cure
