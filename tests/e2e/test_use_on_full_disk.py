"""`predict`, `export` and `evaluate` on a full disk: a cause, a cure, nothing half-written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.e2e.test_evaluate import run_here
from tests.e2e.test_predict import digits
from tests.small_disk import fill, mounted

ROOM = 40_000
"""Less than the predictions and any form of the model take."""


@pytest.fixture(scope="module")
def disk(module_rnnjob: Cli) -> Iterator[Path]:
    """A run on a small disk, which is full now."""
    digits(module_rnnjob.cwd / "digits.parquet")
    with mounted(module_rnnjob.cwd / "disk", "size=16m") as disk:
        job = ("--run-id", "r", "--dataset", "mnist-sample", "--epochs", "1", "-q")
        done = module_rnnjob("submit", "--local", *job, "--storage", "disk/runs")
        assert done.exit_code == 0, done.stderr
        fill(disk, ROOM)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(module_rnnjob.cwd)
            patch.setenv("RNNJOB_STATE_DIR", module_rnnjob.environment["RNNJOB_STATE_DIR"])
            patch.setenv("RNNJOB_CACHE_DIR", module_rnnjob.environment["RNNJOB_CACHE_DIR"])
            yield disk


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "r", "digits.parquet", "-o", "disk/p.jsonl"),
        ("predict", "r", "digits.parquet", "-o", "disk/p.parquet"),
        ("export", "r", "--format", "safetensors", "-o", "disk/out"),
        ("export", "r", "--format", "bundle", "-o", "disk/out"),
        ("export", "r", "--format", "torchscript", "-o", "disk/out"),
        ("evaluate", "r", "--workers", "2"),
    ],
    ids=lambda command: " ".join(command),
)
def test_a_full_disk_is_named_and_nothing_is_left_on_it(
    disk: Path, command: tuple[str, ...]
) -> None:
    before = files_of(disk)
    done = run_here(*command, "--storage", "disk/runs")
    assert done.exit_code == 1
    cause, cure = done.stderr.strip().splitlines()
    assert "cannot write" in cause and "No space left on device" in cause
    assert cure.startswith("Try: ") and "room" in cure
    assert files_of(disk) == before


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
