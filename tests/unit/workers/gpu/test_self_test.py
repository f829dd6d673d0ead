"""The doctor's test of a GPU's bits, with a device that is a CPU."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.workers.gpu.test_shard_rows import InlineQueue
from workers.gpu import self_test
from workers.gpu.shard_rows import GpuRows

CPU = torch.device("cpu")


@pytest.fixture
def cpu_as_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "enable_determinism", lambda: None)
    monkeypatch.setattr(self_test, "CudaQueue", lambda device, with_graphs: InlineQueue())
    monkeypatch.setattr(self_test, "_REPETITIONS", 2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_device_with_one_arithmetic_passes(cpu_as_gpu: None, precision: str) -> None:
    assert self_test.differing_variants(CPU, precision) == []


def test_a_device_whose_queues_compute_other_bits_is_told(
    cpu_as_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OtherBits(GpuRows):
        """On eight queues, the last bit of one number is another one."""

        def shard_rows(self, *arguments: Any) -> Tensor:
            rows = super().shard_rows(*arguments)
            if len(self._lanes) == 8:
                rows[3, 5] = rows[3, 5].nextafter(torch.tensor(1.0))
            return rows

    monkeypatch.setattr(self_test, "GpuRows", OtherBits)
    assert self_test.differing_variants(CPU, "fp32") == [
        "fp32 on 8 queue(s) with graphs", "fp32 on 8 queue(s) without graphs"
    ]  # fmt: skip
