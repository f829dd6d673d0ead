"""What makes a GPU deterministic is set before CUDA reads it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from orchestrator.driver.local_trainer import LocalTrainer
from orchestrator.driver.ray_train.fit import process_group_backend
from orchestrator.spec.build import build_spec
from workers.errors import ResourcesError
from workers.gpu import settings
from workers.records.run_folder import RunFolder


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings.ENVIRONMENT:
        monkeypatch.setenv(name, "as the user had it")


def test_a_local_job_sets_the_environment_before_it_looks_for_a_gpu(
    clean: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    def is_available() -> bool:
        seen.update(os.environ)
        return True

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    spec = build_spec(flags={"scaling.gpus_per_worker": 1})
    LocalTrainer().wait_for_capacity(RunFolder.at("/nowhere"), spec, print)
    assert {name: seen[name] for name in settings.ENVIRONMENT} == settings.ENVIRONMENT


def test_a_job_on_cpus_leaves_the_environment_alone(clean: None) -> None:
    LocalTrainer().wait_for_capacity(RunFolder.at("/nowhere"), build_spec(), print)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == "as the user had it"


def test_a_process_that_used_cuda_already_cannot_train_deterministically(
    clean: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(ResourcesError, match="used CUDA before") as caught:
        settings.prepare_environment()
    assert "CUBLAS_WORKSPACE_CONFIG=:16:8" in caught.value.cure
    for name, value in settings.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    settings.prepare_environment()  # nothing to change, so nothing is too late


FLAGS: list[tuple[Any, str]] = [
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    (torch.utils.deterministic, "fill_uninitialized_memory"),
]


@pytest.fixture
def usual_flags() -> Iterator[None]:
    """Turn on what must be off, and give this process back what it had."""
    before = [getattr(module, name) for module, name in FLAGS]
    for module, name in FLAGS:
        setattr(module, name, True)
    yield
    torch.use_deterministic_algorithms(False)
    for (module, name), value in zip(FLAGS, before, strict=True):
        setattr(module, name, value)


def test_determinism_turns_off_reduced_precision_and_autotuning(usual_flags: None) -> None:
    settings.enable_determinism()
    assert torch.are_deterministic_algorithms_enabled()
    assert not any(getattr(module, name) for module, name in FLAGS)


@pytest.mark.parametrize(("share", "backend"), [(0, "gloo"), (0.5, "gloo"), (1, "nccl")])
def test_workers_that_share_a_gpu_exchange_through_the_host(share: float, backend: str) -> None:
    assert process_group_backend(share) == backend
