"""Whether a job's workers fit the nodes of a cluster, and in words what keeps them from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.job_spec import JobSpec

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Need:
    """What the fewest workers of a job ask for."""

    workers: int
    each: dict[str, float]
    """CPU, and GPU where a worker wants one."""

    @classmethod
    def of(cls, spec: JobSpec) -> "Need":
        cpus, gpus = spec.scaling.cpus_per_worker, spec.scaling.gpus_per_worker
        each = {"CPU": 1.0 if cpus == "auto" else float(cpus)}
        return cls(spec.scaling.worker_range[0], each | ({"GPU": float(gpus)} if gpus else {}))

    @property
    def total(self) -> dict[str, float]:
        return {name: amount * self.workers for name, amount in self.each.items()}


def what_never_fits(need: Need, nodes: Iterable[Resources]) -> str:
    """What no node, or not all of them together, can give; empty where there would be room.

    `nodes`: all resources of each living node, whoever holds them now.
    """
    nodes = list(nodes)
    rooms = [_room(node, need.each) for node in nodes]
    if not any(rooms):
        largest = {name: max((n.get(name, 0.0) for n in nodes), default=0.0) for name in need.each}
        return (
            f"a worker needs {listed(need.each)}, the largest of {len(nodes)} node(s) has "
            f"{listed(largest)}"
        )
    if sum(rooms) < need.workers:
        return (
            f"{need.workers} workers need {listed(need.each)} each, the {len(nodes)} node(s) have "
            f"room for {sum(rooms)}"
        )
    return ""


def says_never(reason: str) -> bool:
    """Whether a text is one of `what_never_fits`."""
    return "node(s) has " in reason or "have room for" in reason


def listed(resources: Resources) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())


def _room(node: Resources, each: Resources) -> int:
    """Workers that a node has room for."""
    return int(min(node.get(name, 0.0) // amount for name, amount in each.items()))
