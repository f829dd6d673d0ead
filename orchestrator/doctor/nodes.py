"""The reports of a cluster's nodes in a few lines: one of what most find, one for each other."""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata

from orchestrator.cluster.dashboard import Node
from orchestrator.doctor import findings
from orchestrator.doctor.check import FAIL, OK, Check, state_of_disk, state_of_memory
from orchestrator.doctor.data import Shard
from orchestrator.doctor.findings import Finding, without_build
from orchestrator.node_report import DRIVER, PACKAGES, NodeReport

_SILENT = "look at it in the dashboard: its Ray, or a file system there, may hang"
_Look = Callable[[NodeReport], Finding]


def judge(
    reports: list[NodeReport], nodes: list[Node], shard: Shard | None, took: str
) -> list[Check]:
    """All checks of the nodes.

    Args:
        nodes: those that should have answered, beside the driver.
        shard: what this machine left in the storage; None where it could not.
        took: how long was waited, in words.
    """
    by_id = {report.place: report for report in reports}
    places = _places(nodes, by_id)
    checks = sum_up("answer", {name: _answer(by_id.get(i), took) for i, name in places.items()})
    answers = {name: by_id[i] for i, name in places.items() if i in by_id and not by_id[i].error}
    for what, look in _looks(list(answers.values()), nodes, shard).items():
        checks += sum_up(what, {name: look(report) for name, report in answers.items()})
    return checks


def sum_up(what: str, found: Mapping[str, Finding]) -> list[Check]:
    """A line for what most places find, and one for each place that finds something else.

    `found`: by the names of the places.
    """
    counts = Counter(found.values())
    most = max(counts, key=lambda one: (counts[one], one.state == OK), default=None)
    checks = []
    if most and (counts[most] > 1 or len(found) == 1):
        agreed = [place for place in found if found[place] == most]
        detail = f"{_listed(agreed, list(found))}: {most.detail}"
        checks = [Check(f"nodes: {what}", most.state, detail, most.cure)]
        found = {place: one for place, one in found.items() if one != most}
    return checks + [
        Check(f"{place}: {what}", one.state, one.detail, one.cure) for place, one in found.items()
    ]


def _listed(some: list[str], all_: list[str]) -> str:
    """`driver and all 3 nodes`, `2 of 3 nodes`."""
    there, of = (sum(place != DRIVER for place in places) for places in (some, all_))
    every = f"all {of} nodes" if of > 1 else "the one node"
    nodes = every if there == of else f"{there} of {of} nodes"
    return f"{DRIVER} and {nodes}" if DRIVER in some else nodes


def _places(nodes: list[Node], answered: Iterable[str]) -> dict[str, str]:
    """A name for each id, all different. `answered`: ids, some of nodes that came meanwhile."""
    times = Counter(node.name for node in nodes)
    names = {
        node.node_id: node.name if times[node.name] == 1 else f"{node.name} {_short(node.node_id)}"
        for node in nodes
    }
    late = {i: _short(i) for i in answered if i not in names and i != DRIVER}
    return {DRIVER: DRIVER} | {i: f"node {name}" for i, name in (names | late).items()}


def _short(node_id: str) -> str:
    return node_id[:12]


def _answer(report: NodeReport | None, took: str) -> Finding:
    if report is None:
        return Finding(FAIL, f"no answer {took}", _SILENT)
    if report.error:
        return Finding(FAIL, report.error, _SILENT)
    return Finding(OK, f"answered {took}")


def _looks(answers: list[NodeReport], nodes: list[Node], shard: Shard | None) -> dict[str, _Look]:
    """The checks of one report each, where they need to know of the others."""
    here = versions_here()
    usual = {
        name: _most(without_build(r.versions[name]) for r in answers if name in r.versions)
        for name in here
    }
    usual_nccl = _most(report.nccl for report in answers if report.nccl)
    offered = {node.node_id: node.gpus_total for node in nodes}
    disks = [r.disk_free for r in answers if state_of_disk(r.disk_free) == OK]
    memories = [r.memory_free for r in answers if state_of_memory(r.memory_free) == OK]
    looks: dict[str, _Look] = {"storage": findings.storage}
    if shard is not None:
        looks["data"] = lambda report: findings.data(report, shard)
    return looks | {
        "packages": lambda report: findings.packages(report, usual, here),
        "gpus": lambda report: findings.gpus(report, offered.get(report.place, 0.0)),
        "nccl": lambda report: findings.nccl(report, usual_nccl),
        "disk": lambda report: findings.disk(report, min(disks, default=0)),
        "memory": lambda report: findings.memory(report, min(memories, default=0)),
    }


def versions_here() -> dict[str, str]:
    """Of Python and of what a job needs of a cluster, without builds."""
    versions = {name: without_build(metadata.version(name)) for name in PACKAGES}
    return {"python": platform.python_version(), **versions}


def _most(versions: Iterable[str]) -> str:
    return max(Counter(versions).items(), key=lambda one: one[1], default=("", 0))[0]
