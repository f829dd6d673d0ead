"""Workers that share a GPU exchange through the host, since gloo has no all-to-all for a GPU."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from workers.on_ray.collectives import Collectives


class OnGpu:
    """A stand-in for a tensor on a GPU. The device "meta" takes the place of the GPU."""

    is_cuda = True
    device = torch.device("meta")

    def cpu(self) -> Tensor:
        return torch.tensor([1.0, 2.0])


@pytest.mark.parametrize(("backend", "by_host"), [("gloo", True), ("nccl", False)])
def test_gloo_is_given_a_copy_on_the_host_and_the_result_goes_back(
    monkeypatch: pytest.MonkeyPatch, backend: str, by_host: bool
) -> None:
    monkeypatch.setattr(dist, "get_backend", lambda: backend)
    exchanged: list[Any] = []

    def exchange(tensor: Any) -> Any:
        exchanged.append(tensor)
        return tensor

    tensor: Any = OnGpu()
    result = Collectives._on_wire(tensor, exchange)
    assert isinstance(exchanged[0], Tensor) == by_host
    assert result.device == tensor.device


def test_a_tensor_of_a_cpu_goes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "get_backend", lambda: "gloo")
    tensor = torch.ones(3)
    assert Collectives._on_wire(tensor, lambda it: it) is tensor
