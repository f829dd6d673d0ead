"""A run that ended is taken up again: where its last checkpoint left it, or beyond its end."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator import runs
from orchestrator.job_spec import JobSpec
from orchestrator.plan import prepare_for, read_spec, steps_of
from orchestrator.runs import RunStatus
from orchestrator.submission import Submission, fewest_workers
from workers.errors import InputError
from workers.run_folder import RESUME, RunFolder

if TYPE_CHECKING:
    from orchestrator.cluster.connection import Connection

_DECIDING = ("dataset", "model", "augment", "training")
_NOT_DECIDING = ("dataset.data_dir", "dataset.prepared", "dataset.memory_budget")
_EPOCHS = "training.epochs"


@dataclass(frozen=True)
class Resumption(Submission):
    """A submission of a run that is there already."""

    status: RunStatus = field(kw_only=True)
    """How it ended."""
    job_id: str = field(kw_only=True)
    """Ray Jobs takes each id once, also when the job before it is long forgotten."""

    before: JobSpec = field(kw_only=True)
    """Its spec until now."""

    def create_run(self) -> RunFolder:
        """Makes the run ready to be started. What it came to is forgotten only as it begins."""
        run = RunFolder(self.storage.child(self.run_id))
        spec = self.carried()
        there = bool(self.address)
        again = replace(
            self.status,
            state=runs.QUEUED,
            mode=self.mode,
            address=self.address,
            job_id=self.job_id if there else "",
            reason="",
            cure="",
            error="",
            exit_code=None,
            queued_at=time.time(),
            started_at=None,
            ended_at=None,
            keeper_pid=None,
            # Until the job has begun here, it lives and dies with this process.
            **({"host": "", "pid": None} if there else runs.this_process()),
        )
        runs.write_status(run, again)
        run.storage.write(run.JOB, spec.to_yaml().encode())
        run.note_failure("resumed", RESUME)
        run.forget_stop()
        return run

    def undo(self, run: RunFolder) -> None:
        """The run is as it was when it had ended."""
        run.storage.write(run.JOB, self.before.to_yaml().encode())
        runs.write_status(run, self.status)


def check_again(run: RunFolder, mode: str, values: Mapping[str, Any]) -> Resumption:
    """Checks that a run can go on, with other values of its spec where wanted.

    Of the keys that decide its result only `training.epochs` can be changed, and only raised: the
    run is then trained beyond its end. Its learning rate is laid out anew over all epochs from
    there on, which a constant one does not notice.

    Raises InputError where the run still runs, has nothing left to do, or would become another.
    """
    status = runs.read_status(run)
    if not status.is_terminal:
        raise InputError(
            f"{run.run_id} is {status.state}",
            f"stop it first: {runs.next_command(run, 'stop')}, or, if its cluster is gone for "
            f"good: {runs.next_command(run, 'stop', '--force')}",
        )
    before = read_spec(run)
    spec = _without_reached_limit(before, run).with_values(
        {"storage": run.storage.parent_uri, **values}
    )
    is_longer = spec.training.epochs > before.training.epochs
    if is_longer and before.training.steps:
        raise InputError(
            f"{run.run_id} was to end after {before.training.steps} steps (training.steps), and "
            "cannot be extended by epochs",
            _new_run(run, "training.steps=N"),
        )
    _refuse_another_result(run, before, spec, is_longer)
    if status.state == runs.SUCCEEDED and not is_longer:
        raise InputError(
            f"{run.run_id} has SUCCEEDED; there is nothing to resume",
            f"train it for longer: {runs.next_command(run, 'resume', '--set', 'training.epochs=N')}"
            f", or see its result: {runs.next_command(run, 'show')}",
        )
    data = prepare_for(spec, fewest_workers(spec, mode))
    if is_longer and spec.training.schedule != "constant":
        ends = [*before.training.earlier_ends, steps_of(before, data)]
        spec = spec.with_values({"training.earlier_ends": ends})
    num_before = sum(entry.get("kind") == RESUME for entry in run.failures())
    job_id = f"{run.run_id}.{num_before + 1}"
    return Resumption(spec, data, run.run_id, mode, status=status, job_id=job_id, before=before)


def check_again_for_cluster(
    run: RunFolder, connection: "Connection", values: Mapping[str, Any]
) -> Resumption:
    """`check_again`, and that the cluster can take the job. Raises JobError."""
    from orchestrator.cluster.check import check_cluster, does_it_fit

    nodes = check_cluster(connection, run.storage)
    checked = check_again(run, "cluster", values)
    return replace(checked, address=connection.address, fits=does_it_fit(checked.spec, nodes))


def _refuse_another_result(run: RunFolder, before: JobSpec, spec: JobSpec, is_longer: bool) -> None:
    changed = [key for key in _changed(before, spec) if not (key == _EPOCHS and is_longer)]
    if changed:
        raise InputError(
            f"{', '.join(changed)} would change the result of {run.run_id}",
            f"{_new_run(run, '...')}; of what decides a result only {_EPOCHS} can be raised",
        )


def _new_run(run: RunFolder, assignment: str) -> str:
    return f"start a new run: rnnjob submit -c {run.storage.where(run.JOB)} --set {assignment}"


def _changed(before: JobSpec, spec: JobSpec) -> list[str]:
    """Dotted keys of what decides the result and differs."""
    old, new = (
        dict(_leaves(one.model_dump(mode="json", include=set(_DECIDING)))) for one in (before, spec)
    )
    return [key for key in new if old[key] != new[key] and key not in _NOT_DECIDING]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _without_reached_limit(spec: JobSpec, run: RunFolder) -> JobSpec:
    """A run that ended at `limits.steps` goes on beyond them; it would end again at once."""
    steps = max((record.get("step", 0) for record in run.read_metrics()), default=0)
    reached = spec.limits.steps is not None and steps >= spec.limits.steps
    return spec.with_values({"limits.steps": None}) if reached else spec
