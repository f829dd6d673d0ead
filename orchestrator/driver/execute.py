"""Run a job from its run folder to its outcome, whatever trains it.

This is the same code in a `--local` process, in a driver on this machine and in a driver on a
cluster. It makes the plan, keeps status.json true, watches the time limit and writes the outcome.
"""

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator import runs
from orchestrator.driver.client_platform import check_client_platform
from orchestrator.driver.environment import SUBMIT_DIR
from orchestrator.driver.status_updater import StatusUpdater
from orchestrator.runs import RunStatus
from orchestrator.runs.metrics import describe_score
from orchestrator.runs.outcome import write_outcome
from orchestrator.runs.provenance import provenance
from orchestrator.runs.result import read_result
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import Plan, make_plan, read_spec
from orchestrator.tracking.process import TrackerProcess
from orchestrator.units import parse_duration
from workers.errors import (
    ClusterError,
    InputError,
    JobError,
    JobStoppedError,
    NoSuchRunError,
    RunHeldError,
    StorageError,
    TakenOverError,
    WorkerFailedError,
)
from workers.records.activity import Report
from workers.records.owners import Fence
from workers.records.ownership import Ownership, take_for_job
from workers.records.run_folder import DRIVER, RunFolder, StopRequest

if TYPE_CHECKING:
    from workers.records.train_result import TrainResult

log = logging.getLogger(__name__)


class Trainer(Protocol):
    """Where and how a planned job is trained. A context manager that holds the resources."""

    def __enter__(self) -> "Trainer": ...

    def __exit__(self, *_: object) -> None: ...

    def wait_for_capacity(self, run: RunFolder, spec: JobSpec, say: Callable[[str], None]) -> None:
        """Return once there is capacity for the workers. `say` is told what they wait for.

        Raises ResourcesError at the pending timeout, JobStoppedError if a stop was asked for.
        """
        ...

    def resolve_precision(self, gpu: bool) -> str:
        """Return `best_precision` of the machines on which the workers will run."""
        ...

    def train(self, plan: Plan) -> "TrainResult":
        """Train to the end. Raises JobError."""
        ...

    def reports(self) -> list[Report]:
        """See `orchestrator.driver.status_updater.Workers`."""
        ...

    def end_workers(self) -> None: ...


@dataclass(frozen=True)
class Start:
    """For what a process that runs a job was started."""

    job_id: str = ""
    """The id of the job, if it is not the run's own."""
    parent: Mapping[str, Any] = field(default_factory=dict)
    """`runs.parent_process()` of the process that starts this one again, if there is one."""
    previous_death: str = ""
    """What ended the process that ran the job before this one; empty if this is the first."""
    when_lost: Callable[[JobError], None] = lambda error: None
    """Called in another thread once the run is another's, or its folder was deleted. What this
    process still does for the run ends by itself, once it is about to write."""
    tell: Callable[[str], None] = lambda line: None
    """Called with a line for each epoch, start and state of the job."""
    show: Callable[[Mapping[str, str]], None] = lambda facts: None
    """Called with the state of the job and how far it is, as short texts by name."""


def execute(run: RunFolder, trainer: Trainer, start: Start | None = None) -> RunStatus:
    """Take up a run, run its job and leave its status, provenance, result and report there.

    What goes wrong with the job is never raised: it is in the status that this returns. If the run
    has ended, or belongs to another process, nothing of it is changed.
    """
    run, start = run.with_retries(), start or Start()
    status = RunStatus(run.run_id, runs.FAILED)
    try:
        current = runs.read_status(run)
        if current.has_outcome:
            log.error("the run ended before this process began: %s", current.state)
            return current
        owner = take_for_job(run, current.mode, start.job_id or run.run_id)
        # The tracker is waited for when the run is free again, and its end is written.
        with TrackerProcess(run) as tracker, Ownership(run, owner, start.when_lost) as ownership:
            if refused := _refused_by_platform(run, current):
                return refused
            status = _begin(run, current, start)
            tracker.start()
            status = _train_and_write_outcome(run, trainer, status, ownership.fence, start)
        start.tell(_last_line(run, status))
        return status
    except (StorageError, NoSuchRunError, RunHeldError, TakenOverError) as error:
        # The outcome itself cannot be written. A follower finds a run without one, or another's.
        log.error("%s", error.cause)
        return replace(
            status,
            state=runs.FAILED,
            reason=error.cause,
            cure=error.cure,
            exit_code=error.exit_code,
        )


def _refused_by_platform(run: RunFolder, current: RunStatus) -> RunStatus | None:
    """Return the outcome of a job whose client is on another platform; None if it is not."""
    started, allowed = time.time(), False
    with contextlib.suppress(InputError):  # a spec that is damaged is told below
        allowed = read_spec(run).limits.mixed_hardware == "allow"
    try:
        check_client_platform(must_be_equal=not allowed)
    except ClusterError as error:
        log.error("%s", error.cause)
        ended = replace(current, ended_at=time.time(), **_failure(error))
        return write_outcome(run, None, None, ended, started)
    return None


