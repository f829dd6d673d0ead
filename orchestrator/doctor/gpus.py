"""Checks of the GPUs of this machine."""

import re
from pathlib import Path
from typing import Any

from orchestrator.doctor.check import FAIL, OK, WARN, Check
from orchestrator.doctor.node_report import gpu_names, has_nvidia_driver, nccl_version
from orchestrator.units import show_bytes
from workers.gpu.settings import prepare_environment

_DRIVER_VERSION = Path("/proc/driver/nvidia/version")


def check_gpus() -> list[Check]:
    """Return one check for all GPUs, and one of the arithmetic of each."""
    import torch

    prepare_environment()  # CUDA reads it at its first use
    names = gpu_names()
    if not names and has_nvidia_driver():
        return [
            Check(
                "gpus",
                WARN,
                f"the machine has an NVIDIA driver, but torch {torch.__version__} sees no GPU",
                "install a torch built for the driver's CUDA version; see nvidia-smi",
            )
        ]
    if not names:
        return [Check("gpus", OK, "none")]
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    versions = f"driver {_driver_version()}, CUDA {torch.version.cuda}, cuDNN {cudnn}"
    memory = [_memory(index) for index in range(len(names))]
    cards = ", ".join(f"{name} ({free})" for name, free in zip(names, memory, strict=True))
    return [
        Check("gpus", OK, f"{len(names)}: {cards}; {versions}"),
        *(_check_arithmetic(index) for index in range(len(names))),
    ]


def check_nccl() -> Check:
    if not gpu_names():
        return Check("nccl", OK, "not needed, because there are no GPUs")
    if version := nccl_version():
        return Check("nccl", OK, version)
    return Check("nccl", FAIL, "torch was built without NCCL", "install a torch built with CUDA")


def _check_arithmetic(index: int) -> Check:
    """Check that a GPU computes the same bits in every way in which a job may use it."""
    import torch

    from workers.gpu.self_test import differing_variants

    device, name = torch.device("cuda", index), f"gpu {index}: same bits"
    precisions = ["fp32", *(["bf16"] if torch.cuda.is_bf16_supported(False) else [])]
    try:
        differing = [way for each in precisions for way in differing_variants(device, each)]
    except torch.OutOfMemoryError:
        return Check(name, WARN, "not tested: others use the GPU's memory", "see nvidia-smi")
    if differing:
        return Check(
            name,
            FAIL,
            f"other bits in {', '.join(differing)}",
            "use another driver or release of torch, or training.gradients: fused",
        )
    return Check(name, OK, f"{' and '.join(precisions)}: on one queue and on eight, with graphs")


def _memory(index: int) -> str:
    import torch

    free, total = torch.cuda.mem_get_info(index)
    return f"{show_bytes(free)} free of {show_bytes(total)}"


def _driver_version() -> str:
    try:
        text: Any = _DRIVER_VERSION.read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", text)
    return found.group() if found else "unknown"
