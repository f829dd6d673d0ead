"""What the results depend on: the machine, the versions and the code."""

import platform
import re
import subprocess
from importlib import metadata

import torch

from benchmarks.bench.commands import ROOT
from orchestrator.runs.hardware import hardware

_PACKAGES = ("rnnjob", "torch", "ray", "numpy", "pyarrow", "keras", "tensorflow")


def machine() -> list[str]:
    """Return the lines that say on what was measured, and with which versions."""
    found = hardware()
    onednn = re.search(r"(?:MKL-DNN|oneDNN) v([\d.]+)", torch.__config__.show())
    versions = [f"Python {platform.python_version()}", *map(_version, _PACKAGES)]
    versions.append(f"oneDNN {onednn.group(1)}" if onednn else "oneDNN is not there")
    flags = " ".join(found["cpu_flags"]) or "not known"
    return [
        f"- CPU: {found['cpu']}, {found['num_cpus']} usable; torch uses {found['cpu_capability']}",
        f"- Flags: {flags}",
        f"- System: {platform.platform()}",
        f"- Versions: {', '.join(versions)}",
    ]


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} is not installed"


def commit() -> str:
    """Return the commit of the code, with a plus if there are changes beside it."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changes = "+" if git("status", "--porcelain", "--", "orchestrator", "workers") else ""
    return (git("rev-parse", "--short", "HEAD") or "not known") + changes
