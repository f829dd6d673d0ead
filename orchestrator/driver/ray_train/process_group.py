"""How the workers of a job find each other: torch.distributed, set up by Ray Train's functions.

Ray's own TorchConfig imports torch wherever it goes: in the driver and in Ray Train's controller,
which takes each of them two seconds, and neither computes. Here, only the workers import it.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig

from workers.imports import quick_imports

_TIMEOUT_S = 1800
"""How long workers wait for each other; the same as Ray's."""
_SHUTDOWN_S = 30
"""How long workers may take to leave their group."""


@dataclass
class ProcessGroup(BackendConfig):  # type: ignore[misc]  # Ray is not typed
    """Tells Ray Train to connect the workers by torch.distributed."""

    backend: str
    """Of torch.distributed: "gloo" or "nccl"."""
    is_on_loopback: bool
    """Whether the workers find each other through a file, not through a port: see
    `loopback_group`."""

    @property
    def backend_cls(self) -> type:
        return ProcessGroupBackend

    @property
    def train_func_context(self) -> Callable[[], Any]:
        return on_own_device


class ProcessGroupBackend(Backend):  # type: ignore[misc]
    """What Ray's backend for torch does. It runs in the controller."""

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: ProcessGroup) -> None:
        """Override: connect the workers."""
        if backend_config.is_on_loopback:
            session = ray._private.worker.global_worker.node.get_session_dir_path()
            init_method = f"file://{tempfile.mkdtemp(prefix='group-', dir=session)}/store"
        else:
            init_method = f"tcp://{worker_group.execute_single(0, _free_address)}"
        joined = [
            worker_group.execute_single_async(
                rank, _join, backend_config.backend, rank, len(worker_group), init_method
            )
            for rank in range(len(worker_group))
        ]
        ray.get(joined)

    def on_shutdown(self, worker_group: Any, backend_config: ProcessGroup) -> None:
        """Override: have the workers leave their group, if they do so in time."""
        left = worker_group.execute_async(_leave, len(worker_group) > 1)
        with contextlib.suppress(ray.exceptions.GetTimeoutError):
            ray.get(left, timeout=_SHUTDOWN_S)


def _free_address() -> str:
    """Return an address of this worker's node that nobody listens on."""
    from ray._common.network_utils import build_address
    from ray.train._internal.utils import get_address_and_port

    address: str = build_address(*get_address_and_port())
    return address


def _join(backend: str, rank: int, num_workers: int, init_method: str) -> None:
    """Connect this worker with the others. It imports here what it will need."""
    with quick_imports():
        from ray.train.torch import config

        import workers.on_ray.ray_worker  # noqa: F401

    config._set_torch_distributed_env_vars()
    config._setup_torch_process_group(backend, rank, num_workers, init_method, _TIMEOUT_S)


def _leave(is_connected: bool) -> None:
    from ray.train.torch import config

    config._shutdown_torch(destroy_process_group=is_connected)


@contextlib.contextmanager
def on_own_device() -> Iterator[None]:
    """Have the training function of a worker use the GPU that Ray gave it, if there is one."""
    from ray.train.torch.config import TorchConfigContextManager

    with TorchConfigContextManager():
        yield
