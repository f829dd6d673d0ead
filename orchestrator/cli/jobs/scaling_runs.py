"""The runs of `rnnjob scaling`: one for each number of workers, and what they came to."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from orchestrator import runs
from orchestrator.cluster.capacity import says_it_cannot_fit
from orchestrator.cluster.connection import Connection
from orchestrator.cluster.ray_jobs_api import scaling
from orchestrator.launch.submission import Submission
from orchestrator.runs import RunStatus
from orchestrator.runs.hardware import num_usable_cpus
from orchestrator.runs.repeats import check_free
from orchestrator.runs.result import read_result
from orchestrator.runs.scaling import Curve, read_point
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import shared_cpus, with_one_cpu
from workers.errors import ClusterError, InputError, ReplicaError, ResourcesError, StorageError
from workers.shards.order import most_shards
from workers.storage.storage import Storage


def worker_numbers(text: str) -> list[int]:
    """Return the numbers of workers in a text such as `1,2,4`, ascending. Raises InputError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(
            f"--workers {text} is no list of numbers of at least 1", "write for example 1,2,4"
        )
    return sorted(set(map(int, parts)))


def specs_for(
    spec: JobSpec, numbers: Sequence[int], steps: int, run_id: str | None, *, is_here: bool
) -> Mapping[str | None, JobSpec]:
    """Return a spec, and the id of its run, for each number of workers. Else they are the same.

    Args:
        numbers: ascending.
        is_here: whether they run on this machine, whose CPUs the most workers share. On a
            cluster, a worker has one.

    Raises InputError if an id is taken or a number is too large.
    """
    name = runs.new_run_id(spec.name) if run_id is None else run_id
    ids = {f"{name}-workers{number}": number for number in numbers}
    check_free(Storage(spec.storage), ids)
    short = {"training.steps": steps, "training.earlier_ends": [], "limits.steps": None}
    most = spec.with_values({**short, "scaling.workers": numbers[-1]})
    if is_here:
        cpus = shared_cpus(most, num_usable_cpus(), numbers[-1])
        most = most.with_values({"scaling.cpus_per_worker": cpus})
    else:
        most = with_one_cpu(most)
    return {each: most.with_values({"scaling.workers": number}) for each, number in ids.items()}


def uneven(num_shards: int, numbers: Sequence[int]) -> Iterator[str]:
    """Yield a line for each number of workers that do not all host the same number of shards."""
    for number in numbers:
        most = most_shards(num_shards, number)
        if most * number != num_shards:
            yield (
                f"{num_shards} shards are no multiple of {number} workers: one hosts {most}, so "
                f"they are at most {num_shards / most:.3g} times as fast as one"
            )


def check_room(jobs: Sequence[Submission], connection: Connection) -> None:
    """Raise ResourcesError if a cluster has no room for a job, and no autoscaler."""
    for job in jobs:
        fits = str(job.destination.get("fits", ""))
        if not says_it_cannot_fit(fits):
            continue
        with contextlib.suppress(ClusterError):  # what is not known is no reason to refuse
            if scaling(connection).is_impossible:
                raise ResourcesError(
                    f"{fits.partition(': ')[2]}, and the cluster has no autoscaler",
                    f"leave {job.spec.scaling.workers} out of --workers, or lower "
                    "--cpus-per-worker",
                )


def measured(
    jobs: Sequence[Submission],
    ended: Sequence[RunStatus],
    warm_up: int,
    warn: Callable[[str], None],
) -> Curve:
    """Read the curve of the runs that succeeded. One that has no step to count is warned of."""
    succeeded = {status.run_id for status in ended if status.state == runs.SUCCEEDED}
    points = []
    for job in jobs:
        if job.run_id in succeeded:
            workers = job.spec.scaling.worker_range[0]
            try:
                weights = (read_result(job.run) or {}).get("weights_sha256")
                points.append(read_point(job.run, workers, weights, warm_up))
            except StorageError as error:
                warn(f"{workers} worker(s) are left out: {error.cause}; {error.cure}")
    return Curve(points, jobs[0].spec.dataset.num_shards)


def check_same_weights(curve: Curve, spec: JobSpec) -> None:
    """Raise ReplicaError if runs that must have the same weights do not."""
    may_differ = spec.training.gradients == "fused" or spec.limits.mixed_hardware == "allow"
    if curve.weights_are_same or may_differ:
        return
    first = curve.points[0]
    other = next(point for point in curve.points if point.weights != first.weights)
    raise ReplicaError(
        f"{first.workers} and {other.workers} worker(s) ended with different weights",
        f"see what differs: rnnjob compare {first.run_id} {other.run_id}",
    )
