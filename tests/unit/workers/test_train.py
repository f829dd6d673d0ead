"""The training loop: whatever happens to a run, its weights depend on the job alone."""

import gc
import json
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.unit.simulated import on_workers, single, tiny_job, tiny_loader, tiny_shape
from workers import train as train_module
from workers.checkpoints.background_writer import CheckpointWriter
from workers.checkpoints.weights import weights_sha256
from workers.config import TrainJob
from workers.data.rows import Rows, ShardData
from workers.errors import DataError, DivergedError, SharedError
from workers.records.run_folder import RunFolder, StopRequest
from workers.records.train_result import TrainResult
from workers.shards.held_rows import HeldRows
from workers.shards.rows_source import RowsSource
from workers.storage.typed_json import Json
from workers.train import train
from workers.worker import SingleProcessWorker

STEPS = 3  # in an epoch of the tiny job


@pytest.fixture
def never_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training wait for a checkpoint that is being written, instead of delaying the next."""
    monkeypatch.setattr(CheckpointWriter, "is_busy", False)


def trained(job: TrainJob) -> TrainResult:
    return train(job, single(job))


def records_of(job: TrainJob, kind: str) -> list[Json]:
    return [r for r in RunFolder.at(job.run_uri).read_metrics() if r["kind"] == kind]


def checkpoint_steps(job: TrainJob) -> list[int]:
    return sorted(int(p.name[5:]) for p in (Path(job.run_uri) / "checkpoints").iterdir())


@pytest.mark.parametrize("stop_after", range(1, 2 * STEPS + 1))
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_job_stopped_at_any_step_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, stop_after: int, keep: str
) -> None:
    changes: dict[str, Any] = {
        "training": {"keep": keep},
        "model": {"dropout": 0.2},
        "augment": {"shift_px": 1.0},
    }
    undisturbed = trained(tiny_job(tmp_path / "whole", **changes))
    job = tiny_job(tmp_path / "stopped", **changes)
    stopped = train(job, single(job, stop_after))
    assert stopped.stopped == StopRequest("the test wants it", 5)
    assert stopped.steps == stop_after
    assert stopped.weights_sha256 is None
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    resumed = trained(job)
    assert resumed.steps == 2 * STEPS
    assert resumed.weights_sha256 == undisturbed.weights_sha256
    assert resumed.test == undisturbed.test
    assert [e["epoch"] for e in resumed.epochs] == [1, 2]
    assert [r["step"] for r in records_of(job, "step")] == list(range(1, 2 * STEPS + 1))
    assert [r["epoch"] for r in records_of(job, "epoch")] == [1, 2]
    assert [(r["attempt"], r["step"]) for r in records_of(job, "start")] == [
        (1, 0),
        (2, stop_after),
    ]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("limit", range(1, 2 * STEPS))
def test_a_job_with_a_step_limit_stops_at_it_and_can_go_on(
    tmp_path: Path, workers: int, limit: int
) -> None:
    undisturbed = trained(tiny_job(tmp_path / "whole"))
    job = tiny_job(tmp_path / "limited")
    limited = job.model_copy(update={"stop_after_steps": limit})
    reason = f"{limit} steps were asked for: limits.steps"
    for _ in range(2):  # the second time, it takes no more steps
        for result in on_workers(limited, workers, lambda worker: train(limited, worker)):
            assert result.stopped == StopRequest(reason, 5)
            assert (result.steps, result.weights_sha256) == (limit, None)
    assert checkpoint_steps(job)[-1] == limit
    assert trained(job).weights_sha256 == undisturbed.weights_sha256
    assert [r["step"] for r in records_of(job, "step")] == list(range(1, 2 * STEPS + 1))


def test_a_step_limit_beyond_the_end_of_the_job_changes_nothing(tmp_path: Path) -> None:
    undisturbed = trained(tiny_job(tmp_path / "whole"))
    for limit in (2 * STEPS, 99):
        job = tiny_job(tmp_path / f"limit-{limit}").model_copy(update={"stop_after_steps": limit})
        assert trained(job).weights_sha256 == undisturbed.weights_sha256


def test_a_job_that_lost_its_last_steps_has_every_step_once_in_its_metrics(tmp_path: Path) -> None:
    """After a crash between checkpoints, the records after the checkpoint are written again."""
    undisturbed = trained(tiny_job(tmp_path / "whole", training={"epochs": 3}))
    job = tiny_job(tmp_path / "crashed", training={"epochs": 3})

    class CrashError(Exception):
        pass

    def crash(record: Json) -> None:
        if record["kind"] == "step" and record["step"] == STEPS + 2:
            raise CrashError

    with pytest.raises(CrashError):
        train(job, single(job), crash)
    assert [r["step"] for r in records_of(job, "step")] == list(range(1, STEPS + 3))
    resumed = trained(job)
    assert resumed.weights_sha256 == undisturbed.weights_sha256
    assert [r["step"] for r in records_of(job, "step")] == list(range(1, 3 * STEPS + 1))
    assert [r["step"] for r in records_of(job, "start")] == [0, STEPS]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_and_metrics_have_the_same_bits_on_any_number_of_workers_and_threads(
    tmp_path: Path, precision: str
) -> None:
    def job_in(name: str, cpus: int = 1) -> TrainJob:
        training = {"precision": precision}
        return tiny_job(tmp_path / name, training=training, model={"dropout": 0.2}, cpus=cpus)

    alone = trained(job_in("alone"))
    losses = [r["loss"] for r in records_of(job_in("alone"), "step")]
    results = {"threads": [trained(job_in("threads", 3))]}
    for workers in (2, 3, 4):
        job = job_in(f"workers-{workers}")
        results[f"workers-{workers}"] = on_workers(job, workers, lambda w, j=job: train(j, w))
    for name, by_rank in results.items():
        for result in by_rank:
            assert result.weights_sha256 == alone.weights_sha256
            assert result.test == alone.test
        assert [r["loss"] for r in records_of(job_in(name), "step")] == losses


def test_a_job_goes_on_with_another_number_of_workers(tmp_path: Path) -> None:
    undisturbed = trained(tiny_job(tmp_path / "whole"))
    job = tiny_job(tmp_path / "elastic")
    assert train(job, single(job, stop_after=4)).stopped
    resumed = on_workers(job, 3, lambda worker: train(job, worker))
    assert {result.weights_sha256 for result in resumed} == {undisturbed.weights_sha256}
    assert [r["workers"] for r in records_of(job, "start")] == [1, 3]


def test_training_again_after_the_end_changes_nothing(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    first, again = trained(job), trained(job)
    assert again.weights_sha256 == first.weights_sha256
    assert again.test == first.test
    assert len(records_of(job, "step")) == 2 * STEPS
    assert len(records_of(job, "test")) == 1


def test_fused_gradients_lead_to_the_same_model_up_to_rounding(tmp_path: Path) -> None:
    exact = trained(tiny_job(tmp_path / "exact"))
    fused = trained(tiny_job(tmp_path / "fused", training={"gradients": "fused"}))
    assert fused.test["loss"] == pytest.approx(exact.test["loss"], rel=1e-4)
    assert fused.test["confusion_matrix"] == exact.test["confusion_matrix"]


def test_the_loss_falls_if_there_is_something_to_learn(tmp_path: Path) -> None:
    training = {"epochs": 40, "optimizer": {"name": "adamw", "lr": 0.05}}
    result = trained(tiny_job(tmp_path, training=training, model={"hidden_size": 8}))
    assert result.epochs[-1]["train_loss"] < 0.3 < result.epochs[0]["train_loss"]
    assert result.test["accuracy"] > 0.9


def test_every_row_is_accounted_for_in_each_epoch(tmp_path: Path) -> None:
    result = trained(tiny_job(tmp_path))
    for epoch in result.epochs:
        account = {key: epoch[key] for key in epoch if key.startswith("rows_")}
        assert account == {
            "rows_seen": 26,
            "rows_seen_twice": 0,
            "rows_dropped": 0,
            "rows_not_reached": 0,
        }
    assert [r["rows"] for r in records_of(tiny_job(tmp_path), "step")] == [12, 12, 2] * 2


def test_a_job_with_a_number_of_steps_may_end_in_mid_epoch(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, training={"steps": 4, "keep": "last"})
    result = trained(job)
    assert result.steps == 4
    assert [(e["epoch"], e["step"], e["rows_seen"]) for e in result.epochs] == [
        (1, 3, 26),
        (2, 4, 12),
    ]
    assert result.epochs[-1]["rows_not_reached"] == 14
    assert result.epochs[-1]["rows_dropped"] == 0
    assert result.test["rows"] == 11


def test_keep_decides_between_the_best_epoch_and_the_last(tmp_path: Path) -> None:
    optimizer = {"name": "sgd", "lr": 0.2, "weight_decay": 0.01}
    training = {"epochs": 6, "optimizer": optimizer, "schedule": "constant"}
    best = trained(tiny_job(tmp_path / "best", training=training))
    last = trained(tiny_job(tmp_path / "last", training={**training, "keep": "last"}))
    ranked = sorted(
        best.epochs, key=lambda e: (-e["validation_accuracy"], e["validation_loss"], e["epoch"])
    )
    assert best.best_epoch == ranked[0]["epoch"]
    assert best.best_epoch != 6, "choose a job whose last epoch is not its best"
    assert last.best_epoch is None
    assert best.weights_sha256 != last.weights_sha256
    shorter = tiny_job(tmp_path / "to the best", training={**training, "keep": "last"})
    shorter = shorter.model_copy(
        update={"training": shorter.training.model_copy(update={"epochs": best.best_epoch})}
    )
    assert trained(shorter).weights_sha256 == best.weights_sha256


def test_the_stored_model_is_the_one_that_was_tested(tmp_path: Path) -> None:
    result = trained(tiny_job(tmp_path))
    stored = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert weights_sha256(stored) == result.weights_sha256


def test_without_validation_rows_the_last_weights_are_kept(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, data=tiny_shape(validation_rows=0), training={"keep": "last"})
    result = trained(job)
    assert result.best_epoch is None
    assert all("validation_loss" not in epoch for epoch in result.epochs)
    assert result.test["rows"] == 11


def test_the_accuracy_on_head_rows_is_reported_beside_the_whole_split(tmp_path: Path) -> None:
    test = trained(tiny_job(tmp_path, data=tiny_shape(test_head_rows=5))).test
    assert test["head_rows"] == 5
    assert test["head_accuracy"] in {n / 5 for n in range(6)}
    assert "head_rows" not in trained(tiny_job(tmp_path / "none")).test


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        ({"every_steps": 2, "every_s": 0, "keep_latest": 9}, [2, 3, 4, 6]),
        ({"every_steps": 0, "every_s": 0, "keep_latest": 9}, [3, 6]),
        ({"every_steps": 0, "every_s": 1e-9, "keep_latest": 9}, [1, 2, 3, 4, 5, 6]),
        ({"every_steps": 1, "every_s": 0, "keep_latest": 1, "keep_best": 0}, [6]),
    ],
    ids=["by steps", "by epochs", "by time", "only the latest"],
)
def test_checkpoints_are_written_when_the_spec_says(
    tmp_path: Path, never_busy: None, config: dict[str, Any], steps: list[int]
) -> None:
    job = tiny_job(tmp_path, checkpoint=config)
    trained(job)
    assert checkpoint_steps(job) == steps


def test_divergence_is_reported_with_the_learning_rate(tmp_path: Path) -> None:
    training = {"optimizer": {"name": "sgd", "lr": 1e37}, "gradient_clip": 0.0, "epochs": 4}
    with pytest.raises(DivergedError) as caught:
        trained(tiny_job(tmp_path, training={**training, "schedule": "constant"}))
    assert "training diverged at step " in caught.value.cause
    assert "(--lr, now 1e+37)" in caught.value.cure
    assert isinstance(caught.value, SharedError)


def test_weights_that_overflow_in_the_last_step_are_an_error(tmp_path: Path) -> None:
    """The loss of the last step is still finite; the loss with the weights after it is not."""
    optimizer = {"name": "adam", "lr": 3e37, "weight_decay": 0.0}
    training = {"optimizer": optimizer, "schedule": "constant", "steps": 1, "keep": "last"}
    with pytest.raises(DivergedError):
        trained(tiny_job(tmp_path, training=training, model={"hidden_size": 128}))


@pytest.mark.parametrize(("missing", "short"), [(1, (0,)), (2, (0, 1, 2, 3))])
def test_a_shard_with_missing_rows_is_refused(
    tmp_path: Path, missing: int, short: tuple[int, ...]
) -> None:
    job = tiny_job(tmp_path)
    load = tiny_loader(job.data)

    def load_less(shard: int) -> ShardData:
        data = load(shard)
        rows = data["train"]
        less = Rows(rows.inputs[:-missing], rows.targets_N[:-missing])
        return {**data, "train": less if shard in short else rows}

    with pytest.raises(DataError, match=r"shard 0 of tiny holds \d train rows, not 7"):
        train(job, SingleProcessWorker(job.data.num_shards, load_less))


def test_the_sink_sees_every_record_that_is_written(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    seen: list[Json] = []
    train(job, single(job), seen.append)
    assert seen == RunFolder.at(job.run_uri).read_metrics()
    assert Counter(r["kind"] for r in seen) == {"start": 1, "step": 6, "epoch": 2, "test": 1}


def test_every_record_is_json_that_any_parser_reads(tmp_path: Path) -> None:
    trained(tiny_job(tmp_path))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line, parse_constant=refuse)
        if record["kind"] == "step":
            assert {"epoch", "step", "loss", "accuracy", "rows", "lr", "gradient_norm"} <= set(
                record
            )


def test_tensorboard_has_event_files(tmp_path: Path) -> None:
    trained(tiny_job(tmp_path))
    files = list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    assert len(files) == 1
    assert b"step/loss" in files[0].read_bytes()


def test_the_process_wide_generator_changes_nothing(tmp_path: Path) -> None:
    hashes = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        hashes.add(trained(tiny_job(tmp_path / str(seed), model={"dropout": 0.3})).weights_sha256)
    assert len(hashes) == 1


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    one = trained(tiny_job(tmp_path / "1", training={"seed": 1}))
    other = trained(tiny_job(tmp_path / "2", training={"seed": 2}))
    assert one.weights_sha256 != other.weights_sha256


def test_a_job_whose_checkpoint_is_damaged_goes_on_from_the_one_before(
    tmp_path: Path, never_busy: None
) -> None:
    undisturbed = trained(tiny_job(tmp_path / "whole"))
    checkpoint = {"every_steps": 1, "keep_latest": 1}
    job = tiny_job(tmp_path / "damaged", checkpoint={**checkpoint, "keep_latest": 3})
    train(job, single(job, stop_after=5))
    newest = tmp_path / "damaged" / "checkpoints" / "step-00000005" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed = trained(job)
    assert resumed.weights_sha256 == undisturbed.weights_sha256
    assert [r["step"] for r in records_of(job, "start")] == [0, 4]
    assert [r["step"] for r in records_of(job, "step")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_recurrent_bias_that_is_not_trained_stays_zero(tmp_path: Path, cell: str) -> None:
    model = {"cell": cell, "train_recurrent_bias": False}
    job = tiny_job(tmp_path, model=model)
    trained(job)
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert torch.count_nonzero(weights["layers.0.0.bias_hh_l0"]) == 0
    assert torch.count_nonzero(weights["layers.0.0.bias_ih_l0"]) > 0


def test_the_memory_of_a_job_is_free_when_the_job_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next job of this process looks how much of a GPU's memory is free."""
    kept: list[weakref.ref[Any]] = []
    build = train_module.rows_of_job

    def held(*arguments: Any) -> RowsSource:
        rows = build(*arguments)
        assert isinstance(rows, HeldRows)
        kept.extend([weakref.ref(rows), weakref.ref(rows._train.inputs)])
        return rows

    monkeypatch.setattr(train_module, "rows_of_job", held)
    job = tiny_job(tmp_path / "run")
    gc.collect()
    gc.disable()
    try:
        train(job, single(job))
        assert [reference() for reference in kept] == [None] * 2
    finally:
        gc.enable()
