"""From a spec to a job that is checked and can be started."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import runs
from orchestrator.datasets.options import TABLE_PREFIX
from orchestrator.datasets.prepared import PreparedData
from orchestrator.datasets.tables.files import absolute_uri
from orchestrator.driver.model_trial import try_here
from orchestrator.launch.launcher import Launcher
from orchestrator.launch.model_code import code_for
from orchestrator.launch.trusted_code import trust
from orchestrator.launch.upload_note import describe_upload
from orchestrator.runs.hardware import num_usable_cpus
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import num_steps, open_data
from orchestrator.spec.sections import DatasetConfig
from orchestrator.tracking.named import check_installed, named_tracker
from workers.errors import InputError, StorageError
from workers.models.own.code import ModelCode, write_code
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage


@dataclass(frozen=True)
class Submission:
    """A job that was checked, with the launcher that will start it. Nothing is written yet."""

    spec: JobSpec
    data: PreparedData
    run_id: str
    launcher: Launcher
    destination: dict[str, Any]
    """What `Launcher.check` found out about the place where the job will run."""
    code: ModelCode | None = None
    """The code of the user's own model, if the job has one."""
    about_model: tuple[str, ...] = ()
    """What the trial of that model accepted, but what should be known."""

    @property
    def run(self) -> RunFolder:
        """The run's folder. It need not exist yet."""
        return runs.run_at(self.spec.storage, self.run_id)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole job."""
        return num_steps(self.spec, self.data.shape)

    @property
    def jobs_at_once(self) -> int:
        """How many jobs like this one fit side by side where it will run."""
        return int(self.destination.get("jobs_at_once", 1))

    def start(self) -> RunFolder:
        """Write the run folder and start the run. Raises JobError."""
        run = self.create_run()
        self.launch(run)
        return run

    def create_run(self) -> RunFolder:
        """Write the run folder. Raises InputError, and then nothing is left of it."""
        storage, launcher = Storage(self.spec.storage), self.launcher
        try:
            job_yaml = self.spec_for_launcher().to_yaml()
            return runs.create_run(
                storage, self.run_id, job_yaml, launcher.mode, launcher.address, self._write_code
            )
        except StorageError as error:
            raise InputError(error.cause, error.cure) from error

    def _write_code(self, run: RunFolder) -> None:
        if self.spec.tracking.mlflow:
            named_tracker(self.spec.tracking.mlflow)
        if self.code:
            write_code(run, self.code)
            trust(self.code)

    def launch(self, run: RunFolder) -> None:
        """Start a run whose folder is written. If it cannot be started, undo `create_run`.

        Raises JobError.
        """
        try:
            self.launcher.submit(run)
        except BaseException:
            if not self.launcher.leaves_on_interrupt:
                self.launcher.kill(run)
            with contextlib.suppress(StorageError):  # why it cannot be started is to be told
                self.undo(run)
            raise

    def undo(self, run: RunFolder) -> None:
        """Take back what `create_run` wrote."""
        run.storage.delete()

    def spec_for_launcher(self) -> JobSpec:
        """Return the spec with data that the driver can read where it will run.

        A cluster has neither the idx files nor this machine's cache, so the shards are copied into
        the storage first. Raises StorageError.
        """
        if not self.launcher.address or self.spec.dataset.prepared:
            return self.spec
        uri = self.data.publish(Storage(self.spec.storage))
        return self.spec.with_values({"dataset.prepared": uri, "dataset.data_dir": None})

    def notes(self) -> Sequence[str]:
        """Return what was inferred of the data set, in sentences."""
        return self.data.origin.notes

    def warnings(self) -> list[str]:
        """Return what will work, but not as well as one might think."""
        warnings = list(self.about_model)
        if self.launcher.mode == runs.LOCAL:
            warnings += _about_one_process(self.spec)
        if self.launcher.address and self.spec.tracking.mlflow:
            warnings += _about_tracker(self.spec)
        _, most = self.spec.scaling.worker_range
        per_worker = self.spec.scaling.cpus_per_worker
        wanted = most * (1 if per_worker == "auto" else per_worker)
        usable = num_usable_cpus()
        if self.launcher.mode == runs.RAY and wanted > usable:
            warnings.append(
                f"{most} workers want {wanted} CPUs, this machine has {usable}: they take turns, "
                "which is good for a rehearsal and no faster"
            )
        return warnings

    def upload_note(self) -> list[str]:
        """Return what is sent of the working directory, in a few lines; nothing without one."""
        names = self.destination.get("request", {}).get("working_dir")
        return describe_upload(names) if names else []


@dataclass(frozen=True)
class Place:
    """Where a new run would be, and what the launcher found out about it."""

    run_id: str
    spec: JobSpec
    """With paths that hold wherever the driver runs."""
    code: ModelCode | None
    destination: dict[str, Any]


def check_place(
    spec: JobSpec,
    launcher: Launcher,
    run_id: str | None = None,
    stored_code: ModelCode | None = None,
) -> Place:
    """Check what can be known of a new run without its data. Raises JobError."""
    run_id = runs.new_run_id(spec.name) if run_id is None else run_id
    runs.check_run_id(run_id)
    spec, code = code_for(_with_absolute_paths(spec), stored_code)
    if not launcher.address:
        check_installed(spec)
    destination = launcher.check(runs.run_at(spec.storage, run_id), spec, run_id)
    return Place(run_id, spec, code, destination)


def check_new_run(
    spec: JobSpec,
    launcher: Launcher,
    run_id: str | None = None,
    stored_code: ModelCode | None = None,
) -> Submission:
    """Check everything that can be known before a job starts, and prepare its data.

    `stored_code`: the code of the run of which the job is a copy, if that has a model of its own.

    Raises JobError. Nothing is written then but the cut data set in the cache.
    """
    place = check_place(spec, launcher, run_id, stored_code)
    spec, code = place.spec, place.code
    data = open_data(spec, fewest_workers(spec, launcher))
    data.verify()
    if spec.dataset.is_table:
        spec = spec.with_values({"dataset.fingerprint": data.shape.fingerprint})
    about_model = try_own_model(spec, code, data, launcher)
    return Submission(spec, data, place.run_id, launcher, place.destination, code, about_model)


def try_own_model(
    spec: JobSpec, code: ModelCode | None, data: PreparedData, launcher: Launcher
) -> tuple[str, ...]:
    """Try the user's own model, if the job has one and this machine has all that it needs.

    Else the driver does. Returns what is accepted, but should be known. Raises ModelError.
    """
    if code is None or launcher.address or (spec.env.pip and launcher.mode != runs.LOCAL):
        return ()
    return tuple(try_here(code, spec, data.shape))


def fewest_workers(spec: JobSpec, launcher: Launcher) -> int:
    """Return the number of workers that the job can begin with."""
    return 1 if launcher.mode == runs.LOCAL else spec.scaling.worker_range[0]


def _about_one_process(spec: JobSpec) -> list[str]:
    """Return what of a spec means nothing without workers on Ray."""
    warnings = []
    if spec.env.pip:
        warnings.append(
            "env.pip is installed for workers on Ray; --local has the packages of this Python"
        )
    if spec.limits.stall_timeout:
        warnings.append(
            "limits.stall_timeout starts workers on Ray again; a standstill of --local is only told"
        )
    return warnings


def _about_tracker(spec: JobSpec) -> list[str]:
    if any("mlflow" in package for package in spec.env.pip):
        return []
    return [
        "tracking.mlflow needs the package mlflow where the driver runs; "
        "unless the cluster has it: --set 'env.pip=[mlflow-skinny]'"
    ]


def _absolute_uris(dataset: DatasetConfig) -> dict[str, str]:
    """Return the keys that hold URIs of tables. Raises InputError."""
    name = dataset.name.removeprefix(TABLE_PREFIX)
    others = {"validation": dataset.validation, "test": dataset.test}
    return {
        "dataset.name": TABLE_PREFIX + absolute_uri(name),
        **{f"dataset.{key}": absolute_uri(uri) for key, uri in others.items() if uri},
    }


def _with_absolute_paths(spec: JobSpec) -> JobSpec:
    """Return the spec with paths that hold wherever the driver runs. Raises InputError."""
    if data_dir := spec.dataset.data_dir:
        absolute = str(Path(data_dir).expanduser().resolve())
        spec = spec.with_values({"dataset.data_dir": absolute})
    if spec.dataset.is_table:
        spec = spec.with_values(_absolute_uris(spec.dataset))
    try:
        return spec.with_values({"storage": Storage(spec.storage).uri})
    except StorageError as error:
        raise InputError(error.cause, error.cure) from error
