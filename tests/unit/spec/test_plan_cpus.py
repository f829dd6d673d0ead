"""The CPUs of a worker, where a spec leaves them open."""

import pytest

from orchestrator.spec.build import build_spec
from orchestrator.spec.plan import shared_cpus


@pytest.mark.parametrize(
    ("num_cpus", "num_workers", "num_shards", "cpus"),
    [
        (2, 1, 8, 2),
        (2, 2, 8, 1),
        (2, 3, 8, 1),  # a rehearsal: they take turns
        (16, 3, 8, 3),  # no worker has more than three shards
        (64, 1, 8, 8),
        (1, 1, 8, 1),
    ],
)
def test_the_workers_share_the_cpus(
    num_cpus: int, num_workers: int, num_shards: int, cpus: int
) -> None:
    spec = build_spec(assignments=[f"dataset.num_shards={num_shards}"])
    assert shared_cpus(spec, num_cpus, num_workers) == cpus


def test_a_number_that_was_given_stays() -> None:
    spec = build_spec(assignments=["scaling.cpus_per_worker=3"])
    assert shared_cpus(spec, 64, 1) == 3
