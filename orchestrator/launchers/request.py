"""The request to Ray Jobs, built by a pure function: what a dry run shows is what is sent."""

import importlib.util
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.units import show_bytes
from workers.errors import InputError
from workers.run_folder import RunFolder

MAX_UPLOAD_BYTES = 512 * 2**20
"""Ray's limit for one package."""
_PACKAGES = ("orchestrator", "workers", "safetensors", "psutil", "tensorboardX")
"""What travels with each job; Ray, torch and pyarrow are the cluster's."""
_IGNORED = {".git", ".venv", "venv", "__pycache__"}
_MASK = "***"
STOP_GRACE_S = 30
"""How long Ray lets a job that it stops write its checkpoint; by default three seconds."""


@dataclass(frozen=True)
class Shipping:
    """What a user sends along with a job."""

    working_dir: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    """Shown in the job's runtime environment: no place for secrets."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """Shown nowhere; see `workers.secrets`."""


@dataclass(frozen=True)
class Upload:
    """A folder that is sent, and what it weighs."""

    path: Path
    num_bytes: int
    largest: str
    """Its largest file, and how large."""


@dataclass(frozen=True)
class JobRequest:
    """One call of JobSubmissionClient.submit_job."""

    submission_id: str
    entrypoint: str
    runtime_env: dict[str, Any]
    metadata: dict[str, str]
    secrets: tuple[str, ...]
    """Their names."""
    uploads: tuple[Upload, ...]

    def to_json(self) -> dict[str, Any]:
        """For a dry run: values of the environment are masked."""
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
    """The request for a run whose folder is there, or will be. `job_id`: what Ray Jobs calls it.

    Raises InputError where the working directory is missing or above Ray's limit.
    """
    folders = packages()
    runtime_env: dict[str, Any] = {
        "py_modules": [str(folder) for folder in folders],
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_S), **shipping.env},
    }
    if shipping.working_dir:
        runtime_env["working_dir"] = str(shipping.working_dir)
        folders.append(shipping.working_dir)
    uploads = tuple(_weighed(folder) for folder in folders)
    for upload in uploads:
        if upload.num_bytes > MAX_UPLOAD_BYTES:
            raise InputError(
                f"{upload.path} holds {show_bytes(upload.num_bytes)}, above Ray's limit of "
                f"{show_bytes(MAX_UPLOAD_BYTES)}; its largest file is {upload.largest}",
                "move data out of --working-dir, or list it in .rayignore there",
            )
    driven = [run.storage.uri, *([] if job_id == run.run_id else [job_id])]
    return JobRequest(
        submission_id=job_id,
        entrypoint=shlex.join(["python", "-m", "orchestrator.supervisor", *driven]),
        runtime_env=runtime_env,
        metadata={"rnnjob": run.run_id, "rnnjob_storage": run.storage.parent_uri},
        secrets=tuple(shipping.secrets),
        uploads=uploads,
    )


def packages() -> list[Path]:
    """The folders of the packages that travel with each job."""
    return [_package(name) for name in _PACKAGES]


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    return Path(spec.origin).parent


def _weighed(folder: Path) -> Upload:
    if not folder.is_dir():
        raise InputError(f"the working directory {folder} does not exist", "check --working-dir")
    ignored = _IGNORED | _rayignored(folder)
    total, largest, heaviest = 0, 0, "none"
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if ignored & set(inside.parts) or not path.is_file():
            continue
        size = path.stat().st_size
        total += size
        if size > largest:
            largest, heaviest = size, f"{inside} ({show_bytes(size)})"
    return Upload(folder, total, heaviest)


def _rayignored(folder: Path) -> set[str]:
    """Plain names of .rayignore and .gitignore; patterns are left to Ray, which then sends less."""
    names: set[str] = set()
    for file in (folder / ".rayignore", folder / ".gitignore"):
        if file.is_file():
            lines = file.read_text(errors="replace").splitlines()
            names.update(line.strip().strip("/") for line in lines)
    return names
