"""What a process on a cluster finds where it runs; whoever asked is to judge it.

Importing this needs the standard library alone: whether there is more is the question.
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
    from workers.storage import Storage

PACKAGES = ("ray", "torch", "pyarrow", "numpy", "pydantic")
"""What a job needs of a cluster; all else travels with it."""
DRIVER = "driver"
_REQUEST_ID = re.compile(r" \(Request ID: \w+\)")
"""Of S3."""


@dataclass(frozen=True)
class Errand:
    """What to try and to read in a storage."""

    storage: str
    folder: str
    """In it, made for this."""
    shard: str
    """A Parquet file in that folder, or empty."""


@dataclass(frozen=True)
class NodeReport:
    """Plain data, since it travels as JSON."""

    place: str
    """The id of a node, or DRIVER."""
    error: str = ""
    """Why there is no report; nothing else is filled in then."""
    versions: dict[str, str] = field(default_factory=dict)
    """By package, and of `python`."""
    not_importable: dict[str, str] = field(default_factory=dict)
    """The reason, by package."""
    gpus: list[str] = field(default_factory=list)
    """Names of those that torch sees."""
    has_nvidia_driver: bool = False
    nccl: str = ""
    temp_dir: str = ""
    """Ray's."""
    disk_free: int = 0
    memory_free: int = 0
    storage_error: str = ""
    shard_sha256: str = ""
    """Empty where it is not there."""
    shard_error: str = ""


def look_around(place: str, temp_dir: str, errand: Errand) -> NodeReport:
    """The report of this process."""
    import psutil

    versions, not_importable = _find_packages()
    has_torch = "torch" in versions
    storage_error, shard_sha256, shard_error = _look_into_storage(place, errand)
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
        except Exception as error:  # noqa: BLE001  # whatever it is, a job would meet it too
            not_importable[name] = f"{type(error).__name__}: {error}"
    return versions, not_importable


def gpu_names() -> list[str]:
    """Those that torch sees."""
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def has_nvidia_driver() -> bool:
    return Path("/dev/nvidiactl").exists()


def nccl_version() -> str:
    """Empty where torch has no NCCL, or no GPU to use it with."""
    import torch
    import torch.distributed as dist

    if not torch.cuda.is_available() or not dist.is_nccl_available():
        return ""
    version = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
    return ".".join(str(part) for part in version)


def _look_into_storage(place: str, errand: Errand) -> tuple[str, str, str]:
    """What went wrong with a file of its own; the SHA-256 of the shard; what went wrong with it."""
    try:
        from orchestrator.storage_trial import left_as_found, try_out
        from workers.errors import JobError
        from workers.storage import Storage
    except ImportError as error:
        return f"it cannot be opened: {error}", "", ""
    try:
        storage = Storage(errand.storage)
        folder = storage.child(errand.folder)
        with left_as_found(folder):
            try_out(folder, place)
        digest, shard_error = _read_shard(folder, errand.shard) if errand.shard else ("", "")
    except JobError as error:
        return as_others_say_it(error.cause, place), "", ""
    return "", digest, shard_error


def as_others_say_it(cause: str, place: str) -> str:
    """Without what is of this process alone: the same error on two nodes is then the same text."""
    return _REQUEST_ID.sub("", cause.replace(f"/{place}", ""))


def _read_shard(folder: "Storage", name: str) -> tuple[str, str]:
    """Its SHA-256, and why it is no Parquet here. Raises StorageError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = folder.read(name)
    except FileNotFoundError:
        return "", ""
    try:
        pq.read_table(pa.BufferReader(content))
    except (OSError, pa.ArrowException) as error:
        return hashlib.sha256(content).hexdigest(), f"pyarrow cannot read it: {error}"
    return hashlib.sha256(content).hexdigest(), ""
