"""What all tests of the training side need."""

from collections.abc import Iterator

import pytest
import torch

from workers.models.cpu_kernels import bf16_kernels


@pytest.fixture(autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let tests whose name says bf16 run on any CPU, as `train` does."""
    precision = "bf16" if "bf16" in request.node.name else "fp32"
    with bf16_kernels(precision, torch.device("cpu")):
        yield
