"""Where a result came from: code, packages, hardware, data, spec."""

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import orchestrator
import workers
from orchestrator.hardware import hardware
from workers.config import TrainJob

SUBMIT_DIR = "RNNJOB_SUBMIT_DIR"
"""Tells a driver where its job was submitted; its own working directory is another."""
_PACKAGES = ("torch", "torchvision", "ray", "pyarrow", "numpy", "safetensors", "pydantic", "click")


def provenance(job: TrainJob, mode: str) -> dict[str, Any]:
    """The content of provenance.json, for the process that calls it."""
    return {
        "schema_version": 1,
        "run_id": job.run_id,
        "rnnjob": orchestrator.__version__,
        "source": _git(Path(orchestrator.__file__).parent),
        "source_sha256": _source_sha256(),
        "working_dir": _git(Path(os.environ.get(SUBMIT_DIR) or Path.cwd())),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        **hardware(),
        "mode": mode,
        "seed": job.training.seed,
        "precision": job.training.precision,
        "data": job.data.model_dump(),
        "model": job.model.model_dump(),
        "augment": job.augment.model_dump(),
        "training": job.training.model_dump(exclude={"seed", "precision"}),
        "fingerprint": job.fingerprint,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that a folder is in; None outside of one."""

    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _source_sha256() -> str:
    """Of rnnjob's own code: tells versions apart where there is no checkout, or a dirty one."""
    digest = hashlib.sha256()
    for package in (orchestrator, workers):
        root = Path(package.__file__ or "").parent
        for file in sorted(root.rglob("*.py")):
            digest.update(f"{package.__name__}/{file.relative_to(root).as_posix()}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
