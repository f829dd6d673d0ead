"""Checks of this machine."""

import os
import tempfile
from pathlib import Path

from orchestrator.doctor.check import FAIL, OK, WARN, Check, state_of_disk, state_of_memory
from orchestrator.node_report import gpu_names, has_nvidia_driver, nccl_version
from workers.storage import Storage

_LONGEST_SOCKET = 103
"""Characters of a socket's path on macOS; Linux takes 107."""
_RAY_BELOW_TEMP = "/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"


def check_torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of its own is missing
        return Check("torch", FAIL, f"cannot be imported: {error}", "install torch anew")
    return Check("torch", OK, f"{torch.__version__}, {torch.get_num_threads()} threads by default")


def check_cpus() -> Check:
    from orchestrator.launchers.local import num_usable_cpus

    usable, there = num_usable_cpus(), os.cpu_count() or 1
    of = f" of {there}" if usable != there else ""
    return Check("cpus", OK, f"{usable}{of} usable")


def check_memory() -> Check:
    import psutil

    from orchestrator.units import show_bytes

    memory = psutil.virtual_memory()
    detail = f"{show_bytes(memory.available)} free of {show_bytes(memory.total)}"
    state = state_of_memory(memory.available)
    cure = "" if state == OK else "end other programs: Ray and torch take about 2 GiB"
    return Check("memory", state, detail, cure)


def check_gpus() -> Check:
    import torch

    if names := gpu_names():
        return Check("gpus", OK, f"{len(names)}: {', '.join(names)}")
    if has_nvidia_driver():
        return Check(
            "gpus",
            WARN,
            f"the machine has an NVIDIA driver, but torch {torch.__version__} sees no GPU",
            "install a torch built for the driver's CUDA version; see nvidia-smi",
        )
    return Check("gpus", OK, "none")


def check_nccl() -> Check:
    if not gpu_names():
        return Check("nccl", OK, "none, and none needed: no GPUs")
    if version := nccl_version():
        return Check("nccl", OK, version)
    return Check("nccl", FAIL, "torch was built without NCCL", "install a torch built with CUDA")


def check_precision() -> Check:
    import torch

    from orchestrator.hardware import best_precision

    gpu = torch.cuda.is_available()
    chosen = best_precision(gpu)
    device = "GPU" if gpu else "CPU"
    reason = "has" if chosen == "bf16" else "has no"
    units = "bf16 units" if gpu else "AMX tiles"
    return Check("precision", OK, f"auto is {chosen} here: the {device} {reason} {units}")


def check_disk(what: str, folder: Path) -> Check:
    """Room at a folder, or where it would be made."""
    import psutil

    from orchestrator.units import show_bytes

    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = psutil.disk_usage(str(there)).free
    state, detail = state_of_disk(free), f"{show_bytes(free)} free at {folder}"
    variable = {"cache": "RNNJOB_CACHE_DIR", "storage": "--storage"}[what]
    cure = "" if state == OK else f"free some space there, or name another folder: {variable}"
    return Check(f"disk: {what}", state, detail, cure)


def check_storage_disk(storage: str) -> Check:
    path = Storage(storage).local_path
    if path is None:
        return Check("disk: storage", OK, f"not on this machine: {storage}")
    return check_disk("storage", path)


def check_temp_folder(folder: str | None = None) -> Check:
    """Whether the sockets of a Ray started by hand fit below it; rnnjob's own are in /tmp."""
    folder = folder or os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    spare = _LONGEST_SOCKET - len(folder + _RAY_BELOW_TEMP)
    if spare < 0:
        return Check(
            "temp folder",
            WARN,
            f"{folder} is {-spare} characters too long for the sockets of a Ray below it",
            "export TMPDIR=/tmp before ray start",
        )
    return Check("temp folder", OK, f"{folder}, short enough for Ray's sockets")


def check_ray() -> Check:
    try:
        import ray
        import ray.job_submission  # needs ray[default]
    except (ImportError, OSError, RuntimeError) as error:
        return Check("ray", FAIL, f"cannot be imported: {error}", "install ray[default,train] anew")
    return Check("ray", OK, ray.__version__)
