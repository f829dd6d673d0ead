"""Workers that are all on this machine talk over its loopback interface."""

import psutil

from orchestrator.driver.ray_train import loopback_group


def test_gloo_and_nccl_are_told_the_interface_with_the_loopback_address() -> None:
    told = loopback_group.interface()
    assert set(told) == {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"}
    (name,) = set(told.values())
    assert "127.0.0.1" in {address.address for address in psutil.net_if_addrs()[name]}
