"""From a spec to what training needs: the data set opened, and everything decided that was open."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import PreparedData, open_prepared
from orchestrator.datasets.tables.prepare import prepare_tables
from orchestrator.spec.build import load_spec
from orchestrator.spec.fit import check_fit, resolved
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.memory import is_streamed
from orchestrator.spec.tree import SpecError
from workers.config import DataShape, TrainJob
from workers.errors import DataError
from workers.records.run_folder import RunFolder
from workers.shards.order import most_shards, steps_per_epoch
from workers.storage.storage import Storage


@dataclass(frozen=True)
class Plan:
    """Everything that training needs to begin."""

    spec: JobSpec
    job: TrainJob
    """The part of the spec that workers read."""
    data: PreparedData

    def owned_by(self, term: int, token: str) -> "Plan":
        """Return the plan for workers that write for this owner of the run; see `Fence`."""
        owned = self.job.model_copy(update={"owner_term": term, "owner_token": token})
        return replace(self, job=owned)

    def with_cpus(self, cpus: int) -> "Plan":
        """Return the plan for workers of so many CPUs. job.yaml does not say what `auto` stands
        for: on another machine it is another number."""
        spec = self.spec.with_values({"scaling.cpus_per_worker": cpus})
        return replace(self, spec=spec, job=self.job.model_copy(update={"cpus_per_worker": cpus}))


def shared_cpus(spec: JobSpec, num_cpus: int, num_workers: int) -> int:
    """Return the CPUs of each worker. `auto` is an equal share of all CPUs of one machine, but no
    more than a worker has shards, since one thread computes a shard."""
    if spec.scaling.cpus_per_worker != "auto":
        return spec.scaling.cpus_per_worker
    most = most_shards(spec.dataset.num_shards, num_workers)
    return max(1, min(num_cpus // num_workers, most))


def with_one_cpu(spec: JobSpec) -> JobSpec:
    """Return the spec for jobs that are compared, or run side by side, on a cluster: where it
    leaves the CPUs of a worker open, each has one, instead of what the others leave."""
    if spec.scaling.cpus_per_worker != "auto":
        return spec
    return spec.with_values({"scaling.cpus_per_worker": 1})


def read_spec(run: RunFolder) -> JobSpec:
    """Read the spec of a run. Raises SpecError or StorageError."""
    where = run.storage.where(run.JOB)
    try:
        return load_spec(run.storage.read(run.JOB).decode(), where)
    except (FileNotFoundError, UnicodeDecodeError) as error:
        what = "missing" if isinstance(error, FileNotFoundError) else f"not text: {error}"
        raise SpecError(f"{where} is {what}", "name a run whose folder is whole") from error


def make_plan(
    run: RunFolder, spec: JobSpec, num_workers: int, resolve_precision: Callable[[bool], str]
) -> Plan:
    """Open the data set and decide what the spec leaves open. job.yaml then says it, too.

    Args:
        num_workers: the fewest workers that there will be.
        resolve_precision: returns the best precision on the machines of the workers, given whether
            the workers have GPUs.

    Raises JobError.
    """
    data = open_data(spec, num_workers)
    whole = resolved(spec, data.shape)
    if spec.training.precision == "auto":
        precision = resolve_precision(spec.scaling.gpus_per_worker > 0)
        whole = whole.with_values({"training.precision": precision})
    if whole != spec:
        run.storage.write(run.JOB, whole.to_yaml().encode())
    job = train_job(run, whole, data.shape)
    streamed = is_streamed(whole, data, num_workers)
    return Plan(whole, job.model_copy(update={"is_streamed": streamed}), data)


def train_job(run: RunFolder, spec: JobSpec, shape: DataShape) -> TrainJob:
    """Return the job of a run on a data set. `spec`: with nothing left open."""
    return TrainJob(
        run_id=run.run_id,
        run_uri=run.storage.uri,
        fingerprint=spec.fingerprint(shape.fingerprint),
        lineage=spec.lineage(shape.fingerprint, num_steps(spec, shape)),
        data=shape,
        model=spec.model,
        augment=spec.augment,
        training=spec.training,
        checkpoint=spec.checkpoint,
        window=spec.dataset.window,
        log=spec.log,
        mixed_hardware=spec.limits.mixed_hardware,
        is_elastic=len(set(spec.scaling.worker_range)) > 1,
        stop_after_steps=spec.limits.steps,
        cpus_per_worker=1
        if spec.scaling.cpus_per_worker == "auto"
        else spec.scaling.cpus_per_worker,
    )


def open_data(spec: JobSpec, num_workers: int) -> PreparedData:
    """Open the data set of a spec. It is cut into shards first if that was not done before.

    Args:
        num_workers: how many workers share the shards.

    Raises DataError, or InputError if a worker's rows do not fit its memory budget or the spec does
    not fit the rows.
    """
    dataset = spec.dataset
    standardize = dataset.normalize == "standard"
    if dataset.prepared:
        where = Storage(dataset.prepared)
        data = open_prepared(where, standardize, dataset.test_head_rows)
    elif dataset.is_table:
        data = prepare_tables(
            dataset.name,
            dataset.table_options,
            spec.model.embedding_size > 0,
            dataset.num_shards,
            standardize,
            dataset.test_head_rows,
        )
    else:
        data = prepare(
            dataset.name,
            Path(dataset.data_dir).expanduser() if dataset.data_dir else None,
            dataset.num_shards,
            dataset.validation_rows,
            standardize,
            dataset.test_head_rows,
        )
    if dataset.fingerprint not in (None, data.shape.fingerprint):
        raise DataError(
            f"the rows of {dataset.name} have changed since the job was submitted: their "
            f"fingerprint is {data.shape.fingerprint[:12]}, not {str(dataset.fingerprint)[:12]}",
            "put the files back as they were, or submit a new job; for a spec that was written "
            "for other rows: --set dataset.fingerprint=null",
        )
    check_fit(spec, data.shape)
    is_streamed(spec, data, num_workers)
    return data


def num_steps(spec: JobSpec, shape: DataShape) -> int:
    """Return the number of optimizer steps of the whole job."""
    training = spec.training
    per_epoch = steps_per_epoch(
        shape.train_rows, shape.num_shards, training.global_batch_size // shape.num_shards
    )
    return training.steps or training.epochs * per_epoch
