"""Rows that do not fit the memory budget are streamed, and change nothing but the memory."""

import json
import signal
from pathlib import Path

import pytest

from tests.conftest import Cli, wait_for

WINDOW = ["--set", "dataset.window=256"]
BUDGET = ["--set", "dataset.memory_budget=2500KB"]
JOB = [
    "submit", "--json", "--dataset", "mnist-sample", "--epochs", "2", "--batch-size", "120",
    "--set", "dataset.num_shards=5", *WINDOW,
]  # fmt: skip


@pytest.fixture(scope="module")
def held_weights(module_rnnjob: Cli) -> str:
    """The hash of the weights from one process that holds all rows."""
    done = module_rnnjob(*JOB, "--local")
    assert done.exit_code == 0, done.stderr
    return str(done.json["weights_sha256"])


def test_one_process_that_streams_comes_to_the_weights_of_one_that_holds_its_rows(
    module_rnnjob: Cli, held_weights: str
) -> None:
    done = module_rnnjob(*JOB, *BUDGET, "--local")
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"] == held_weights
    assert [epoch["rows_seen"] for epoch in done.json["data_account"]] == [3667, 3667]
    whole_shards = module_rnnjob(*JOB, "--set", "dataset.window=null", "--local")
    assert whole_shards.json["weights_sha256"] != held_weights


@pytest.mark.parametrize(
    "workers",
    [pytest.param(1, marks=pytest.mark.long), 2, pytest.param(3, marks=pytest.mark.long)],
)
def test_workers_on_ray_that_stream_come_to_the_same_weights(
    module_rnnjob: Cli, held_weights: str, workers: int, no_process_left: None
) -> None:
    budget = {1: "2500KB", 2: "1500KB", 3: "1000KB"}[workers]
    budget_of_each = ["--set", f"dataset.memory_budget={budget}"]
    done = module_rnnjob(*JOB, *budget_of_each, "--workers", str(workers))
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"] == held_weights
    assert [epoch["rows_seen"] for epoch in done.json["data_account"]] == [3667, 3667]


@pytest.mark.long
def test_a_run_that_is_killed_in_mid_epoch_goes_on_to_the_same_weights(
    module_rnnjob: Cli, held_weights: str
) -> None:
    process = module_rnnjob.start(
        *JOB, *BUDGET, "--local", "--run-id", "killed", "--set", "checkpoint.every_steps=5",
    )  # fmt: skip
    metrics = module_rnnjob.cwd / "runs" / "killed" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and steps_of(metrics) > 12)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = module_rnnjob("resume", "killed", "--json")
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"] == held_weights


def steps_of(metrics: Path) -> int:
    records = [json.loads(line) for line in metrics.read_text().splitlines() if line.endswith("}")]
    return max((record["step"] for record in records), default=0)


def test_a_budget_too_small_for_a_window_is_refused_before_anything_is_written(
    rnnjob: Cli,
) -> None:
    done = rnnjob(*JOB[:1], *JOB[2:], "--local", "--set", "dataset.memory_budget=200KB")
    assert done.exit_code == 2
    assert done.cause.startswith("2 windows of 256 rows for each of 5 shards would take ")
    assert "--set dataset.memory_budget=2MiB" in done.cure
    assert not list((rnnjob.cwd / "runs").glob("*"))
