"""rnnjob submit --resume: the flags that it refuses for an existing run."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import runs
from orchestrator.cli import main
from tests.unit.fakes import tiny_spec
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that was stopped."""
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
        (["-c", "job.yaml"], "--resume continues r as it was submitted and takes no --config"),
        (["--preset", "seed"], "and takes no --preset"),
        (["--run-id", "s"], "and takes no --run-id"),
        (["--name", "s"], "and takes no --name"),
        (["--mode", "max"], "and takes no --mode"),
        (["--dry-run"], "and takes no --dry-run"),
        (["--print-config"], "and takes no --print-config"),
        (["--local", "--workers", "2"], "--local is one process"),
        (["--no-wait"], "--no-wait needs a cluster"),
        (["--keep-latest", "0"], "checkpoint.keep_latest is 0"),
    ],
)
def test_flags_that_would_make_it_another_run_are_refused(
    run: RunFolder, flags: list[str], cause: str
) -> None:
    job, status = run.storage.read(run.JOB), run.storage.read(run.STATUS)
    done = resume(*flags)
    assert done.exit_code == 2
    assert cause in done.stderr and "Try: " in done.stderr
    assert (run.storage.read(run.JOB), run.storage.read(run.STATUS)) == (job, status)


def test_a_run_that_does_not_exist_exits_with_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resume().exit_code == 4
