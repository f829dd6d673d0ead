"""The request to Ray Jobs. A dry run shows exactly the request that a submission sends."""

import importlib.util
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.driver.client_platform import tell_driver
from orchestrator.launch.upload import Upload, list_upload
from orchestrator.units import show_bytes
from workers.errors import InputError
from workers.records.run_folder import RunFolder

MAX_UPLOAD_BYTES = 512 * 2**20
"""Ray's size limit for one uploaded package."""
_PACKAGES = ("orchestrator", "workers", "safetensors", "psutil", "tensorboardX")
"""Packages that are uploaded with each job. The cluster itself has Ray, torch and pyarrow."""
_MASK = "***"
STOP_GRACE_S = 30
"""How long Ray waits for a job that it stops, so that the job can write its checkpoint. Ray's
default is three seconds."""


@dataclass(frozen=True)
class Shipping:
    """Files, environment variables and secrets that a user sends to the cluster with a job."""

    working_dir: Path | None = None
    """A folder that is uploaded. The job starts in it."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables of the job. Ray shows their values, so they must not be secrets."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """Environment variables whose values are shown nowhere; see `workers.secrets`."""
    include: tuple[str, ...] = ()
    """Patterns, relative to the folder, of what is uploaded although it is a secret, a run folder
    or something else that is left out; see `upload_rules`."""


@dataclass(frozen=True)
class JobRequest:
    """The arguments of one call of JobSubmissionClient.submit_job."""

    submission_id: str
    entrypoint: str
    runtime_env: dict[str, Any]
    metadata: dict[str, str]
    secrets: tuple[str, ...]
    """The names of the secrets, without their values."""
    packages: tuple[Upload, ...]
    working_dir: Upload | None

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """All folders that are uploaded."""
        return (*self.packages, *([self.working_dir] if self.working_dir else []))

    def to_json(self) -> dict[str, Any]:
        """Return what a dry run shows. The values of environment variables are masked."""
        env_vars = dict.fromkeys(self.runtime_env.get("env_vars", {}), _MASK)
        return {
            "submission_id": self.submission_id,
            "entrypoint": self.entrypoint,
            "runtime_env": {**self.runtime_env, "env_vars": env_vars},
            "metadata": self.metadata,
            "secrets": list(self.secrets),
            "uploads": [upload.to_json() for upload in self.uploads],
            "working_dir": self.working_dir.names_to_json() if self.working_dir else None,
        }


def build_request(
    job_id: str,
    run: RunFolder,
    shipping: Shipping,
    working_dir: Upload | None,
    pip: tuple[str, ...] = (),
    program: tuple[str, ...] = (),
) -> JobRequest:
    """Return the request that starts a run. The run's folder need not exist yet.

    Args:
        job_id: the job's submission id at Ray Jobs.
        working_dir: what is sent of `shipping.working_dir`; see `list_working_dir`.
        pip: the packages that Ray installs for the job.
        program: the module that is run, with its arguments, instead of the driver of a run.

    Raises InputError if a folder is larger than Ray's limit.
    """
    folders = packages()
    runtime_env: dict[str, Any] = {
        "py_modules": [str(folder) for folder in folders],
        "env_vars": {
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_S),
            **tell_driver(),
            **shipping.env,
        },
    }
    if pip:
        runtime_env["pip"] = list(pip)
    if working_dir:
        runtime_env["working_dir"] = str(working_dir.folder)
    own_id = [] if job_id == run.run_id else [job_id]
    program = program or ("orchestrator.driver.supervisor", run.storage.uri, *own_id)
    request = JobRequest(
        submission_id=job_id,
        entrypoint=shlex.join(["python", "-m", *program]),
        runtime_env=runtime_env,
        metadata={"rnnjob": run.run_id, "rnnjob_storage": run.storage.parent_uri},
        secrets=tuple(shipping.secrets),
        packages=tuple(list_upload(folder, is_package=True) for folder in folders),
        working_dir=working_dir,
    )
    for upload in request.uploads:
        _check_size(upload)
    return request


def list_working_dir(shipping: Shipping) -> Upload | None:
    """Return what is sent of the working directory; None without one. Raises InputError."""
    return list_upload(shipping.working_dir, shipping.include) if shipping.working_dir else None


def _check_size(upload: Upload) -> None:
    if upload.num_bytes > MAX_UPLOAD_BYTES:
        raise InputError(
            f"{upload.folder} holds {show_bytes(upload.num_bytes)}, above Ray's limit of "
            f"{show_bytes(MAX_UPLOAD_BYTES)}; its largest file is {upload.largest}",
            "move data out of --working-dir, or list it in .rayignore there",
        )


def packages() -> list[Path]:
    """Return the folders of the packages that are uploaded with each job."""
    return [_find_package(name) for name in _PACKAGES]


def _find_package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    return Path(spec.origin).parent
