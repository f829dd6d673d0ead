"""Record where a result came from: code, packages, hardware, data and spec."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import orchestrator
import workers
from orchestrator.runs.hardware import hardware
from workers.config import DEFINITION, TrainJob

_PACKAGES = ("torch", "torchvision", "ray", "pyarrow", "numpy", "safetensors", "pydantic", "click")


def provenance(
    job: TrainJob, mode: str, submit_dir: Path, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of provenance.json, for the process that calls it.

    Args:
        submit_dir: the folder in which the job was submitted.
        origin: where the rows came from, and how they were split.
    """
    # A vocabulary may be larger than a document that is read at once.
    data = job.data.model_dump(exclude={"input": {"vocabulary"}})
    return {
        "schema_version": 1,
        "run_id": job.run_id,
        "rnnjob": orchestrator.__version__,
        "source": _git(Path(orchestrator.__file__).parent),
        "source_sha256": _source_sha256(),
        "working_dir": _git(submit_dir),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        **hardware(),
        "mode": mode,
        "seed": job.training.seed,
        "precision": job.training.precision,
        "data": {**data, "origin": dict(origin)},
        "model": job.model.model_dump(),
        "augment": job.augment.model_dump(),
        "training": job.training.model_dump(exclude={"seed", "precision"}),
        "definition": DEFINITION,
        "fingerprint": job.fingerprint,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """Return commit and dirty flag of the git checkout that holds a folder; None without one."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _source_sha256() -> str:
    """Return the hash of rnnjob's own code.

    It identifies the version if the code is in no git checkout, or in one with changes.
    """
    digest = hashlib.sha256()
    for package in (orchestrator, workers):
        root = Path(package.__file__ or "").parent
        for file in sorted(root.rglob("*.py")):
            digest.update(f"{package.__name__}/{file.relative_to(root).as_posix()}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
