"""The promise for what people train on: vectors, numbers to predict, tokens, models of their own.

One process and any number of Ray's workers give the same weights, and so does a run that was killed
and goes on with another number of workers.
"""

import functools
import shutil
import signal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.conftest import ROOT, Cli, wait_for
from tests.unit.datasets.tables.made import write
from workers.records.run_folder import RunFolder

TRAIN_ROWS, TEST_ROWS, EPOCHS = 120, 30, 20
NUM_ROWS = TRAIN_ROWS + 2 * TEST_ROWS
JOB = [
    "submit", "--json", "--precision", "fp32", "--epochs", str(EPOCHS), "--batch-size", "20",
    "--set", "dataset.num_shards=5",
]  # fmt: skip
OWN = ["--model", "net.py:ConvGru", "--set", "model.init_args={hidden: 12, dropout: 0.2}"]
KINDS: dict[str, list[str]] = {
    "vectors": [
        "--target",
        "kind",
        "--inputs",
        "steps",
        "--set",
        "model.bidirectional=true",
        "--set",
        "augment.noise=0.1",
        "--set",
        "augment.offset=0.2",
        "--set",
        "model.pooling=mean-max",
    ],
    "numbers": ["--target", "mean", "--inputs", "steps", "--set", "model.dropout=0.1"],
    "tokens": ["--target", "kind", "--inputs", "words", "--set", "model.embedding_size=4"],
    "own": ["--target", "kind", "--inputs", "steps", *OWN],
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def sequences() -> pa.Table:
    """Return sequences of many lengths: vectors, tokens, a class and a number to predict."""
    random = np.random.default_rng(0)
    kinds = random.integers(0, 2, NUM_ROWS)
    steps = [random.normal(kind, 1.0, size=(random.integers(2, 20), 3)) for kind in kinds]
    splits = ["train"] * TRAIN_ROWS + ["validation", "test"] * TEST_ROWS
    return pa.table(
        {
            "steps": [each.tolist() for each in steps],
            "words": [["low" if step[0] < 0.5 else "high" for step in each] for each in steps],
            "kind": [("calm", "lively")[kind] for kind in kinds],
            "mean": [float(each.mean()) for each in steps],
            "split": splits,
        }
    )


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli) -> Cli:
    """Commands in a folder with a model and rows."""
    shutil.copy(ROOT / "examples" / "conv_gru.py", module_rnnjob.cwd / "net.py")
    write(module_rnnjob.cwd / "rows.parquet", sequences())
    return module_rnnjob


def job(kind: str) -> list[str]:
    return [*JOB, "--dataset", "parquet:rows.parquet", *KINDS[kind]]


def weights_of(cli: Cli, kind: str, *arguments: str) -> str:
    """Train, and return the hash of the weights."""
    done = cli(*job(kind), *arguments)
    assert done.exit_code == 0, done.stderr
    check(done.json)
    return str(done.json["weights_sha256"])


def check(result: Any) -> None:
    """Check that each row was used once in each epoch."""
    account = result["data_account"]
    assert [epoch["rows_seen"] for epoch in account] == [TRAIN_ROWS] * EPOCHS
    assert not any(epoch["rows_seen_twice"] + epoch["rows_dropped"] for epoch in account)
    assert result["test_rows"] == TEST_ROWS
    score = "test_mae" if result["test_accuracy"] is None else "test_accuracy"
    assert result[score] is not None


@pytest.fixture(scope="module")
def alone(cli: Cli) -> "Alone":
    return Alone(cli)


class Alone:
    """The weights from one process without Ray, computed once for each kind that is asked for."""

    def __init__(self, cli: Cli) -> None:
        self._weights = functools.cache(lambda kind: weights_of(cli, kind, "--local"))

    def __getitem__(self, kind: str) -> str:
        return self._weights(kind)


@pytest.mark.long
@EVERY_KIND
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_any_number_of_workers_gives_the_weights_of_one_process(
    cli: Cli, alone: Alone, kind: str, workers: int, no_process_left: None
) -> None:
    assert weights_of(cli, kind, "--workers", str(workers)) == alone[kind]


@pytest.mark.parametrize(
    ("kind", "workers"),
    [
        ("vectors", 2),
        ("tokens", 5),
        pytest.param("numbers", 3, marks=pytest.mark.long),
        pytest.param("own", 5, marks=pytest.mark.long),
    ],
)
def test_a_killed_run_goes_on_with_another_number_of_workers(
    cli: Cli, alone: Alone, kind: str, workers: int, no_process_left: None
) -> None:
    run = RunFolder.at(str(cli.cwd / "runs" / kind))
    process = cli.start(*job(kind), "--local", "--checkpoint-every", "5", "--run-id", kind)
    wait_for(lambda: any(record["step"] > 10 for record in run.read_metrics()))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = cli("resume", kind, "--workers", str(workers), "--json")
    assert done.exit_code == 0, done.stderr
    check(done.json)
    assert done.json["weights_sha256"] == alone[kind]
    assert done.json["attempts"] == 2, "it had not ended when it was killed"
