"""How the controller connects the workers: through a file here, through a port on a cluster."""

from collections.abc import Callable
from typing import Any

import pytest
import ray

from orchestrator.driver.ray_train import process_group
from orchestrator.driver.ray_train.process_group import ProcessGroup, ProcessGroupBackend


class Group:
    """Workers that run what they are told in this process, and remember it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.told: list[tuple[int, Callable[..., Any], tuple[Any, ...]]] = []

    def __len__(self) -> int:
        return self.number

    def execute_single(self, rank: int, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    def execute_single_async(self, rank: int, function: Callable[..., Any], *arguments: Any) -> int:
        self.told.append((rank, function, arguments))
        return rank


@pytest.fixture(autouse=True)
def connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group.ray, "get", lambda references, **_: references)


@pytest.mark.parametrize(
    ("address", "url"), [("10.0.0.7", "tcp://10.0.0.7:"), ("fd00::7", "tcp://[fd00::7]:")]
)
def test_workers_of_several_machines_meet_at_a_free_port_of_worker_0(
    address: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: address)
    group = Group(2)
    ProcessGroupBackend().on_start(group, ProcessGroup("gloo", is_on_loopback=False))
    assert [rank for rank, _, _ in group.told] == [0, 1]
    for rank, function, arguments in group.told:
        assert function is process_group._join
        assert arguments[:3] == ("gloo", rank, 2)
        assert arguments[3].startswith(url) and int(arguments[3].rpartition(":")[2]) > 0
    assert len({arguments[3] for _, _, arguments in group.told}) == 1


def test_a_worker_joins_and_leaves_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist
    from ray.train.torch import config

    monkeypatch.setattr(config, "_set_torch_distributed_env_vars", lambda: None)
    monkeypatch.setattr("ray.air._internal.torch_utils.get_devices", lambda: [])
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    address = process_group._free_address()
    process_group._join("gloo", 0, 1, f"tcp://{address}")
    assert dist.is_initialized() and dist.get_world_size() == 1
    process_group._leave(True)
    assert not dist.is_initialized()
