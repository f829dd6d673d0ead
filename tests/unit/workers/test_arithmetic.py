"""Workers that would compute other bits are found before the first step."""

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import workers.train
from orchestrator.runs.history import mixed_hardware
from tests.unit.simulated import on_workers, single, tiny_job, tiny_shape
from workers import arithmetic
from workers.arithmetic import Arithmetic, arithmetic_sha256, check_same_arithmetic, device_name
from workers.config import TrainJob
from workers.errors import ReplicaError
from workers.gradients import Gradients
from workers.records.run_folder import RunFolder
from workers.train import train
from workers.worker import Worker

CPU = torch.device("cpu")


def test_the_hash_is_a_function_of_the_job(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    wanted = arithmetic_sha256(job, CPU)
    assert arithmetic_sha256(job, CPU) == wanted
    for other in (
        tiny_job(tmp_path, model={"cell": "gru"}),
        tiny_job(tmp_path, training={"seed": 1}),
    ):
        assert arithmetic_sha256(other, CPU) != wanted


def test_a_job_with_random_numbers_has_one_hash_too(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, model={"dropout": 0.5}, augment={"shift_px": 1.0})
    assert arithmetic_sha256(job, CPU) == arithmetic_sha256(job, CPU)


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_workers_with_the_same_arithmetic_agree(tmp_path: Path, num_workers: int) -> None:
    job = tiny_job(tmp_path)
    found = on_workers(job, num_workers, lambda worker: check_same_arithmetic(job, worker))
    assert set(found) == {Arithmetic(arithmetic_sha256(job, CPU))}


@pytest.fixture
def other_arithmetic(monkeypatch: pytest.MonkeyPatch) -> Callable[[Worker], None]:
    """Return what gives a worker, which runs in a thread of its own, another CPU."""
    others: set[int] = set()
    true_sha256, true_name = arithmetic.arithmetic_sha256, arithmetic.device_name

    def sha256(job: TrainJob, device: torch.device) -> str:
        return "ab" * 32 if threading.get_ident() in others else true_sha256(job, device)

    def name(device: torch.device) -> str:
        return "a new CPU" if threading.get_ident() in others else true_name(device)

    monkeypatch.setattr(arithmetic, "arithmetic_sha256", sha256)
    monkeypatch.setattr(arithmetic, "device_name", name)
    return lambda worker: others.add(threading.get_ident())


def test_all_workers_name_the_machines_that_differ(
    tmp_path: Path, other_arithmetic: Callable[[Worker], None]
) -> None:
    job = tiny_job(tmp_path)

    def check(worker: Worker) -> str:
        if worker.rank == 2:
            other_arithmetic(worker)
        with pytest.raises(ReplicaError) as caught:
            check_same_arithmetic(job, worker)
        return caught.value.cause

    host = socket.gethostname()
    for cause in on_workers(job, 3, check):
        assert cause == (
            f"the workers compute different numbers: {host}: {device_name(CPU)}; {host}: a new CPU"
        )


def test_a_job_with_fused_gradients_is_only_warned(
    tmp_path: Path,
    other_arithmetic: Callable[[Worker], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = tiny_job(tmp_path, training={"gradients": "fused"})

    def check(worker: Worker) -> str:
        if worker.rank == 1:
            other_arithmetic(worker)
        return check_same_arithmetic(job, worker).sha256

    with caplog.at_level(logging.WARNING):
        assert len(set(on_workers(job, 2, check))) == 2
    assert "compute different numbers" in caplog.text


@pytest.mark.parametrize("read", ["rows", "columns", "rows-and-columns", "pixels"])
@pytest.mark.parametrize("hidden_size", [128, 2048])
def test_the_check_is_small_whatever_the_job(tmp_path: Path, read: str, hidden_size: int) -> None:
    shape = tiny_shape(height=100, width=90, num_shards=1)
    model = {"hidden_size": hidden_size, "num_layers": 3, "read": read}
    job = tiny_job(tmp_path, data=shape, model=model, training={"global_batch_size": 64})
    small = arithmetic._with_short_rows(job)
    batch = arithmetic._small_batch(small, CPU)
    rows, height, width = batch.inputs.shape
    both = max(height, width)
    steps = {
        "rows": height, "columns": width, "rows-and-columns": both, "pixels": height * width
    }[read]  # fmt: skip
    assert 1 <= rows <= 64
    assert rows * steps * 3 * hidden_size <= 2**20
    uncut = {"rows": width == 90, "columns": height == 100, "pixels": height == 1}
    assert uncut.get(read, both <= 32)
    assert len(arithmetic.arithmetic_sha256(job, CPU)) == 64


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [r for r in RunFolder.at(str(folder)).read_metrics() if r["kind"] == "start"]


def test_each_start_says_on_what_it_computes_and_a_resume_elsewhere_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(tmp_path / "run")
    train(job, single(job, stop_after=2))
    (first,) = records_of(tmp_path / "run")
    assert (first["node"], first["device"]) == (socket.gethostname(), device_name(CPU))
    assert first["arithmetic_sha256"] == arithmetic_sha256(job, CPU)
    assert "other_devices" not in first

    train(job, single(job, stop_after=1))
    assert "other_devices" not in records_of(tmp_path / "run")[-1]

    here = f"{socket.gethostname()}: {first['device']}"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(arithmetic, "arithmetic_sha256", lambda *_: "cd" * 32)
        elsewhere.setattr(arithmetic, "device_name", lambda _: "a new CPU")
        with pytest.raises(ReplicaError) as caught:
            train(job, single(job, stop_after=1))
    assert caught.value.cause == (
        f"{socket.gethostname()}: a new CPU computes other bits than {here}, where steps of this "
        "run were computed"
    )
    assert "rnnjob resume run --set limits.mixed_hardware=allow" in caught.value.cure
    assert len(records_of(tmp_path / "run")) == 2, "nothing began"
    train(job, single(job, stop_after=1))  # back where it began, nothing is lost
    assert "other_devices" not in records_of(tmp_path / "run")[-1]


def test_a_resume_elsewhere_that_is_allowed_is_in_the_records_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = tiny_job(tmp_path / "run", mixed_hardware="allow")
    train(job, single(job, stop_after=2))
    (first,) = records_of(tmp_path / "run")
    here = f"{socket.gethostname()}: {first['device']}"
    with monkeypatch.context() as elsewhere, caplog.at_level(logging.WARNING):
        elsewhere.setattr(arithmetic, "arithmetic_sha256", lambda *_: "cd" * 32)
        train(job, single(job, stop_after=1))
    assert records_of(tmp_path / "run")[-1]["other_devices"] == here
    assert "computes other bits than" in caplog.text
    for _ in range(2):  # back where it began: the step between stays another one
        train(job, single(job, stop_after=1))
        assert "other_devices" in records_of(tmp_path / "run")[-1]
    assert mixed_hardware(records_of(tmp_path / "run"))[0] == (
        f"attempt 2: {here}, after steps on {here}"
    )


@pytest.mark.parametrize("allowed", [False, True])
def test_workers_that_come_to_other_weights_end_the_job_or_take_those_of_worker_0(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other_arithmetic: Callable[[Worker], None],
    allowed: bool,
) -> None:
    job = tiny_job(tmp_path / "run", mixed_hardware="allow" if allowed else "error")
    true_weights = workers.train.weights_of
    other_ranks: set[int] = set()

    def drifted(model: Any) -> dict[str, torch.Tensor]:
        if threading.get_ident() in other_ranks:
            with torch.no_grad():
                next(model.parameters()).flatten()[0] += 1e-3
        return true_weights(model)

    monkeypatch.setattr(workers.train, "weights_of", drifted)

    def run(worker: Worker) -> str | None:
        if worker.rank == 1:
            other_ranks.add(threading.get_ident())
            if allowed:
                other_arithmetic(worker)
        return train(job, worker).weights_sha256

    if not allowed:
        with pytest.raises(ReplicaError, match="weights differ after epoch 1"):
            on_workers(job, 2, run)
        return
    found = on_workers(job, 2, run)
    (start,) = records_of(tmp_path / "run")
    assert start["mixed_hardware"].endswith("a new CPU")
    assert found[0] is not None and RunFolder.at(job.run_uri).storage.exists("model.safetensors")


def test_a_start_without_steps_warns_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(tmp_path / "run", checkpoint={"every_s": 0.0}, mixed_hardware="allow")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(arithmetic, "arithmetic_sha256", lambda *_: "cd" * 32)
        elsewhere.setattr(Gradients, "step", _fail)
        with pytest.raises(RuntimeError, match="killed"):
            train(job, single(job))
    train(job, single(job))
    assert ["other_devices" in record for record in records_of(tmp_path / "run")] == [False] * 2


def _fail(*_: Any) -> None:
    raise RuntimeError("killed")
