"""Workers that would compute other bits are found before the first step."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.simulated import on_workers, single, tiny_job
from workers import arithmetic
from workers.arithmetic import arithmetic_sha256, check_same_arithmetic, device_name
from workers.errors import ReplicaError
from workers.records.run_folder import RunFolder
from workers.train import train
from workers.worker import Worker

CPU = torch.device("cpu")


def test_the_hash_is_a_function_of_the_job(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    wanted = arithmetic_sha256(job, CPU)
    assert arithmetic_sha256(job, CPU) == wanted
    for other in (
        tiny_job(tmp_path, training={"precision": "bf16"}),
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
    assert set(found) == {arithmetic_sha256(job, CPU)}


def test_all_workers_name_the_machines_that_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(tmp_path)

    def check(worker: Worker) -> str:
        with pytest.raises(ReplicaError) as caught:
            _check_as(worker)
        return caught.value.cause

    def _check_as(worker: Worker) -> str:
        rank = worker.rank
        monkeypatch.setattr(arithmetic, "arithmetic_sha256", lambda *_: "ab" * 32)
        monkeypatch.setattr(arithmetic, "device_name", lambda *_: "an old CPU")
        exchange = worker.gather

        def gather(rows: torch.Tensor) -> torch.Tensor:
            if rank == 2:
                other = list(b"newhost: a new CPU".ljust(120))
                rows = rows.clone()
                rows[:, 0] += 1
                rows[:, -120:] = torch.tensor(other, dtype=torch.float64)
            return exchange(rows)

        monkeypatch.setattr(worker, "gather", gather)
        return check_same_arithmetic(job, worker)

    for cause in on_workers(job, 3, check):
        assert cause.startswith("the workers compute different numbers: ")
        assert "an old CPU" in cause and "newhost: a new CPU" in cause


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [r for r in RunFolder.at(str(folder)).read_metrics() if r["kind"] == "start"]


def test_each_start_says_on_what_it_computes_and_a_resume_elsewhere_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = tiny_job(tmp_path / "run")
    train(job, single(job, stop_after=2))
    (first,) = records_of(tmp_path / "run")
    assert first["device"] == device_name(CPU)
    assert first["arithmetic_sha256"] == arithmetic_sha256(job, CPU)
    assert "earlier_device" not in first

    train(job, single(job, stop_after=1))
    assert "earlier_device" not in records_of(tmp_path / "run")[-1]

    monkeypatch.setattr(arithmetic, "arithmetic_sha256", lambda *_: "cd" * 32)
    with caplog.at_level(logging.WARNING):
        train(job, single(job))
    assert records_of(tmp_path / "run")[-1]["earlier_device"] == first["device"]
    assert "computes other bits than" in caplog.text
