"""Take a run that ended up again: where its last checkpoint left it, or beyond its end."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator import runs
from orchestrator.launch.launcher import Launcher
from orchestrator.launch.model_code import stored_code
from orchestrator.launch.submission import Submission, fewest_workers, try_own_model
from orchestrator.runs import RunStatus
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import num_steps, open_data, read_spec
from orchestrator.tracking.named import check_installed, named_tracker, recorded_tracker
from workers.checkpoints.stored import newest_definition, other_definition
from workers.config import DEFINITION
from workers.errors import InputError, StorageError
from workers.records.owners import Owner
from workers.records.ownership import release_claim, revoke, take, wait_until_free
from workers.records.run_folder import RESUME, RunFolder

_SECTIONS_OF_THE_RESULT = ("dataset", "model", "augment", "training")
_KEYS_WITHOUT_EFFECT = (
    "dataset.data_dir",
    "dataset.prepared",
    "dataset.fingerprint",
    "dataset.memory_budget",
)
"""Keys of these sections that do not change a result."""
_EPOCHS = "training.epochs"
_TRACKER = "tracking.mlflow"


@dataclass(frozen=True)
class Resumption(Submission):
    """A submission of a run that exists already."""

    status: RunStatus = field(kw_only=True)
    """What its record said until now."""
    job_id: str = field(kw_only=True)
    """The id of the job. Ray Jobs accepts each id only once, even long after it was deleted."""
    last_owner: Owner | None = field(kw_only=True)
    """The owner that the run had when its status was read, and has no more."""
    before: JobSpec = field(kw_only=True)
    """The spec that the run had until now."""

    def create_run(self) -> RunFolder:
        """Make the run ready to be started. Its outcome is kept until the driver begins.

        Raises RunHeldError, and nothing is changed, if somebody took the run up since it was
        checked.
        """
        run = self.run
        spec = self.spec_for_launcher()
        take(run, self.last_owner, self.launcher.mode, self.job_id, is_claim=True)
        is_on_cluster = bool(self.launcher.address)
        queued = replace(
            self.status,
            state=runs.QUEUED,
            mode=self.launcher.mode,
            address=self.launcher.address,
            job_id=self.job_id,
            reason="",
            cure="",
            error="",
            exit_code=None,
            queued_at=time.time(),
            started_at=None,
            ended_at=None,
            keeper_pid=None,
            # Until the job has begun here, it lives and dies with this process.
            **({"host": "", "pid": None} if is_on_cluster else runs.this_process()),
        )
        runs.write_status(run, queued)
        run.storage.write(run.JOB, spec.to_yaml().encode())
        run.note_failure("resumed", RESUME)
        run.forget_stop()
        return run

    def launch(self, run: RunFolder) -> None:
        super().launch(run)
        with contextlib.suppress(StorageError):
            release_claim(run)

    def undo(self, run: RunFolder) -> None:
        """Make the run as it was when it had ended."""
        run.storage.write(run.JOB, self.before.to_yaml().encode())
        runs.write_status(run, self.status)
        revoke(run)  # a driver that was started nevertheless leaves


def check_resumption(
    run: RunFolder,
    status: RunStatus,
    launcher: Launcher,
    values: Mapping[str, Any],
    trust_code: bool = False,
) -> Resumption:
    """Check that a run can go on, with other values in its spec if any are given.

    Of the keys that decide the result only `training.epochs` can be changed, and only raised: the
    run is then trained beyond its end. The schedule of its learning rate is laid out anew over all
    epochs from there on, which makes no difference to a constant one.

    Args:
        status: the state of the run, as it was decided just now.
        values: dotted keys of the spec, with their new values.
        trust_code: whether the code of the run's own model may be run, whoever wrote it.

    Raises InputError if the run still runs, has nothing left to do, or would become another run;
    RunHeldError if a process holds it; JobError if the launcher refuses it.
    """
    if not status.is_terminal:
        unreachable = status.state == runs.UNREACHABLE
        raise InputError(
            f"{run.run_id} is {status.state}" + (f": {status.reason}" if unreachable else ""),
            status.cure if unreachable else f"stop it first: {runs.next_command(run, 'stop')}",
        )
    last_owner = wait_until_free(run)  # who takes it up after this is noticed when it is claimed
    if "storage" in values:
        raise InputError(
            f"{run.run_id} cannot be moved to another storage",
            "leave storage out; to move a run, copy its folder and resume it there",
        )
    before = read_spec(run)
    spec = _without_reached_limit(before, run).with_values(
        {"storage": run.storage.parent_uri, **values}
    )
    is_longer = spec.training.epochs > before.training.epochs
    _refuse_what_cannot_go_on(run, status, before, spec, is_longer)
    num_resumes = sum(entry.get("kind") == RESUME for entry in run.failures())
    job_id = f"{run.run_id}.{num_resumes + 1}"
    _check_tracker(run, spec, launcher, is_named=_TRACKER in values)
    destination = launcher.check(run, spec, job_id)
    data = open_data(spec, fewest_workers(spec, launcher))
    code = stored_code(run, spec, trust_code)
    about_model = try_own_model(spec, code, data, launcher)
    if is_longer and spec.training.schedule != "constant":
        ends = [*before.training.earlier_ends, num_steps(before, data.shape)]
        spec = spec.with_values({"training.earlier_ends": ends})
    return Resumption(
        spec,
        data,
        run.run_id,
        launcher,
        destination,
        code,
        about_model,
        status=runs.read_status(run),
        job_id=job_id,
        last_owner=last_owner,
        before=before,
    )


def _check_tracker(run: RunFolder, spec: JobSpec, launcher: Launcher, *, is_named: bool) -> None:
    """Raise InputError if the run would be sent to a tracker that the user never named, or cannot
    be sent from here."""
    if is_named and spec.tracking.mlflow:
        named_tracker(spec.tracking.mlflow)
    recorded_tracker(spec, run.run_id, f"--set {_TRACKER}=")
    if not launcher.address:
        check_installed(spec)


def _refuse_what_cannot_go_on(
    run: RunFolder, status: RunStatus, before: JobSpec, spec: JobSpec, is_longer: bool
) -> None:
    if is_longer and before.training.steps:
        raise InputError(
            f"{run.run_id} was to end after {before.training.steps} steps (training.steps), and "
            "cannot be extended by epochs",
            _new_run(run, "training.steps=N"),
        )
    changed = [key for key in _changed_keys(before, spec) if not (key == _EPOCHS and is_longer)]
    if changed:
        raise InputError(
            f"{', '.join(changed)} would change the result of {run.run_id}",
            f"{_new_run(run, '...')}; of what decides a result only {_EPOCHS} can be raised",
        )
    _refuse_other_definition(run)
    if status.state == runs.SUCCEEDED and not is_longer:
        raise InputError(
            f"{run.run_id} has SUCCEEDED; there is nothing to resume",
            f"train it for longer: {runs.next_command(run, 'resume', '--set', 'training.epochs=N')}"
            f", or see its result: {runs.next_command(run, 'show')}",
        )


def _refuse_other_definition(run: RunFolder) -> None:
    definition = newest_definition(run.storage.child(run.CHECKPOINTS))
    if definition not in (None, DEFINITION):
        raise InputError(*other_definition(run.run_id, definition))


def _new_run(run: RunFolder, assignment: str) -> str:
    return f"start a new run: rnnjob submit -c {run.storage.where(run.JOB)} --set {assignment}"


def _changed_keys(before: JobSpec, spec: JobSpec) -> list[str]:
    """Return the dotted keys that decide the result and differ."""
    old, new = (
        dict(_leaves(one.model_dump(mode="json", include=set(_SECTIONS_OF_THE_RESULT))))
        for one in (before, spec)
    )
    return [
        key
        for key in {**old, **new}
        if old.get(key) != new.get(key) and key not in _KEYS_WITHOUT_EFFECT
    ]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _without_reached_limit(spec: JobSpec, run: RunFolder) -> JobSpec:
    """Remove a `limits.steps` at which the run has ended: it would end again at once."""
    steps = run.use_metrics(lambda records: max((r["step"] for r in records), default=0))
    is_reached = spec.limits.steps is not None and steps >= spec.limits.steps
    return spec.with_values({"limits.steps": None}) if is_reached else spec
