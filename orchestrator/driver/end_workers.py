"""End the workers of a job that stands still, wherever they are."""

import contextlib
import os
import signal
from collections.abc import Sequence

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workers.records.activity import Report

_TIMEOUT_S = 30.0


def end_workers(reports: Sequence[Report]) -> None:
    """Kill each worker that reported, on its node. Ray Train then starts all of them again.

    SIGKILL, since a worker that is suspended handles no other signal.
    """
    tasks = []
    for report in reports:
        where = NodeAffinitySchedulingStrategy(report.node, soft=False)
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(_kill)
        tasks.append(task.remote(report.pid))
    with contextlib.suppress(RayError):
        ray.wait(tasks, num_returns=len(tasks), timeout=_TIMEOUT_S)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
