"""Open a run for the use of its model: from its own folder alone, without its data."""

from dataclasses import dataclass

from orchestrator import runs
from orchestrator.launch.model_code import stored_code
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import read_spec, train_job
from workers.config import DataShape, TrainJob
from workers.errors import InputError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

_BEST = "best"


@dataclass(frozen=True)
class TrainedRun:
    """A run with a model, and which of its weights are meant."""

    run: RunFolder
    spec: JobSpec
    job: TrainJob
    """What was trained, on the data that it was trained with."""
    checkpoint: str | int | None
    """`best`, or the number of a step; None for the final model."""


def open_trained(storage: Storage, name: str, trust_code: bool = False) -> TrainedRun:
    """Open a run by its name: an id, a unique prefix or `@last`, and maybe `:best` or `:STEP`.

    `trust_code`: whether the code of the run's own model may be run, whoever wrote it.

    Raises NoSuchRunError, or InputError if it was never trained, or if its model is code of which
    this user knows nothing.
    """
    run_name, checkpoint = _parsed(name)
    run = runs.find_run(storage, run_name)
    spec = read_spec(run)
    stored_code(run, spec, trust_code)
    shape = _shape(run)
    return TrainedRun(run, spec, train_job(run, spec, shape), checkpoint)


def _parsed(name: str) -> tuple[str, str | int | None]:
    run_name, colon, checkpoint = name.partition(":")
    if not colon:
        return run_name, None
    if checkpoint == _BEST:
        return run_name, _BEST
    if checkpoint.isdecimal() and len(checkpoint) < 18:
        return run_name, int(checkpoint)
    raise InputError(
        f"'{name}' names no checkpoint", f"write {run_name}:best, or {run_name}:STEP, or the run"
    )


def _shape(run: RunFolder) -> DataShape:
    """Return what is known of the data of a run. Raises InputError if it is not there."""
    try:
        if content := run.read_json(run.DATA):
            return DataShape.model_validate(content)
        # Runs of images had no data.json before there were other kinds of data.
        content = (run.read_json(run.PROVENANCE) or {})["data"]
        return DataShape.model_validate({k: v for k, v in content.items() if k != "origin"})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{run.storage.where(run.DATA)} does not say what {run.run_id} was trained on",
            "name a run that has begun to train, and whose folder is whole",
        ) from error
