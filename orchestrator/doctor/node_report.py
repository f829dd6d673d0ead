"""What one process on a cluster finds out about itself. The machine that asked judges the report.

Importing this module needs the standard library only: the packages of a node may be missing.
"""

import hashlib
import importlib
import platform
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.storage.storage import Storage

PACKAGES = ("ray", "torch", "pyarrow", "numpy", "pydantic")
"""The packages that a cluster must have. All others are sent with the job."""
DRIVER = "driver"
_MAX_SHARD_BYTES = 2**30
_REQUEST_ID = re.compile(r" \(Request ID: \w+\)")
"""The part of an S3 error that differs from request to request."""


@dataclass(frozen=True)
class StorageTask:
    """What a process writes and reads in the storage to test it."""

    storage: str
    folder: str
    """The name of a folder in the storage that is made for this test."""
    shard: str
    """The name of a Parquet file in that folder; empty if it could not be written."""


@dataclass(frozen=True)
class NodeReport:
    """The report of one process. It holds plain data only, because it is sent as JSON."""

    place: str
    """The id of the process's node, or DRIVER."""
    error: str = ""
    """Why there is no report. If it is set, all later fields are empty."""
    versions: dict[str, str] = field(default_factory=dict)
    """The version of each package that can be imported, and of `python`."""
    not_importable: dict[str, str] = field(default_factory=dict)
    """The import error of each package that cannot be imported."""
    gpus: list[str] = field(default_factory=list)
    """The names of the GPUs that torch sees."""
    has_nvidia_driver: bool = False
    nccl: str = ""
    temp_dir: str = ""
    """Ray's temporary folder."""
    disk_free: int = 0
    """Free bytes in `temp_dir`."""
    memory_free: int = 0
    """Free bytes of memory."""
    storage_error: str = ""
    shard_sha256: str = ""
    """The SHA-256 of the shard's file; empty if the file is not in the storage."""
    shard_error: str = ""


def make_report(place: str, temp_dir: str, task: StorageTask) -> NodeReport:
    """Inspect this process and its node."""
    import psutil

    versions, not_importable = _find_packages()
    has_torch = "torch" in versions
    storage_error, shard_sha256, shard_error = _test_storage(place, task)
    return NodeReport(
        place=place,
        versions={"python": platform.python_version(), **versions},
        not_importable=not_importable,
        gpus=gpu_names() if has_torch else [],
        has_nvidia_driver=has_nvidia_driver(),
        nccl=nccl_version() if has_torch else "",
        temp_dir=temp_dir,
        disk_free=shutil.disk_usage(temp_dir).free,
        memory_free=psutil.virtual_memory().available,
        storage_error=storage_error,
        shard_sha256=shard_sha256,
        shard_error=shard_error,
    )


def _find_packages() -> tuple[dict[str, str], dict[str, str]]:
    versions, not_importable = {}, {}
    for name in PACKAGES:
        try:
            versions[name] = str(importlib.import_module(name).__version__)
        except Exception as error:  # noqa: BLE001  # any error here would stop a job, too
            not_importable[name] = f"{type(error).__name__}: {error}"
    return versions, not_importable


def gpu_names() -> list[str]:
    """Return the names of the GPUs that torch sees."""
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def has_nvidia_driver() -> bool:
    return Path("/dev/nvidiactl").exists()


def nccl_version() -> str:
    """Return torch's NCCL version; empty if torch has no NCCL, or no GPU to use it with."""
    import torch
    import torch.distributed as dist

    if not torch.cuda.is_available() or not dist.is_nccl_available():
        return ""
    version = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
    return ".".join(str(part) for part in version)


def _test_storage(place: str, task: StorageTask) -> tuple[str, str, str]:
    """Return the storage's error, the shard's SHA-256 and the error in reading the shard.

    Each is empty if it does not apply.
    """
    try:
        from orchestrator.doctor.storage_trial import removing_new_folders, try_storage
        from workers.errors import JobError
        from workers.storage.storage import Storage
    except ImportError as error:
        return f"the storage cannot be opened: {error}", "", ""
    try:
        storage = Storage(task.storage)
        folder = storage.child(task.folder)
        with removing_new_folders(folder):
            try_storage(folder, place)
        digest, shard_error = _read_shard(folder, task.shard) if task.shard else ("", "")
    except JobError as error:
        return without_process_details(error.cause, place), "", ""
    return "", digest, shard_error


def without_process_details(cause: str, place: str) -> str:
    """Remove what differs between processes, so that equal errors on two nodes have equal texts."""
    return _REQUEST_ID.sub("", cause.replace(f"/{place}", ""))


def _read_shard(folder: "Storage", name: str) -> tuple[str, str]:
    """Return the file's SHA-256, and why pyarrow cannot read it. Raises StorageError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = folder.read(name, _MAX_SHARD_BYTES)
    except FileNotFoundError:
        return "", ""
    try:
        pq.read_table(pa.BufferReader(content))
    except (OSError, pa.ArrowException) as error:
        return hashlib.sha256(content).hexdigest(), f"pyarrow cannot read it: {error}"
    return hashlib.sha256(content).hexdigest(), ""
