"""Whether a job's workers fit the nodes of a cluster, and in words why they do not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from workers.errors import ResourcesError

if TYPE_CHECKING:
    from orchestrator.spec.job_spec import JobSpec

Resources = Mapping[str, float]
"""Amounts by Ray's names of resources: CPU, GPU."""
_RAY_UNITS = 10_000
_LONGER = "wait longer: --pending-timeout"


@dataclass(frozen=True)
class ResourceRequest:
    """What the fewest workers of a job ask Ray for."""

    num_workers: int
    per_worker: dict[str, float]
    """CPU, and GPU if a worker wants one."""

    @classmethod
    def of(cls, spec: "JobSpec") -> "ResourceRequest":
        cpus, gpus = spec.scaling.cpus_per_worker, spec.scaling.gpus_per_worker
        cpu = {"CPU": 1.0 if cpus == "auto" else float(cpus)}
        gpu = {"GPU": float(gpus)} if gpus else {}
        return cls(spec.scaling.worker_range[0], cpu | gpu)

    @property
    def options(self) -> str:
        """The options with which a job asks for less, for a line of cure."""
        gpus = ", --gpus-per-worker (0 for none)" if "GPU" in self.per_worker else ""
        return f"--workers, --cpus-per-worker{gpus}"

    @property
    def gpus_alone(self) -> "ResourceRequest":
        """The same request without its CPUs."""
        per_worker = {name: amount for name, amount in self.per_worker.items() if name == "GPU"}
        return ResourceRequest(self.num_workers, per_worker)

    @property
    def total(self) -> dict[str, float]:
        return {name: amount * self.num_workers for name, amount in self.per_worker.items()}


def why_it_cannot_fit(request: ResourceRequest, nodes: Iterable[Resources]) -> str:
    """Say what no node, or not all nodes together, can offer. Empty if the request can fit.

    `nodes`: all resources of each living node, whatever uses them now.
    """
    nodes = list(nodes)
    per_worker = request.per_worker
    capacities = [_capacity(node, per_worker) for node in nodes]
    if not any(capacities):
        largest = {name: max((n.get(name, 0.0) for n in nodes), default=0.0) for name in per_worker}
        return (
            f"a worker needs {format_resources(per_worker)}, the largest of {len(nodes)} node(s) "
            f"has {format_resources(largest)}"
        )
    if sum(capacities) < request.num_workers:
        return (
            f"{request.num_workers} workers need {format_resources(per_worker)} each, the "
            f"{len(nodes)} node(s) have room for {sum(capacities)}"
        )
    return ""


class Waiting(NamedTuple):
    """Why a job's workers have not started yet, each in one line."""

    cause: str
    cure: str
    """What to do if they do not start in time."""


def why_they_wait(
    request: ResourceRequest, nodes: Iterable[Resources], free: Iterable[Resources]
) -> Waiting:
    """Say what keeps workers that Ray has given nothing yet from starting.

    Args:
        nodes: all resources of each living node, whatever uses them now.
        free: what each of them has free.
    """
    free = list(free)
    less = f"ask for less: {request.options}; or {_LONGER}"
    if misfit := why_it_cannot_fit(request, nodes):
        return Waiting(misfit, less)
    if not why_it_cannot_fit(request, free):
        return is_starting(request)
    total = {name: sum(node.get(name, 0.0) for node in free) for name in request.per_worker}
    need = f"{_need(request)}, {format_resources(total)} are free"
    return Waiting(f"{need}: others hold the rest", less)


def is_starting(request: ResourceRequest) -> Waiting:
    """Say that workers have what they need, or that it is free for them."""
    return Waiting(f"{_need(request)}, which is there: Ray is still starting them", _LONGER)


def _need(request: ResourceRequest) -> str:
    per_worker = format_resources(request.per_worker)
    return f"{request.num_workers} worker(s) need {per_worker} each"


def num_at_once(request: ResourceRequest, nodes: Iterable[Resources]) -> int:
    """Return how many jobs with the same request the nodes can run side by side; at least one.

    `nodes`: all resources of each living node, whatever uses them now.
    """
    num_workers = sum(_capacity(node, request.per_worker) for node in nodes)
    return max(1, num_workers // request.num_workers)


def fitting_cpus(
    per_worker: Resources, num_workers: int, nodes: Iterable[Resources], most: int
) -> int:
    """Return the most CPUs, up to `most`, with which all workers find room at the same time.

    Args:
        per_worker: what a worker needs. Its CPUs do not count.
        nodes: what each living node offers. Of a GPU that is free in part, nothing counts.

    Returns 1 if there is no room for more, and if there is no room at all.
    """
    nodes = list(nodes)
    for cpus in range(most, 1, -1):
        request = {**per_worker, "CPU": float(cpus)}
        if sum(_capacity(node, request) for node in nodes) >= num_workers:
            return cpus
    return 1


def check_gpus_here(spec: "JobSpec", num_gpus: float) -> None:
    """Raise ResourcesError unless so many GPUs of this machine are enough for a job's workers."""
    share, fewest = spec.scaling.gpus_per_worker, spec.scaling.worker_range[0]
    if share and fewest > num_places(num_gpus, share):
        raise ResourcesError(
            f"{fewest} worker(s) need {share:g} GPU each, this machine has {num_gpus:g}",
            "lower --workers or --gpus-per-worker, or leave GPUs out: --gpus-per-worker 0",
        )


def says_it_cannot_fit(reason: str) -> bool:
    """Return whether a text is one that `why_it_cannot_fit` returns."""
    return "node(s) has " in reason or "have room for" in reason


def format_resources(resources: Resources) -> str:
    """Write resources for a person: `2 CPU and 1 GPU`."""
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())


def _capacity(node: Resources, per_worker: Resources) -> int:
    """Return the number of workers that fit a node."""
    return min(num_places(node.get(name, 0.0), amount) for name, amount in per_worker.items())


def num_places(offered: float, amount: float) -> int:
    """Return how many workers find their amount of a resource in what a node offers.

    Ray counts in ten-thousandths, so that ten workers of 0.1 GPU fit one. It takes a fraction of a
    GPU from one GPU, never from two.
    """
    units = round(amount * _RAY_UNITS)
    if amount < 1:
        return int(offered) * (_RAY_UNITS // units)
    return round(offered * _RAY_UNITS) // units
