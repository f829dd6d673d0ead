"""Where a result came from: code, packages, hardware, data, spec."""

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import orchestrator
import workers
from workers.config import TrainJob

SUBMIT_DIR = "RNNJOB_SUBMIT_DIR"
"""Tells a driver where its job was submitted; its own working directory is another."""
_CPU_FLAGS = ("amx", "avx", "fma", "sve", "asimd")
"""How those begin that tell which instructions floating point numbers are computed with."""
_PACKAGES = ("torch", "torchvision", "ray", "pyarrow", "numpy", "safetensors", "pydantic", "click")


def provenance(job: TrainJob, mode: str) -> dict[str, Any]:
    """The content of provenance.json, for the process that calls it."""
    cpu = _cpuinfo()
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
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "cpu_flags": _number_flags(cpu.get("flags") or cpu.get("Features") or ""),
        "cpu_capability": _cpu_capability(),
        "num_cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpus": _gpus(),
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


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first CPU; empty elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _number_flags(flags: str) -> list[str]:
    return sorted(flag for flag in flags.split() if flag.startswith(_CPU_FLAGS))


def _cpu_capability() -> str | None:
    """The instructions that torch chose, AVX2 or AVX512 for example, if it is loaded anyway."""
    torch = sys.modules.get("torch")
    return str(torch.backends.cpu.get_cpu_capability()) if torch else None


def _gpus() -> list[str]:
    """Names of the GPUs, if this process has torch loaded anyway."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
