"""What would run, without anything that is fetched, written or started for it."""

from dataclasses import dataclass
from typing import Any

from orchestrator import runs
from orchestrator.datasets.downloads import find_download
from orchestrator.launch.launcher import Launcher
from orchestrator.launch.submission import Submission, check_new_run, check_place
from orchestrator.launch.upload_note import describe_upload
from orchestrator.spec.job_spec import JobSpec


@dataclass(frozen=True)
class DryRun:
    """A job that was checked as far as that needs no download."""

    spec: JobSpec
    plan: dict[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def upload_note(self) -> list[str]:
        """What is sent of the working directory, in a few lines; nothing without one."""
        names = self.plan.get("request", {}).get("working_dir")
        return describe_upload(names) if names else []


def plan_new_run(spec: JobSpec, launcher: Launcher, run_id: str | None = None) -> DryRun:
    """Check a new run, and say what would run.

    Nothing is downloaded. A data set that is here is cut into the cache, as for the job itself.

    Raises JobError.
    """
    dataset = spec.dataset
    download = None if dataset.prepared else find_download(dataset.name, dataset.data_dir)
    if download is None:
        job = check_new_run(spec, launcher, run_id)
        return DryRun(job.spec, _plan_of(job), tuple(job.notes()), tuple(job.warnings()))
    place = check_place(spec, launcher, run_id)
    plan = {
        **_about_place(place.spec, launcher, place.run_id),
        "dataset": dataset.name,
        "download": download.to_json(),
        "shards": dataset.num_shards,
        **place.destination,
    }
    return DryRun(place.spec, plan, (download.describe(),))


def _about_place(spec: JobSpec, launcher: Launcher, run_id: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "mode": launcher.mode,
        "run_folder": runs.run_at(spec.storage, run_id).storage.where(),
        "workers": 1 if launcher.mode == runs.LOCAL else spec.scaling.workers,
    }


def _plan_of(job: Submission) -> dict[str, Any]:
    shape, training = job.data.shape, job.spec.training
    return {
        **_about_place(job.spec, job.launcher, job.run_id),
        "dataset": shape.name,
        "train_rows": shape.train_rows,
        "validation_rows": shape.validation_rows,
        "test_rows": shape.test_rows,
        "shards": shape.num_shards,
        "rows_per_shard_and_step": training.global_batch_size // shape.num_shards,
        "steps": job.num_steps,
        "prepared_data": job.data.folder.where(),
        **job.destination,
    }
