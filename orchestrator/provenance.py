"""Where a result came from: code, packages, hardware, data."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import orchestrator
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
        "working_dir": _git(Path(os.environ.get(SUBMIT_DIR) or Path.cwd())),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "num_cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpus": _gpus(),
        "mode": mode,
        "seed": job.training.seed,
        "precision": job.training.precision,
        "data": job.data.model_dump(),
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


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Names of the GPUs, if this process has torch loaded anyway."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
