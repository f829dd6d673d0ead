"""Checks of a cluster: what it says of itself, then what its nodes find."""

import platform
from dataclasses import replace
from importlib import metadata

from orchestrator.cluster.connection import Connection, connection
from orchestrator.cluster.dashboard import Node, get_json, list_nodes
from orchestrator.doctor import probe
from orchestrator.doctor.check import FAIL, OK, WARN, Check, Surroundings, run_check


def check_cluster(where: Surroundings) -> list[Check]:
    """Reachable, token accepted, same versions, what it has; and its nodes, if all that is well.

    Raises JobError where it cannot be reached.
    """
    found = connection(where.address)
    there = replace(found, headers={**found.headers, **where.headers}, verify=where.verify)
    checks, nodes = _ask(there)
    if where.probe and all(check.state != FAIL for check in checks):
        checks += run_check("nodes", lambda: probe.check_nodes(there, where, nodes))
    return checks


def _ask(there: Connection) -> tuple[list[Check], list[Node]]:
    """By HTTP alone. Also returns the nodes that are alive."""
    ray_version = str(get_json(there, "/api/version").get("ray_version"))
    described = get_json(there, "/api/v0/cluster_metadata").get("data") or {}
    nodes = [node for node in list_nodes(there) if node.is_alive]
    token = "token accepted" if "Authorization" in there.headers else "no token asked for"
    checks = [
        Check("cluster", OK, f"{there.address} answers, {token}"),
        compare_versions("ray", metadata.version("ray"), ray_version),
        compare_versions("python", platform.python_version(), str(described.get("pythonVersion"))),
        add_up(nodes),
    ]
    return checks, nodes


def compare_versions(what: str, here: str, there: str) -> Check:
    """Equal versions on both sides; Python's patch level may differ."""
    name = f"cluster {what}"
    if here == there:
        return Check(name, OK, f"{here} on both sides")
    detail = f"{there} there, {here} here"
    if what == "python" and here.split(".")[:2] == there.split(".")[:2]:
        return Check(name, WARN, detail, f"take Python {there} here, to be sure")
    return Check(name, FAIL, detail, f"install {what} {there} here, or {here} on every node")


def add_up(nodes: list[Node]) -> Check:
    """What the nodes that are alive have together."""
    cpus, gpus = (sum(node.resources[name] for node in nodes) for name in ("CPU", "GPU"))
    detail = f"{len(nodes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs"
    if not cpus:
        return Check(
            "cluster nodes",
            WARN,
            f"{detail}: no node can train now",
            "fine where nodes come when a job asks for them; else start some",
        )
    return Check("cluster nodes", OK, detail)
