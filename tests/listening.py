"""The sockets on which processes listen, and which of them other machines reach."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterable

import psutil


def listening(processes: Iterable[psutil.Process]) -> dict[str, set[str]]:
    """Return the addresses on which processes take TCP connections or UDP datagrams, by the name of
    the process. Sockets of the file system are left out."""
    found: dict[str, set[str]] = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            name = process.name()
            for connection in process.net_connections("inet"):
                is_udp = connection.type == socket.SOCK_DGRAM and not connection.raddr
                if is_udp or connection.status == psutil.CONN_LISTEN:
                    found.setdefault(name, set()).add(connection.laddr.ip)
    return found


def open_to_the_network(sockets: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return what `listening` found, without the addresses of the loopback interface."""
    others = {name: {ip for ip in ips if not _is_loopback(ip)} for name, ips in sockets.items()}
    return {name: ips for name, ips in others.items() if ips}


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback


def are_among(names: Iterable[str], sockets: dict[str, set[str]]) -> bool:
    """Return whether processes with these words in their names listen at all."""
    return all(any(name in process for process in sockets) for name in names)


def network_interface() -> str:
    """Return the name of an interface with an address of the network; "lo" if there is none."""
    for name, addresses in psutil.net_if_addrs().items():
        ips = [address.address for address in addresses if address.family == socket.AF_INET]
        if any(not _is_loopback(ip) for ip in ips):
            return name
    return "lo"
