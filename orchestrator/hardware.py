"""What this machine computes with. Imports neither torch nor anything else that takes time."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

_NUMBER_FLAGS = ("amx", "avx", "fma", "sve", "asimd")
"""How those begin that tell which instructions floating point numbers are computed with."""
_AMX = {"amx_tile", "amx_bf16"}


def best_precision(gpu: bool) -> str:
    """bf16 where the hardware has matrix units for it: CPUs with AMX, GPUs since Ampere; else fp32.

    AVX512_BF16 alone does not count: there an LSTM ran slower in bf16 than in fp32.
    """
    if not gpu:
        return "bf16" if set(cpu_flags()) >= _AMX else "fp32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(False) else "fp32"


def hardware() -> dict[str, Any]:
    """CPU and GPUs, for a run's provenance."""
    return {
        "cpu": _cpuinfo().get("model name") or platform.processor() or platform.machine(),
        "cpu_flags": cpu_flags(),
        "cpu_capability": _cpu_capability(),
        "num_cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpus": _gpus(),
    }


def cpu_flags() -> list[str]:
    """Vector and matrix instructions as Linux names them; empty elsewhere."""
    cpu = _cpuinfo()
    flags = cpu.get("flags") or cpu.get("Features") or ""
    return sorted(flag for flag in flags.split() if flag.startswith(_NUMBER_FLAGS))


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first CPU; empty elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


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
