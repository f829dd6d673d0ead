"""Sum up the reports of a cluster's nodes.

Each check has one line for the finding that most nodes share, and one for each other node.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata

from orchestrator.cluster.dashboard import Node
from orchestrator.doctor import findings
from orchestrator.doctor.check import FAIL, OK, Check, state_of_disk, state_of_memory
from orchestrator.doctor.data import Shard
from orchestrator.doctor.findings import Finding, without_build
from orchestrator.doctor.node_report import DRIVER, PACKAGES, NodeReport

_SILENT = "look at the node in the dashboard: Ray or a file system there may hang"
_NodeCheck = Callable[[NodeReport], Finding]


def judge_reports(
    reports: list[NodeReport], nodes: list[Node], shard: Shard | None, took: str
) -> list[Check]:
    """Return all checks of the nodes and of the driver.

    Args:
        nodes: the nodes that should have reported, in addition to the driver.
        shard: the shard that this machine wrote to the storage; None if it could not write it.
        took: how long the reports took, in words, such as "within 4 s".
    """
    by_id = {report.place: report for report in reports}
    places = _name_places(nodes, by_id)
    checks = sum_up("answer", {name: _answer(by_id.get(i), took) for i, name in places.items()})
    answers = {name: by_id[i] for i, name in places.items() if i in by_id and not by_id[i].error}
    for label, check in _node_checks(list(answers.values()), nodes, shard).items():
        checks += sum_up(label, {name: check(report) for name, report in answers.items()})
    return checks


def sum_up(label: str, by_place: Mapping[str, Finding]) -> list[Check]:
    """Return a line for the most frequent finding, and one for each place with another finding.

    `by_place`: the finding of each place, by the place's name.
    """
    counts = Counter(by_place.values())
    usual = max(counts, key=lambda finding: (counts[finding], finding.state == OK), default=None)
    checks = []
    if usual and (counts[usual] > 1 or len(by_place) == 1):
        agreed = [place for place in by_place if by_place[place] == usual]
        detail = f"{_describe_places(agreed, list(by_place))}: {usual.detail}"
        checks = [Check(f"nodes: {label}", usual.state, detail, usual.cure)]
        by_place = {place: finding for place, finding in by_place.items() if finding != usual}
    return checks + [
        Check(f"{place}: {label}", finding.state, finding.detail, finding.cure)
        for place, finding in by_place.items()
    ]


def _describe_places(some: list[str], all_: list[str]) -> str:
    """Return for instance `driver and all 3 nodes`, or `2 of 3 nodes`."""
    num, total = (sum(place != DRIVER for place in places) for places in (some, all_))
    every = f"all {total} nodes" if total > 1 else "the only node"
    nodes = every if num == total else f"{num} of {total} nodes"
    return f"{DRIVER} and {nodes}" if DRIVER in some else nodes


def _name_places(nodes: list[Node], answered: Iterable[str]) -> dict[str, str]:
    """Return a unique name for each id.

    `answered`: the ids of all reports. They may include nodes that joined after `nodes` was listed.
    """
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


def _node_checks(
    answers: list[NodeReport], nodes: list[Node], shard: Shard | None
) -> dict[str, _NodeCheck]:
    """Return the checks of one report. Some compare it with the other reports."""
    here = versions_here()
    usual = {
        name: _most_frequent(without_build(r.versions[name]) for r in answers if name in r.versions)
        for name in here
    }
    usual_nccl = _most_frequent(report.nccl for report in answers if report.nccl)
    offered = {node.node_id: node.gpus_total for node in nodes}
    disks = [r.disk_free for r in answers if state_of_disk(r.disk_free) == OK]
    memories = [r.memory_free for r in answers if state_of_memory(r.memory_free) == OK]
    checks: dict[str, _NodeCheck] = {"storage": findings.storage}
    if shard is not None:
        checks["data"] = lambda report: findings.data(report, shard)
    return checks | {
        "packages": lambda report: findings.packages(report, usual, here),
        "gpus": lambda report: findings.gpus(report, offered.get(report.place, 0.0)),
        "nccl": lambda report: findings.nccl(report, usual_nccl),
        "disk": lambda report: findings.disk(report, min(disks, default=0)),
        "memory": lambda report: findings.memory(report, min(memories, default=0)),
    }


def versions_here() -> dict[str, str]:
    """Return this machine's versions of Python and of PACKAGES, without builds' names."""
    versions = {name: without_build(metadata.version(name)) for name in PACKAGES}
    return {"python": platform.python_version(), **versions}


def _most_frequent(versions: Iterable[str]) -> str:
    return max(Counter(versions).items(), key=lambda item: item[1], default=("", 0))[0]
