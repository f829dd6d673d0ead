"""Workers that are all on this machine: the network does not reach them.

By default, worker 0 of torch.distributed opens a store on all interfaces, which asks nobody for a
token, and gloo and NCCL listen where the machine's name or its network card is.
"""

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
