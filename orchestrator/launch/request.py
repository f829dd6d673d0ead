"""The request to Ray Jobs. A dry run shows exactly the request that a submission sends."""

import importlib.util
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.units import show_bytes
from workers.errors import InputError
from workers.records.run_folder import RunFolder

MAX_UPLOAD_BYTES = 512 * 2**20
"""Ray's size limit for one uploaded package."""
_PACKAGES = ("orchestrator", "workers", "safetensors", "psutil", "tensorboardX")
"""Packages that are uploaded with each job. The cluster itself has Ray, torch and pyarrow."""
_IGNORED = {".git", ".venv", "venv", "__pycache__"}
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


@dataclass(frozen=True)
class Upload:
    """A folder that is uploaded, and its size."""

    path: Path
    num_bytes: int
    largest: str
    """The path and size of the folder's largest file, as text."""


@dataclass(frozen=True)
class JobRequest:
    """The arguments of one call of JobSubmissionClient.submit_job."""

    submission_id: str
    entrypoint: str
    runtime_env: dict[str, Any]
    metadata: dict[str, str]
    secrets: tuple[str, ...]
    """The names of the secrets, without their values."""
    uploads: tuple[Upload, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what a dry run shows. The values of environment variables are masked."""
        env_vars = dict.fromkeys(self.runtime_env.get("env_vars", {}), _MASK)
        return {
            "submission_id": self.submission_id,
            "entrypoint": self.entrypoint,
            "runtime_env": {**self.runtime_env, "env_vars": env_vars},
            "metadata": self.metadata,
            "secrets": list(self.secrets),
            "uploads": [
                {"path": str(u.path), "size": show_bytes(u.num_bytes), "largest": u.largest}
                for u in self.uploads
            ],
        }


def build_request(job_id: str, run: RunFolder, shipping: Shipping) -> JobRequest:
    """Return the request that starts a run. The run's folder need not exist yet.

    `job_id`: the job's submission id at Ray Jobs. Raises InputError if the working directory does
    not exist or is larger than Ray's limit.
    """
    folders = packages()
    runtime_env: dict[str, Any] = {
        "py_modules": [str(folder) for folder in folders],
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_S), **shipping.env},
    }
    if shipping.working_dir:
        runtime_env["working_dir"] = str(shipping.working_dir)
        folders.append(shipping.working_dir)
    uploads = tuple(_measure(folder) for folder in folders)
    for upload in uploads:
        if upload.num_bytes > MAX_UPLOAD_BYTES:
            raise InputError(
                f"{upload.path} holds {show_bytes(upload.num_bytes)}, above Ray's limit of "
                f"{show_bytes(MAX_UPLOAD_BYTES)}; its largest file is {upload.largest}",
                "move data out of --working-dir, or list it in .rayignore there",
            )
    arguments = [run.storage.uri, *([] if job_id == run.run_id else [job_id])]
    return JobRequest(
        submission_id=job_id,
        entrypoint=shlex.join(["python", "-m", "orchestrator.driver.supervisor", *arguments]),
        runtime_env=runtime_env,
        metadata={"rnnjob": run.run_id, "rnnjob_storage": run.storage.parent_uri},
        secrets=tuple(shipping.secrets),
        uploads=uploads,
    )


def packages() -> list[Path]:
    """Return the folders of the packages that are uploaded with each job."""
    return [_find_package(name) for name in _PACKAGES]


def _find_package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    return Path(spec.origin).parent


def _measure(folder: Path) -> Upload:
    """Add up the sizes of a folder's files. Raises InputError if there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"the working directory {folder} does not exist", "check --working-dir")
    ignored = _IGNORED | _read_ignored_names(folder)
    total, largest_bytes, largest = 0, 0, "none"
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if ignored & set(relative.parts) or not path.is_file():
            continue
        num_bytes = path.stat().st_size
        total += num_bytes
        if num_bytes > largest_bytes:
            largest_bytes, largest = num_bytes, f"{relative} ({show_bytes(num_bytes)})"
    return Upload(folder, total, largest)


def _read_ignored_names(folder: Path) -> set[str]:
    """Return the plain names in .rayignore and .gitignore.

    Only Ray applies the patterns in these files, so Ray may upload less than is counted here.
    """
    names: set[str] = set()
    for file in (folder / ".rayignore", folder / ".gitignore"):
        if file.is_file():
            lines = file.read_text(errors="replace").splitlines()
            names.update(line.strip().strip("/") for line in lines)
    return names
