"""Checks of this machine."""

import os
import tempfile
from pathlib import Path

from orchestrator.doctor.check import FAIL, OK, WARN, Check, state_of_disk, state_of_memory
from workers.storage.storage import Storage

_LONGEST_SOCKET = 103
"""The maximum length of a socket's path on macOS, in characters. Linux allows 107."""
_RAY_BELOW_TEMP = "/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"


def check_torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of torch is missing
        return Check("torch", FAIL, f"cannot be imported: {error}", "reinstall torch")
    return Check("torch", OK, f"{torch.__version__}, {torch.get_num_threads()} threads by default")


def check_cpus() -> Check:
    from orchestrator.runs.hardware import num_usable_cpus

    usable, total = num_usable_cpus(), os.cpu_count() or 1
    of = f" of {total}" if usable != total else ""
    return Check("cpus", OK, f"{usable}{of} usable")


def check_memory() -> Check:
    import psutil

    from orchestrator.units import show_bytes

    memory = psutil.virtual_memory()
    detail = f"{show_bytes(memory.available)} free of {show_bytes(memory.total)}"
    state = state_of_memory(memory.available)
    cure = "" if state == OK else "end other programs: Ray and torch take about 2 GiB"
    return Check("memory", state, detail, cure)


def check_precision() -> Check:
    import torch

    from orchestrator.runs.hardware import best_precision

    gpu = torch.cuda.is_available()
    chosen = best_precision(gpu)
    device = "GPU" if gpu else "CPU"
    reason = "has" if chosen == "bf16" else "has no"
    return Check("precision", OK, f"auto is {chosen} here: the {device} {reason} fast bf16 units")


def check_disk(purpose: str, folder: Path) -> Check:
    """Check the free space at a folder, or at the place where it would be created.

    `purpose`: "cache" or "storage".
    """
    import psutil

    from orchestrator.units import show_bytes

    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = psutil.disk_usage(str(existing)).free
    state, detail = state_of_disk(free), f"{show_bytes(free)} free at {folder}"
    setting = {"cache": "RNNJOB_CACHE_DIR", "storage": "--storage"}[purpose]
    cure = "" if state == OK else f"free some space there, or choose another folder with {setting}"
    return Check(f"disk: {purpose}", state, detail, cure)


def check_storage_disk(storage: str) -> Check:
    path = Storage(storage).local_path
    if path is None:
        return Check("disk: storage", OK, f"not on this machine: {storage}")
    return check_disk("storage", path)


def check_temp_folder(folder: str | None = None) -> Check:
    """Check that the folder's path is short enough for the sockets of a Ray started by hand.

    A Ray that rnnjob starts takes /tmp if the system's temporary folder has a long path.
    """
    folder = folder or os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    spare = _LONGEST_SOCKET - len(folder + _RAY_BELOW_TEMP)
    if spare < 0:
        return Check(
            "temp folder",
            WARN,
            f"{folder} is {-spare} characters too long for Ray's sockets below it",
            "export TMPDIR=/tmp before ray start",
        )
    return Check("temp folder", OK, f"{folder} is short enough for Ray's sockets")


def check_leftovers() -> Check:
    """Check that no job whose processes were killed left a Ray behind."""
    from orchestrator.driver.private_ray import find_leftovers

    left = find_leftovers()
    if not left:
        return Check("leftovers", OK, "no job left anything behind")
    processes = sum(len(each.processes) for each in left)
    return Check(
        "leftovers",
        WARN,
        f"{len(left)} folder(s) and {processes} process(es) of jobs that were killed: "
        f"{', '.join(str(each.folder) for each in left[:4])}",
        "rnnjob cluster clean",
    )


def check_ray() -> Check:
    try:
        import ray
        import ray.job_submission  # needs ray[default]
    except (ImportError, OSError, RuntimeError) as error:
        return Check("ray", FAIL, f"cannot be imported: {error}", "reinstall ray[default,train]")
    return Check("ray", OK, ray.__version__)
