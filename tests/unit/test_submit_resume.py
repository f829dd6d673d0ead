"""rnnjob submit --resume: what a run that is there already is not given."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import runs
from orchestrator.cli import main
from tests.unit.fakes import tiny_spec
from workers.run_folder import RunFolder
from workers.storage import Storage


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """One that was stopped."""
    monkeypatch.chdir(tmp_path)
    text = tiny_spec(tmp_path).to_yaml()
    run = runs.create_run(Storage(str(tmp_path / "runs")), "r", text, "local")
    status = replace(runs.read_status(run), state=runs.STOPPED, exit_code=5, ended_at=2.0)
    runs.write_status(run, status)
    return run


def resume(*flags: str) -> Result:
    return CliRunner().invoke(main, ["submit", "--resume", "r", *flags])


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        (["--lr", "0.5"], "training.optimizer.lr would change the result of r"),
        (["--metric", "validation_loss"], "training.metric would change"),
        (["--seed", "3", "--batch-size", "24"], "training.global_batch_size, training.seed would"),
        (["--set", "model.cell=gru"], "model.cell would change"),
        (["-c", "job.yaml"], "--resume takes up r as it was submitted, and no --config"),
        (["--preset", "seed"], "and no --preset"),
        (["--run-id", "s"], "and no --run-id"),
        (["--name", "s"], "and no --name"),
        (["--mode", "max"], "and no --mode"),
        (["--dry-run"], "and no --dry-run"),
        (["--print-config"], "and no --print-config"),
        (["--local", "--workers", "2"], "--local is one process"),
        (["--no-wait"], "--no-wait needs a cluster"),
        (["--keep-latest", "0"], "checkpoint.keep_latest is 0"),
    ],
)
def test_what_would_make_it_another_run_is_refused(
    run: RunFolder, flags: list[str], cause: str
) -> None:
    job, status = run.storage.read(run.JOB), run.storage.read(run.STATUS)
    done = resume(*flags)
    assert done.exit_code == 2
    assert cause in done.stderr and "Try: " in done.stderr
    assert (run.storage.read(run.JOB), run.storage.read(run.STATUS)) == (job, status)


def test_a_run_that_is_not_there_is_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resume().exit_code == 4
