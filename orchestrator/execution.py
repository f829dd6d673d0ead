"""Runs a job from its run folder to its outcome, whoever trains it.

The same code in a `--local` process, in the driver on this machine, and in the driver on a cluster:
it settles what the spec left open, keeps status.json true, watches the time limit, and writes what
came out.
"""

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator import runs
from orchestrator.job_spec import JobSpec
from orchestrator.outcome import write_outcome
from orchestrator.plan import Plan, make_plan, read_spec
from orchestrator.provenance import provenance
from orchestrator.runs import LOCAL, RunStatus
from orchestrator.units import parse_duration
from orchestrator.watch import Watch, leave, stay
from workers.errors import (
    JobError,
    JobStoppedError,
    NoSuchRunError,
    StorageError,
    WorkerFailedError,
)
from workers.run_folder import DRIVER, RunFolder, StopRequest

if TYPE_CHECKING:
    from workers.train import TrainResult

log = logging.getLogger(__name__)


class Trainer(Protocol):
    """Where and how a planned job is trained; a context, within which its resources are held."""

    def __enter__(self) -> "Trainer": ...

    def __exit__(self, *_: object) -> None: ...

    def wait_for_room(self, run: RunFolder, spec: JobSpec, say: Callable[[str], None]) -> None:
        """Returns when the workers fit; `say` is told what they wait for.

        Raises ResourcesError at the pending timeout, JobStoppedError where a stop was asked for.
        """
        ...

    def settle_precision(self, gpu: bool) -> str:
        """`best_precision` where the workers will run."""
        ...

    def train(self, plan: Plan) -> "TrainResult":
        """Trains to the end. Raises JobError."""
        ...


@dataclass(frozen=True)
class Owner:
    """Who this process is to a run."""

    job_id: str = ""
    """As the run's status has it."""
    keeper: Mapping[str, Any] = field(default_factory=dict)
    """`runs.keeper_process()`, where there is one."""
    died: str = ""
    """What ended the process that ran the job before this one."""

    def owns(self, status: RunStatus) -> bool:
        """Not a run that was given up, or resumed as another job, before this process began."""
        same = status.job_id == self.job_id and not status.has_outcome
        return same and (not self.died or status.keeper_pid == self.keeper.get("keeper_pid"))


def execute(run: RunFolder, trainer: Trainer, owner: Owner | None = None) -> RunStatus:
    """Runs a job and leaves its status, provenance, result and report in the run folder.

    Never raises for what goes wrong with the job: the outcome is the status. Returns the status as
    it is where the run is no longer the owner's.
    """
    run, owner = run.patient(), owner or Owner()
    status = RunStatus(run.run_id, runs.FAILED)
    try:
        there = runs.read_status(run)
        if not owner.owns(there):
            log.error("the run was given up or taken over before this process began: leaving it")
            return there
        status = replace(
            there,
            attempt=_attempts(run),
            state=runs.RESTARTING if owner.died else runs.PENDING,
            reason=owner.died,
            cure="",
            error="",
            exit_code=None,
            ended_at=None,
            **{"keeper_pid": None, "keeper_started": None, **owner.keeper},
            **runs.this_process(),
        )
        runs.write_status(run, status)
        run.forget_outcome()
        if owner.died:
            run.note_failure(owner.died, DRIVER)
        return _execute(run, trainer, status)
    except (StorageError, NoSuchRunError) as error:
        # The outcome itself cannot be written; who follows finds the run without one.
        log.info("%s", error.cause)
        return replace(
            status,
            state=runs.FAILED,
            reason=error.cause,
            cure=error.cure,
            exit_code=error.exit_code,
        )


def _execute(run: RunFolder, trainer: Trainer, status: RunStatus) -> RunStatus:
    started = time.time()
    # Whoever follows a --local run is in this process, and writes its end where it was interrupted.
    watch = Watch(run, status, stay if status.mode == LOCAL else leave)
    plan: Plan | None = None
    result: TrainResult | None = None
    outcome: dict[str, Any] = {"state": runs.SUCCEEDED, "exit_code": 0, "reason": ""}
    try:
        spec = read_spec(run)
        _check_budget(run, spec)
        watch.limit_s = parse_duration(spec.limits.time) if spec.limits.time else None
        with trainer, watch:
            trainer.wait_for_room(run, spec, watch.say)
            fewest = 1 if status.mode == LOCAL else spec.scaling.worker_range[0]
            plan = make_plan(run, spec, fewest, trainer.settle_precision)
            run.write_json(run.PROVENANCE, provenance(plan.job, status.mode))
            result = trainer.train(plan)
        if result.stopped:
            raise _stopped(run, result.stopped, result.steps)
    except JobError as error:
        stopped = isinstance(error, JobStoppedError)
        outcome = {
            "state": runs.STOPPED if stopped else runs.FAILED,
            "exit_code": error.exit_code,
            "reason": error.cause,
            "cure": error.cure,
            "error": type(error).__name__,
        }
    except Exception as error:  # noqa: BLE001
        # The last resort: whatever it was, the run must not stay RUNNING for ever.
        log.error("%s", traceback.format_exc())
        outcome = {
            "state": runs.FAILED,
            "exit_code": 1,
            "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
            "cure": "see the log above, or run again with --verbose",
            "error": type(error).__name__,
        }
    status = replace(watch.status, ended_at=time.time(), **outcome)
    log.info("%s", f"{status.state}: {status.reason}" if status.reason else status.state)
    return write_outcome(run, plan.job if plan else None, result, status, started)


def _check_budget(run: RunFolder, spec: JobSpec) -> None:
    """Ray counts lost workers of one driver; lost drivers are counted here."""
    allowed = spec.limits.max_failures
    if (num := run.num_failures()) > allowed:
        raise WorkerFailedError(
            f"{run.failures()[-1].get('reason')}: failure {num}, and {allowed} are allowed",
            f"see {runs.next_command(run, 'logs')}; allow more: --max-failures",
        )


def _attempts(run: RunFolder) -> int:
    """How often the workers of a run have started so far."""
    return max(
        (r.get("attempt", 0) for r in run.read_metrics() if r.get("kind") == "start"), default=0
    )


def _stopped(run: RunFolder, request: StopRequest, step: int) -> JobStoppedError:
    return JobStoppedError(
        request.reason,
        f"go on from step {step}: {runs.next_command(run, 'resume')}",
        request.exit_code,
    )
