"""Look at one run again and again: its record first, then the cluster that it runs on."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import runs
from orchestrator.observe.deadline import ask_within
from orchestrator.observe.evidence import command_about, evidence_here, state_here
from orchestrator.observe.state import Evidence, decide, no_answer_from
from orchestrator.runs import RunStatus
from workers.errors import ClusterError, InputError, JobError
from workers.records.run_folder import RunFolder

if TYPE_CHECKING:
    from orchestrator.cluster.ray_jobs_api import RayJob
    from orchestrator.launch.ray_jobs import RayJobsLauncher

_POLL_S = 1.0
_DEADLINE_S = 6.0


class Observer:
    """Never fails because of the cluster, and writes nothing: what cannot be asked is taken from
    the run's record."""

    def __init__(self, run: RunFolder, connect: "Callable[[str], RayJobsLauncher]") -> None:
        """`connect`: returns the way to the cluster of an address; may raise InputError."""
        self.run = run
        self._connect = connect
        self._launcher: RayJobsLauncher | None = None
        self._asked_at = -_POLL_S
        self._asked_about = ""
        self.job: RayJob | None = None
        """What Ray Jobs said last."""
        self.refusal: JobError | None = None
        """Why the cluster could not be asked."""

    def status(self) -> RunStatus:
        """Return the run's state as it is decided from all that is known of it now."""
        record = runs.read_status(self.run)
        told = self._decide(record)
        if told.state == record.state:
            return told
        # The run may have ended, or been resumed, while its process or its cluster was asked.
        newer = runs.read_status(self.run)
        return told if newer == record else self._decide(newer)

    def status_here(self) -> RunStatus:
        """Return the run's state as far as it is known without its cluster."""
        return state_here(self.run)

    def ask(self, record: RunStatus) -> None:
        """Ask the cluster of a run, and update `job` and `refusal`."""
        self._asked_at, self._asked_about = time.monotonic(), record.job_id
        question = {"job": lambda: self._ask(record)}
        answer = ask_within(_DEADLINE_S, question).get("job")
        late = no_answer_from(record.address, _DEADLINE_S)
        self.job, self.refusal = answer or (self.job, late)

    def _ask(self, record: RunStatus) -> "tuple[RayJob | None, JobError | None]":
        try:
            self._launcher = self._launcher or self._connect(record.address)
            return self._launcher.job(self.run), None
        except (ClusterError, InputError) as error:
            return None, error

    def _decide(self, record: RunStatus) -> RunStatus:
        return decide(record, self._evidence(record), command_about(self.run))

    def _evidence(self, record: RunStatus) -> Evidence:
        if record.is_terminal or not record.is_on_cluster:
            return evidence_here(self.run, record)
        is_late = time.monotonic() - self._asked_at >= _POLL_S
        if is_late or record.job_id != self._asked_about:
            self.ask(record)
        # The lease is looked at last: what is renewed after the cluster answered is newer.
        here = evidence_here(self.run, record)
        return replace(here, is_asked=True, refusal=self.refusal, job=self.job)
