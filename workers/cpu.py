"""What the system says of this machine's CPU. Importing this module does not import torch."""

import platform
from pathlib import Path


def cpu_info() -> dict[str, str]:
    """Return what /proc/cpuinfo says about the first CPU; empty if the system is not Linux."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def cpu_model() -> str:
    """Return the model of the CPU; its architecture if the system does not say more."""
    return cpu_info().get("model name") or platform.processor() or platform.machine()
