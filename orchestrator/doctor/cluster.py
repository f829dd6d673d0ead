"""Check a cluster: first what its dashboard reports, then each of its nodes."""

import platform
from dataclasses import replace
from importlib import metadata

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import Node, get_json, list_nodes
from orchestrator.cluster.known_addresses import named_connection
from orchestrator.doctor import ask_nodes
from orchestrator.doctor.check import FAIL, OK, WARN, Check, DoctorOptions, run_check


def check_cluster(options: DoctorOptions) -> list[Check]:
    """Check that the cluster answers, accepts the token, has equal versions and has resources.

    If none of these checks fails, check each node, too. Raises JobError if the cluster cannot be
    reached.
    """
    found = named_connection(options.address)
    headers = {**found.headers, **options.headers}
    cluster = replace(found, headers=headers, verify=options.verify)
    checks, nodes = _check_dashboard(cluster)
    if options.probe and all(check.state != FAIL for check in checks):
        checks += run_check("nodes", lambda: ask_nodes.check_nodes(cluster, options, nodes))
    return checks


def _check_dashboard(cluster: Connection) -> tuple[list[Check], list[Node]]:
    """Return the checks that need HTTP requests only, and the nodes that are alive."""
    ray_version = str(get_json(cluster, "/api/version").get("ray_version"))
    described = get_json(cluster, "/api/v0/cluster_metadata").get("data") or {}
    nodes = [node for node in list_nodes(cluster) if node.is_alive]
    token = "token accepted" if "Authorization" in cluster.headers else "no token required"
    checks = [
        Check("cluster", OK, f"{cluster.address} answers, {token}"),
        compare_versions("ray", metadata.version("ray"), ray_version),
        compare_versions("python", platform.python_version(), str(described.get("pythonVersion"))),
        check_resources(nodes),
    ]
    return checks, nodes


def compare_versions(package: str, here: str, on_cluster: str) -> Check:
    """Check that both sides have the same version; Python's patch level may differ."""
    name = f"cluster {package}"
    if here == on_cluster:
        return Check(name, OK, f"{here} on both sides")
    detail = f"{on_cluster} on the cluster, {here} on this machine"
    if package == "python" and here.split(".")[:2] == on_cluster.split(".")[:2]:
        return Check(name, WARN, detail, f"use Python {on_cluster} on this machine to be safe")
    cure = f"install {package} {on_cluster} on this machine, or {here} on every node"
    return Check(name, FAIL, detail, cure)


def check_resources(nodes: list[Node]) -> Check:
    """Add up the CPUs and GPUs of the nodes that are alive."""
    cpus, gpus = (sum(node.resources[name] for node in nodes) for name in ("CPU", "GPU"))
    detail = f"{len(nodes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs"
    if not cpus:
        return Check(
            "cluster nodes",
            WARN,
            f"{detail}: no node can train now",
            "nothing to do if the cluster starts nodes on demand; otherwise start some",
        )
    return Check("cluster nodes", OK, detail)
