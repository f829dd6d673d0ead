"""The process group of workers that are all on this machine: the network does not reach it.

By default, worker 0 of torch.distributed opens a store on all interfaces, which asks nobody for a
token, and gloo and NCCL listen where the machine's name or its network card is.
"""

import tempfile
from typing import Any

import psutil

from orchestrator.cluster import loopback


def is_on_loopback() -> bool:
    """Return whether the Ray that this process is connected to has all its nodes on this machine,
    and listens on the loopback interface alone."""
    import ray

    return bool(ray.util.get_node_ip_address() == loopback.ADDRESS)


def interface() -> dict[str, str]:
    """Return the variables that make gloo and NCCL use the loopback interface."""
    names = [
        name
        for name, addresses in psutil.net_if_addrs().items()
        if loopback.ADDRESS in {address.address for address in addresses}
    ]
    return {"GLOO_SOCKET_IFNAME": names[0], "NCCL_SOCKET_IFNAME": names[0]}


def torch_config(backend: str) -> Any:
    """Return a TorchConfig whose workers find each other through a file, not through a port.

    `backend`: of torch.distributed, "gloo" or "nccl".
    """
    import ray
    from ray.train.torch import TorchConfig
    from ray.train.torch import config as ray_torch

    class FileBackend(ray_torch._TorchBackend):  # type: ignore[misc]  # Ray is not typed
        def on_start(self, worker_group: Any, backend_config: Any) -> None:
            session = ray._private.worker.global_worker.node.get_session_dir_path()
            folder = tempfile.mkdtemp(prefix="group-", dir=session)
            worker_group.execute(ray_torch._set_torch_distributed_env_vars)
            started = [
                worker_group.execute_single_async(
                    rank,
                    ray_torch._setup_torch_process_group,
                    backend=backend_config.backend,
                    world_rank=rank,
                    world_size=len(worker_group),
                    init_method=f"file://{folder}/store",
                    timeout_s=backend_config.timeout_s,
                )
                for rank in range(len(worker_group))
            ]
            ray.get(started)

    class FileConfig(TorchConfig):  # type: ignore[misc]
        @property
        def backend_cls(self) -> type:
            return FileBackend

    return FileConfig(backend=backend)
