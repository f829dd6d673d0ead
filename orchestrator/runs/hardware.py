"""The CPU and the GPUs of this machine. Importing this module is fast: it does not import torch."""

import os
import sys
from collections.abc import Collection
from typing import Any

from workers.cpu import cpu_info, cpu_model
from workers.gpu.settings import prepare_environment

_NUMBER_FLAGS = ("amx", "avx", "fma", "sve", "asimd")
"""Prefixes of the CPU flags that name instructions for floating point numbers."""
_FAST_BF16: tuple[tuple[str | None, frozenset[str]], ...] = (
    (None, frozenset({"amx_tile", "amx_bf16"})),
    ("AuthenticAMD", frozenset({"avx512f", "avx512_bf16"})),
)
"""The CPUs that compute a recurrent layer faster in bf16 than in fp32, by vendor and flags as Linux
names them; docs/performance.md has the reasons. Intel's CPUs have AVX512_BF16 without AMX, too, and
were slower with it. A trial would be noisy, and the precision is part of a job's result."""


def best_precision(gpu: bool) -> str:
    """Return `bf16` if the hardware is known to be faster with it, and `fp32` otherwise.

    Such are the CPUs of a table, and GPUs since Ampere.
    """
    if not gpu:
        return cpu_precision(cpu_info().get("vendor_id", ""), cpu_flags())
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(False) else "fp32"


def cpu_precision(vendor: str, flags: Collection[str]) -> str:
    """Return the faster precision of a CPU, `bf16` or `fp32`, from what Linux says of it."""
    is_fast = any(of in (None, vendor) and needed <= set(flags) for of, needed in _FAST_BF16)
    return "bf16" if is_fast else "fp32"


def hardware() -> dict[str, Any]:
    """Return the CPU and the GPUs, as provenance.json records them."""
    return {
        "cpu": cpu_model(),
        "cpu_flags": cpu_flags(),
        "cpu_capability": _cpu_capability(),
        "num_cpus": num_usable_cpus(),
        "gpus": _gpus(),
    }


def num_usable_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def num_gpus() -> int:
    """Return the number of GPUs that torch finds on this machine. This imports torch."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def cpu_flags() -> list[str]:
    """Return the vector and matrix instructions by their Linux names; empty on other systems."""
    cpu = cpu_info()
    flags = cpu.get("flags") or cpu.get("Features") or ""
    return sorted(flag for flag in flags.split() if flag.startswith(_NUMBER_FLAGS))


def _cpu_capability() -> str | None:
    """Return the instructions that torch chose, for example AVX2; None if torch is not loaded."""
    torch = sys.modules.get("torch")
    return str(torch.backends.cpu.get_cpu_capability()) if torch else None


def _gpus() -> list[str]:
    """Return the names of the GPUs; empty if torch is not loaded in this process."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    if not torch.cuda.is_initialized():
        prepare_environment()  # a name is asked of CUDA, which then reads its environment for good
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
