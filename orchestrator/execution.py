"""Runs a job from its run folder to its outcome, whoever trains it.

The same code in a `--local` process, in the driver on this machine, and in the driver on a cluster:
it settles what the spec left open, keeps status.json true, watches the time limit, and writes what
came out.
"""

import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import runs
from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import PreparedData, open_prepared
from orchestrator.job_spec import JobSpec, load_spec
from orchestrator.provenance import provenance
from orchestrator.report.html import write_report
from orchestrator.result import build_result
from orchestrator.runs import RunStatus
from orchestrator.units import parse_bytes, parse_duration, show_duration
from workers.config import TrainJob
from workers.errors import JobError, JobStoppedError, StorageError
from workers.run_folder import MetricsTail, RunFolder, StopRequest
from workers.storage import Storage

if TYPE_CHECKING:
    from workers.train import TrainResult

log = logging.getLogger(__name__)
_WATCH_S = 0.25


@dataclass(frozen=True)
class Plan:
    """A job with everything settled that its spec left open."""

    spec: JobSpec
    job: TrainJob
    data: PreparedData


Train = Callable[[Plan], "TrainResult"]
"""Trains a planned job to its end. Raises JobError."""


def execute(run: RunFolder, train: Train) -> RunStatus:
    """Runs a job and leaves its status, provenance, result and report in the run folder.

    Never raises for what goes wrong with the job: the outcome is the status.
    """
    status = RunStatus(run.run_id, runs.FAILED)
    try:
        status = replace(
            runs.read_status(run),
            state=runs.PENDING,
            reason="",
            cure="",
            exit_code=None,
            ended_at=None,
            **runs.this_process(),
        )
        runs.write_status(run, status)
        return _execute(run, train, status)
    except StorageError as error:
        # The outcome itself cannot be written; who follows finds the run without one.
        log.info("%s", error.cause)
        return replace(
            status,
            state=runs.FAILED,
            reason=error.cause,
            cure=error.cure,
            exit_code=error.exit_code,
        )


def _execute(run: RunFolder, train: Train, status: RunStatus) -> RunStatus:
    started = time.time()
    watch = _Watch(run, status)
    plan: Plan | None = None
    result: TrainResult | None = None
    outcome: dict[str, Any] = {"state": runs.SUCCEEDED, "exit_code": 0}
    try:
        plan = make_plan(run)
        watch.limit_s = parse_duration(plan.spec.limits.time) if plan.spec.limits.time else None
        run.write_json(run.PROVENANCE, provenance(plan.job, status.mode))
        with watch:
            result = train(plan)
        if result.stopped:
            raise _stopped(run, plan, result.stopped, result.steps)
    except JobError as error:
        stopped = isinstance(error, JobStoppedError)
        outcome = {
            "state": runs.STOPPED if stopped else runs.FAILED,
            "exit_code": error.exit_code,
            "reason": error.cause,
            "cure": error.cure,
        }
    except Exception as error:  # noqa: BLE001
        # The last resort: whatever it was, the run must not stay RUNNING for ever.
        log.error("%s", traceback.format_exc())
        outcome = {
            "state": runs.FAILED,
            "exit_code": 1,
            "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}",
            "cure": "see the log above, or run again with --verbose",
        }
    status = replace(watch.status, ended_at=time.time(), **outcome)
    _write_outcome(run, plan, result, status, started)
    return status


def _stopped(run: RunFolder, plan: Plan, request: StopRequest, step: int) -> JobStoppedError:
    return JobStoppedError(
        request.reason,
        f"go on from step {step}: rnnjob resume {run.run_id} --storage {plan.spec.storage}",
        request.exit_code,
    )


def _write_outcome(
    run: RunFolder,
    plan: Plan | None,
    result: "TrainResult | None",
    status: RunStatus,
    started: float,
) -> None:
    """The status is written last: who sees a terminal state finds the result beside it."""
    try:
        content = build_result(run, plan.job if plan else None, result, status, started)
        run.write_json(run.RESULT, content)
        write_report(run, content)
    finally:
        runs.write_status(run, status)


def make_plan(run: RunFolder) -> Plan:
    """Reads the run's spec and data; writes the spec back once `auto` is settled.

    Raises JobError.
    """
    where = run.storage.where(run.JOB)
    spec = load_spec(run.storage.read(run.JOB).decode(), where)
    if spec.training.precision == "auto":
        settled = best_precision(spec.scaling.gpus_per_worker > 0)
        spec = spec.with_values({"training.precision": settled})
        run.storage.write(run.JOB, spec.to_yaml().encode())
    data = prepare_for(spec)
    job = TrainJob(
        run_id=run.run_id,
        run_uri=run.storage.uri,
        fingerprint=spec.fingerprint(data.shape.fingerprint),
        data=data.shape,
        model=spec.model,
        augment=spec.augment,
        training=spec.training,
        checkpoint=spec.checkpoint,
        log=spec.log,
        cpus_per_worker=1
        if spec.scaling.cpus_per_worker == "auto"
        else spec.scaling.cpus_per_worker,
    )
    return Plan(spec, job, data)


def prepare_for(spec: JobSpec) -> PreparedData:
    """The data set of a spec, cut into shards. Raises DataError or InputError."""
    dataset = spec.dataset
    if dataset.prepared:
        where = Storage(dataset.prepared)
        data = open_prepared(where, dataset.standardize, dataset.test_head_rows)
    else:
        data = prepare(
            dataset.name,
            Path(dataset.data_dir).expanduser() if dataset.data_dir else None,
            dataset.num_shards,
            dataset.validation_rows,
            dataset.standardize,
            dataset.test_head_rows,
        )
    data.check_budget(spec.scaling.worker_range[0], parse_bytes(dataset.memory_budget))
    return data


def best_precision(gpu: bool) -> str:
    """bf16 where the hardware has matrix units for it: CPUs with AMX, GPUs since Ampere; else fp32.

    AVX512_BF16 alone does not count: there an LSTM ran slower in bf16 than in fp32.
    """
    import torch

    fast = torch.cuda.is_bf16_supported(False) if gpu else torch.cpu._is_amx_tile_supported()
    return "bf16" if fast else "fp32"


class _Watch:
    """Beside the training: keeps the status true and asks for a stop at the time limit."""

    def __init__(self, run: RunFolder, status: RunStatus) -> None:
        self.status = status
        self.limit_s: float | None = None
        self._run = run
        self._tail = MetricsTail(run)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()
        self._see_starts()

    def _watch(self) -> None:
        asked = False
        while not self._done.wait(_WATCH_S):
            # A storage that fails ends the training, which says why.
            with contextlib.suppress(StorageError):
                self._see_starts()
                asked = asked or self._stop_if_late()

    def _stop_if_late(self) -> bool:
        started = self.status.started_at
        if not self.limit_s or not started or time.time() - started <= self.limit_s:
            return False
        reason = f"time limit of {show_duration(self.limit_s)} reached"
        self._run.ask_to_stop(StopRequest(reason, 124))
        return True

    def _see_starts(self) -> None:
        """RUNNING from the first start of the workers on; a later one is another attempt."""
        before = self.status
        for record in self._tail.read():
            if record.get("kind") == "start" and record.get("attempt", 0) > self.status.attempt:
                self.status = replace(
                    self.status,
                    state=runs.RUNNING,
                    attempt=record["attempt"],
                    workers=record["workers"],
                    started_at=self.status.started_at or record["time"],
                )
        if self.status is not before:
            runs.write_status(self._run, self.status)
