"""rnnjob explain, for each kind of data and model, and what keeps no state through time."""

import shutil
from pathlib import Path

import pytest

from tests.chromium import Tab, in_chromium
from tests.conftest import ROOT, Cli
from tests.e2e.export_runs import PACKAGE, PARTS, RUNS, SMALL, rows
from tests.report_pages import check_page

FIGURES = {"images": 4, "vectors": 5, "tokens": 5, "numbers": 5, "own": 3}
"""How many figures each run has: with two directions, gates of both."""
WORDS = {
    "images": "forget gate",
    "vectors": "backwards cell state",
    "tokens": "backwards output gate",
    "numbers": "MAE by steps read",
    "own": "a model of your own",
}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def work(module_rnnjob: Cli) -> Cli:
    folder = module_rnnjob.cwd
    rows(folder / "rows.parquet")
    shutil.copy(ROOT / "examples" / "conv_gru.py", folder / "net.py")
    (folder / "nets").mkdir()
    quiet = PACKAGE.replace('print("this must not reach stdout")', "")
    (folder / "nets" / "mean.py").write_text(quiet)
    (folder / "nets" / "parts.py").write_text(PARTS)
    (folder / "nets" / "__init__.py").write_text("")
    for run_id in (*FIGURES, "package"):
        done = module_rnnjob("submit", "--local", "--run-id", run_id, *RUNS[run_id], *SMALL)
        assert done.exit_code == 0, done.stderr
    return module_rnnjob


def test_runs_of_each_kind_are_explained_and_their_pages_work(work: Cli, tmp_path: Path) -> None:
    for kind in FIGURES:
        done = work("explain", kind, "--rows", "40", "-o", f"{kind}.html")
        assert done.exit_code == 0, done.stderr
        assert WORDS[kind] in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80

    async def look(tab: Tab) -> None:
        for kind, number in FIGURES.items():
            assert await check_page(tab, work.cwd / f"{kind}.html") == number, kind

    in_chromium(tmp_path / "profile", look)


def test_a_model_that_keeps_no_state_through_time_is_refused(work: Cli) -> None:
    done = work("explain", "package", "-o", "package.html")
    assert done.exit_code == 2
    assert "the model keeps no state through time" in done.cause
    assert "model.cell" in done.cure
    assert not (work.cwd / "package.html").exists()


def test_runs_of_different_tasks_are_refused(work: Cli) -> None:
    done = work("explain", "images", "numbers", "--figures", "figures")
    assert done.exit_code == 2
    assert "images has the metric accuracy and numbers MAE" in done.cause
    assert not (work.cwd / "figures").exists()
