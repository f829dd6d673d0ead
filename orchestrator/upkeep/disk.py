"""How many bytes the runs of a storage take, and what lies beside them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from workers.storage.storage import Storage

DATA, CODE, PARTS = ".data", ".code", ".parts"
"""The folders of a storage beside its runs: cut data sets, code of exported jobs, work in parts."""
_THREADS = 16
"""Requests to a remote storage at once: each waits for an answer, and none computes."""


@dataclass(frozen=True)
class DiskUsage:
    """The bytes of a storage."""

    runs: dict[str, int]
    """By the id of a run."""
    data: int
    code: int
    parts: int

    @property
    def total(self) -> int:
        return sum(self.runs.values()) + self.data + self.code + self.parts


def disk_usage(storage: Storage, run_ids: Sequence[str]) -> DiskUsage:
    """Return the bytes of these runs, and of what the storage has beside its runs.

    Raises StorageError.
    """
    names = [*run_ids, DATA, CODE, PARTS]
    with ThreadPoolExecutor(_THREADS) as pool:
        sizes = [size for _, size in pool.map(lambda name: storage.child(name).usage(), names)]
    return DiskUsage(dict(zip(run_ids, sizes, strict=False)), *sizes[len(run_ids) :])