def _begin(run: RunFolder, current: RunStatus, start: Start) -> RunStatus:
    """Write down that this process runs the job now, and remove an earlier outcome."""
    status = replace(
        current,
        attempt=_num_attempts(run),
        state=runs.RESTARTING if start.previous_death else runs.PENDING,
        reason=start.previous_death,
        cure="",
        error="",
        exit_code=None,
        ended_at=None,
        **{"keeper_pid": None, "keeper_started": None, **start.parent},
        **runs.this_process(),
    )
    runs.write_status(run, status)
    run.forget_outcome()
    if start.previous_death:
        run.note_failure(start.previous_death, DRIVER)
    return status


def _provenance(plan: Plan, mode: str) -> dict[str, Any]:
    origin = plan.data.origin.model_dump(mode="json")
    return provenance(plan.job, mode, _submit_dir(), origin)


def _train_and_write_outcome(
    run: RunFolder,
    trainer: Trainer,
    status: RunStatus,
    fence: Fence,
    start: Start,
) -> RunStatus:
    started = time.time()
    updater = StatusUpdater(run, status, fence, start.tell, start.show)
    plan: Plan | None = None
    result: TrainResult | None = None
    outcome: dict[str, Any] = {"state": runs.SUCCEEDED, "exit_code": 0, "reason": ""}
    try:
        spec = read_spec(run)
        _check_failures(run, spec)
        updater.limit_s = parse_duration(spec.limits.time) if spec.limits.time else None
        # One process, in which a thread trains, cannot be ended without the driver.
        stall = spec.limits.stall_timeout if status.mode != runs.LOCAL else None
        updater.workers = trainer
        updater.stall_timeout_s = parse_duration(stall) if stall else None
        with trainer, updater:
            trainer.wait_for_capacity(run, spec, updater.say)
            fewest_workers = 1 if status.mode == runs.LOCAL else spec.scaling.worker_range[0]
            plan = make_plan(run, spec, fewest_workers, trainer.resolve_precision)
            plan = plan.owned_by(fence.term, fence.token)
            run.write_json(run.DATA, plan.job.data.model_dump(mode="json"))
            run.write_json(run.PROVENANCE, _provenance(plan, status.mode))
            result = trainer.train(plan)
        if result.stopped:
            raise _stopped(run, result.stopped, result.steps)
    except JobError as error:
        outcome = _failure(error)
    except Exception as error:  # noqa: BLE001
        # The last resort. Whatever it was, the run must not stay RUNNING for ever.
        log.error("%s", traceback.format_exc())
        outcome = {
            "state": runs.FAILED,
            "exit_code": 1,
            "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
            "cure": "see the log above, or run again with --verbose",
            "error": type(error).__name__,
        }
    status = replace(updater.status, ended_at=time.time(), **outcome)
    fence.check()
    log.info("%s", f"{status.state}: {status.reason}" if status.reason else status.state)
    return write_outcome(run, plan.job if plan else None, result, status, started)


def _last_line(run: RunFolder, status: RunStatus) -> str:
    """Return how the run ended, with its score on the test rows or its reason."""
    score = describe_score(read_result(run) or {}, "test_")
    about = status.reason or (f"test {score}" if score else "")
    return f"{status.state}: {about}" if about else status.state


def _failure(error: JobError) -> dict[str, Any]:
    return {
        "state": runs.STOPPED if _is_stop(error) else runs.FAILED,
        "exit_code": error.exit_code,
        "reason": error.cause,
        "cure": error.cure,
        "error": type(error).__name__,
    }


def _is_stop(error: JobError) -> bool:
    return isinstance(error, JobStoppedError) and error.exit_code != JobError.exit_code


def _submit_dir() -> Path:
    return Path(os.environ.get(SUBMIT_DIR) or Path.cwd())


def _check_failures(run: RunFolder, spec: JobSpec) -> None:
    """Raise WorkerFailedError if the run has failed too often.

    Ray counts the lost workers of one driver. Lost drivers are counted here.
    """
    allowed = spec.limits.max_failures
    if (num := run.num_failures()) > allowed:
        raise WorkerFailedError(
            f"{run.failures()[-1].get('reason')}: failure {num}, and {allowed} are allowed",
            f"see {runs.next_command(run, 'logs')}; allow more: --max-failures",
        )


def _num_attempts(run: RunFolder) -> int:
    """Return how often the workers of a run have started so far."""
    return run.use_metrics(
        lambda records: max((r["attempt"] for r in records if r["kind"] == "start"), default=0)
    )


def _stopped(run: RunFolder, request: StopRequest, step: int) -> JobStoppedError:
    return JobStoppedError(
        request.reason,
        f"go on from step {step}: {runs.next_command(run, 'resume')}",
        request.exit_code,
    )
