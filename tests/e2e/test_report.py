"""rnnjob report, for each kind of data and model, and its pages in a real browser."""

import shutil
from pathlib import Path

import pytest

from tests.chromium import Tab, in_chromium
from tests.conftest import ROOT, Cli
from tests.e2e.export_runs import RUNS, SMALL, rows
from tests.report_pages import check_page

KINDS = ("images", "vectors", "tokens", "numbers", "own")
CURVES = 5
WORDS = {
    "images": "Most confidently wrong",
    "vectors": "Most confidently wrong",
    "tokens": "Most confidently wrong",
    "numbers": "Predicted against true",
    "own": "Most confidently wrong",
}

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def work(module_rnnjob: Cli) -> Cli:
    """A folder with a run of each kind, and their reports."""
    folder = module_rnnjob.cwd
    rows(folder / "rows.parquet")
    shutil.copy(ROOT / "examples" / "conv_gru.py", folder / "net.py")
    for run_id in KINDS:
        done = module_rnnjob("submit", "--local", "--run-id", run_id, *RUNS[run_id], *SMALL)
        assert done.exit_code == 0, done.stderr
        made = module_rnnjob("report", run_id)
        assert made.stdout == f"wrote {folder}/runs/{run_id}/report.html\n", made.stderr
    return module_rnnjob


def page_of(work: Cli, run_id: str) -> Path:
    return work.cwd / "runs" / run_id / "report.html"


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_shows_the_test_rows_of_any_kind(work: Cli, kind: str) -> None:
    text = page_of(work, kind).read_text()
    assert WORDS[kind] in text and "No test rows are shown" not in text
    assert "svg" in text and "Where the time went" in text


def test_the_pages_work_in_a_browser(work: Cli, tmp_path: Path) -> None:
    several = work("report", "images", "own", "-o", "several.html")
    assert several.exit_code == 0, several.stderr

    async def look(tab: Tab) -> None:
        for kind in KINDS:
            more = 2 if kind == "numbers" else 0
            assert await check_page(tab, page_of(work, kind)) == CURVES + 1 + more
        assert await check_page(tab, work.cwd / "several.html") == CURVES + 2

    in_chromium(tmp_path / "profile", look)


def test_what_cannot_be_one_report_is_refused_and_nothing_is_written(work: Cli) -> None:
    mixed = work("report", "images", "numbers", "-o", "mixed.html")
    assert mixed.exit_code == 2
    assert mixed.cause == (
        "images has the metric accuracy and numbers mae: they are runs of different tasks"
    )
    assert not (work.cwd / "mixed.html").exists()
    (work.cwd / "mine.html").write_text("mine")
    taken = work("report", "images", "own", "-o", "mine.html")
    assert (taken.exit_code, taken.cause) == (2, "mine.html exists")
    assert (work.cwd / "mine.html").read_text() == "mine"


def test_without_the_data_a_report_says_so(work: Cli) -> None:
    (work.cwd / "rows.parquet").rename(work.cwd / "away.parquet")
    try:
        done = work("report", "vectors", "-o", "without.html")
        assert done.exit_code == 0, done.stderr
        text = (work.cwd / "without.html").read_text()
        assert "No test rows are shown: " in text and "rows.parquet" in text
        assert "Test split by class" in text
    finally:
        (work.cwd / "away.parquet").rename(work.cwd / "rows.parquet")
