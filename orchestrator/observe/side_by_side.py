"""Follow several jobs on a cluster, as many at the same time as fit there."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from orchestrator.launch.submission import Submission
from orchestrator.runs import RunStatus

_POLL_S = 1.0


class Crowd(Protocol):
    """What shows several jobs to a person."""

    def started(self, run_id: str) -> None: ...

    def ended(self, status: RunStatus) -> None: ...


def run_side_by_side(
    jobs: Sequence[Submission],
    at_once: int,
    look: Callable[[str], RunStatus],
    view: Crowd,
) -> list[RunStatus]:
    """Start jobs and return their terminal statuses once all have ended.

    A job is started when fewer than `at_once` of them go on: those that wait for others to end
    would else run into the limit of the time that they may be pending.

    Args:
        look: returns the status of a run on the cluster.

    Raises JobError if one cannot be started. Those that were started go on, as after an interrupt.
    """
    waiting, going, ended = list(jobs), list[str](), list[RunStatus]()
    while waiting or going:
        while waiting and len(going) < at_once:
            run = waiting.pop(0).start()
            going.append(run.run_id)
            view.started(run.run_id)
        for status in [look(run_id) for run_id in going]:
            if status.is_terminal:
                going.remove(status.run_id)
                ended.append(status)
                view.ended(status)
        if going:
            time.sleep(_POLL_S)
    return ended
