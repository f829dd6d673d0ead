"""A job with everything settled that its spec left open."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import PreparedData, open_prepared
from orchestrator.job_spec import JobSpec, load_spec
from orchestrator.spec_tree import SpecError
from orchestrator.units import parse_bytes
from workers.config import TrainJob
from workers.run_folder import RunFolder
from workers.shards import steps_per_epoch
from workers.storage import Storage


@dataclass(frozen=True)
class Plan:
    """All that training needs to begin."""

    spec: JobSpec
    job: TrainJob
    data: PreparedData


def read_spec(run: RunFolder) -> JobSpec:
    """The spec of a run. Raises SpecError or StorageError."""
    where = run.storage.where(run.JOB)
    try:
        return load_spec(run.storage.read(run.JOB).decode(), where)
    except (FileNotFoundError, UnicodeDecodeError) as error:
        what = "missing" if isinstance(error, FileNotFoundError) else f"no text: {error}"
        raise SpecError(f"{where} is {what}", "name a run whose folder is whole") from error


def make_plan(
    run: RunFolder, spec: JobSpec, num_workers: int, settle_precision: Callable[[bool], str]
) -> Plan:
    """Opens the data, and settles what the spec leaves open; job.yaml then has it, too.

    Args:
        num_workers: the fewest that there will be.
        settle_precision: tells the best precision where the workers will run, given whether they
            have GPUs.

    Raises JobError.
    """
    if spec.training.precision == "auto":
        settled = settle_precision(spec.scaling.gpus_per_worker > 0)
        spec = spec.with_values({"training.precision": settled})
        run.storage.write(run.JOB, spec.to_yaml().encode())
    data = prepare_for(spec, num_workers)
    job = TrainJob(
        run_id=run.run_id,
        run_uri=run.storage.uri,
        fingerprint=spec.fingerprint(data.shape.fingerprint),
        lineage=spec.lineage(data.shape.fingerprint, steps_of(spec, data)),
        data=data.shape,
        model=spec.model,
        augment=spec.augment,
        training=spec.training,
        checkpoint=spec.checkpoint,
        log=spec.log,
        stop_after_steps=spec.limits.steps,
        cpus_per_worker=1
        if spec.scaling.cpus_per_worker == "auto"
        else spec.scaling.cpus_per_worker,
    )
    return Plan(spec, job, data)


def prepare_for(spec: JobSpec, num_workers: int) -> PreparedData:
    """The data set of a spec, cut into shards, which that many workers share.

    Raises DataError or InputError.
    """
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
    data.check_budget(num_workers, parse_bytes(dataset.memory_budget))
    return data


def steps_of(spec: JobSpec, data: PreparedData) -> int:
    """Optimizer steps of a whole job."""
    training, shape = spec.training, data.shape
    per_epoch = steps_per_epoch(
        shape.train_rows, shape.num_shards, training.global_batch_size // shape.num_shards
    )
    return training.steps or training.epochs * per_epoch
