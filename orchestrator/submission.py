"""From a spec to a run folder that a launcher can start."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import runs
from orchestrator.datasets.prepared import PreparedData
from orchestrator.job_spec import JobSpec
from orchestrator.launchers.local import num_usable_cpus
from orchestrator.plan import prepare_for, steps_of
from workers.errors import InputError, StorageError
from workers.run_folder import RunFolder
from workers.storage import Storage

if TYPE_CHECKING:
    from orchestrator.cluster.connection import Connection


@dataclass(frozen=True)
class Submission:
    """A request that was checked, before anything is written."""

    spec: JobSpec
    data: PreparedData
    run_id: str
    mode: str
    address: str = ""
    """Of the cluster's dashboard, where it goes to one."""
    fits: str = ""
    """Whether it fits that cluster as it is now."""

    @property
    def storage(self) -> Storage:
        return Storage(self.spec.storage)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole job."""
        return steps_of(self.spec, self.data)

    def warnings(self) -> list[str]:
        """What will work, but not as well as one might think."""
        _, high = self.spec.scaling.worker_range
        per_worker = self.spec.scaling.cpus_per_worker
        wanted = high * (1 if per_worker == "auto" else per_worker)
        there = num_usable_cpus()
        if self.mode == "ray" and wanted > there:
            return [
                f"{high} workers want {wanted} CPUs, this machine has {there}: they take turns, "
                "which is good for a rehearsal and no faster"
            ]
        return []

    def plan(self) -> dict[str, Any]:
        """What would run, for a dry run."""
        shape, training = self.data.shape, self.spec.training
        return {
            "run_id": self.run_id,
            "mode": self.mode,
            "run_folder": self.storage.child(self.run_id).where(),
            "dataset": shape.name,
            "train_rows": shape.train_rows,
            "validation_rows": shape.validation_rows,
            "test_rows": shape.test_rows,
            "shards": shape.num_shards,
            "rows_per_shard_and_step": training.global_batch_size // shape.num_shards,
            "steps": self.num_steps,
            "workers": 1 if self.mode == "local" else self.spec.scaling.workers,
            "prepared_data": self.data.folder.where(),
            **({"cluster": self.address, "fits": self.fits} if self.address else {}),
        }

    def create_run(self) -> RunFolder:
        """Writes the run folder. Raises InputError, leaving nothing behind."""
        try:
            return runs.create_run(
                self.storage, self.run_id, self.carried().to_yaml(), self.mode, self.address
            )
        except StorageError as error:
            raise InputError(error.cause, error.cure) from error

    def undo(self, run: RunFolder) -> None:
        """Takes back what `create_run` did, for a run that cannot be started."""
        run.storage.delete()

    def carried(self) -> JobSpec:
        """The spec, with data that the cluster finds: it has neither the idx files nor this
        machine's cache. They are put into the storage first. Raises StorageError."""
        if not self.address or self.spec.dataset.prepared:
            return self.spec
        uri = self.data.publish(self.storage)
        return self.spec.with_values({"dataset.prepared": uri, "dataset.data_dir": None})


def check(spec: JobSpec, mode: str, run_id: str | None = None) -> Submission:
    """Checks all that can be known before the job starts, and prepares its data.

    Raises JobError.
    """
    run_id = runs.new_run_id(spec.name) if run_id is None else run_id
    runs.check_run_id(run_id)
    data_dir = spec.dataset.data_dir
    if data_dir:
        # The driver may run elsewhere than here.
        spec = spec.with_values({"dataset.data_dir": str(Path(data_dir).expanduser().resolve())})
    try:
        spec = spec.with_values({"storage": Storage(spec.storage).uri})
    except StorageError as error:
        raise InputError(error.cause, error.cure) from error
    data = prepare_for(spec, fewest_workers(spec, mode))
    data.verify()
    return Submission(spec, data, run_id, mode)


def fewest_workers(spec: JobSpec, mode: str) -> int:
    """That a job can begin with."""
    return 1 if mode == runs.LOCAL else spec.scaling.worker_range[0]


def check_for_cluster(
    spec: JobSpec, connection: "Connection", run_id: str | None = None
) -> Submission:
    """`check`, and that the cluster can take the job. Raises JobError."""
    from orchestrator.cluster.check import check_cluster, does_it_fit

    nodes = check_cluster(connection, Storage(spec.storage))
    checked = check(spec, "cluster", run_id)
    return replace(checked, address=connection.address, fits=does_it_fit(spec, nodes))
