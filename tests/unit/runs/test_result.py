"""The content of result.json."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.runs import RunStatus
from orchestrator.runs.result import build_result
from tests.unit.folders import empty_run
from tests.unit.simulated import single, tiny_job, tiny_shape
from workers.config import TrainJob
from workers.records.run_folder import RunFolder
from workers.records.train_result import TrainResult
from workers.storage.typed_json import Json
from workers.train import train

DONE = RunStatus("run", "SUCCEEDED", "local", workers=2, attempt=1)
CONTRACT = {
    "schema_version", "run_id", "state", "test_accuracy", "test_loss", "test_rows",
    "validation_accuracy", "epochs", "steps", "train_rows_seen", "samples_per_s", "workers",
    "precision", "weights_sha256", "wall_s",
}  # fmt: skip


@pytest.fixture
def job(tmp_path: Path) -> TrainJob:
    return tiny_job(tmp_path / "run", data=tiny_shape(test_head_rows=5))


def content_of(job: TrainJob, result: TrainResult | None, status: RunStatus = DONE) -> Json:
    run = RunFolder.at(job.run_uri)
    return build_result(run, job, result, status, time.time() - 10)


def test_a_result_holds_what_the_training_returned(job: TrainJob) -> None:
    result = train(job, single(job))
    content = content_of(job, result)
    assert set(content) >= CONTRACT
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert (content["run_id"], content["state"], content["workers"]) == ("run", "SUCCEEDED", 2)
    assert (content["epochs"], content["steps"], content["train_rows_seen"]) == (2, 6, 52)
    assert (content["test_rows"], content["precision"]) == (11, "fp32")
    assert content["test_accuracy"] == result.test["accuracy"]
    assert content["test_loss"] == result.test["loss"]
    assert content["weights_sha256"] == result.weights_sha256
    assert content["fingerprint"] == job.fingerprint
    assert content["wall_s"] >= 10
    assert (content["test_head_rows"], content["test_head_accuracy"]) == (
        5,
        result.test["head_accuracy"],
    )
    assert [row["class"] for row in content["per_class"]] == [0, 1, 2]
    assert sum(map(sum, content["confusion_matrix"])) == 11


def test_the_validation_accuracy_comes_from_the_epoch_whose_weights_are_kept(job: TrainJob) -> None:
    result = train(job, single(job))
    for best in (1, 2):
        content = content_of(job, replace(result, best_epoch=best))
        best_epoch = result.epochs[best - 1]
        assert content["best_epoch"] == best
        assert content["validation_accuracy"] == best_epoch["validation_accuracy"]
        assert content["validation_loss"] == best_epoch["validation_loss"]
    last = content_of(job, replace(result, best_epoch=None))
    assert last["validation_loss"] == result.epochs[-1]["validation_loss"]


def test_the_data_account_has_each_epoch(job: TrainJob) -> None:
    account = content_of(job, train(job, single(job)))["data_account"]
    nothing = {"rows_seen_twice": 0, "rows_dropped": 0, "rows_not_reached": 0}
    assert account == [{"epoch": n, "rows_seen": 26, **nothing} for n in (1, 2)]


def test_speed_is_rows_over_seconds_of_training(job: TrainJob) -> None:
    result = train(job, single(job))
    content = content_of(job, result)
    seconds = sum(epoch["train_s"] for epoch in result.epochs)
    assert content["samples_per_s"] == pytest.approx(52 / seconds)
    assert content["seconds"]["compute_s"] == sum(e["compute_s"] for e in result.epochs)


def test_the_result_of_a_failed_run_comes_from_its_metrics(job: TrainJob) -> None:
    stopped = train(job, single(job, stop_after=4))
    assert stopped.stopped
    status = RunStatus("run", "FAILED", "ray", reason="a worker died")
    content = content_of(job, None, status)
    assert (content["state"], content["reason"]) == ("FAILED", "a worker died")
    assert (content["epochs"], content["steps"], content["train_rows_seen"]) == (1, 4, 26 + 12)
    assert content["weights_sha256"] is content["test_accuracy"] is content["per_class"] is None
    assert set(content) >= CONTRACT


def test_a_run_that_never_began_has_a_result_too(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run")
    content = build_result(run, None, None, RunStatus("run", "FAILED"), time.time())
    assert (content["epochs"], content["steps"], content["train_rows_seen"]) == (0, 0, 0)
    assert content["samples_per_s"] is None
    assert content["precision"] is None
    assert set(content) >= CONTRACT


def test_records_without_a_kind_are_ignored(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run")
    run.storage.write(run.METRICS, b'{"step": 3}\n')
    content = build_result(run, None, None, RunStatus("run", "FAILED"), time.time())
    assert content["epochs"] == 0
