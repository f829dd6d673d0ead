"""The doctor's checks of GPUs, with a machine that has two: one is full, one is fine."""

from collections.abc import Callable

import pytest
import torch

from orchestrator.doctor import gpus
from orchestrator.doctor.check import FAIL, OK, WARN
from workers.gpu import self_test

Test = Callable[[torch.device, str], list[str]]


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "gpu_names", lambda: ["Card A", "Card B"])
    monkeypatch.setattr(gpus, "prepare_environment", lambda: None)
    monkeypatch.setattr(gpus, "_driver_version", lambda: "580.1")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (2**30, 2**33))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)


def test_each_gpu_is_tested_whatever_the_others_say(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def test(device: torch.device, precision: str) -> list[str]:
        if device.index == 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return []

    monkeypatch.setattr(self_test, "differing_variants", test)
    cards, full, fine = gpus.check_gpus()
    assert cards.state == OK
    assert cards.detail.startswith("2: Card A (1.0 GiB free of 8.0 GiB), Card B (1.0 GiB")
    assert "driver 580.1" in cards.detail and "cuDNN 91900" in cards.detail
    assert (full.state, full.detail) == (WARN, "not tested: others use the GPU's memory")
    assert (fine.state, fine.name) == (OK, "gpu 1: same bits")
    assert fine.detail.startswith("fp32 and bf16")


def test_other_bits_are_a_failure_with_a_way_out(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        self_test, "differing_variants", lambda device, precision: [f"{precision} on 8 queue(s)"]
    )
    check = gpus.check_gpus()[1]
    assert check.state == FAIL
    assert check.detail == "other bits in fp32 on 8 queue(s), bf16 on 8 queue(s)"
    assert "gradients: fused" in check.cure
