"""Find all that nothing needs: in a storage, in the user's cache, in the temporary folders."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator import runs
from orchestrator.datasets.cache import default_cache
from orchestrator.runs import RunStatus
from orchestrator.upkeep.beside_runs import unneeded_beside_runs
from orchestrator.upkeep.data_sets import unneeded_in_cache, unneeded_in_storage
from orchestrator.upkeep.ended_runs import unneeded_of_run
from orchestrator.upkeep.temporary_folders import unneeded_temporary_folders
from orchestrator.upkeep.unneeded import Cutoff, Unneeded
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage


def find_unneeded(
    storage: Storage, found: Sequence[RunStatus], age_s: float, cache: Path | None = None
) -> list[Unneeded]:
    """Return what nothing needs, and nothing has touched for `age_s` seconds.

    Args:
        found: the state of each run of the storage.
        cache: by default that of the user.

    Raises StorageError.
    """
    cutoff = Cutoff(time.time() - age_s)
    statuses = {status.run_id: status for status in found}
    return list(_unneeded(storage, statuses, cutoff, cache or default_cache()))


def _unneeded(
    storage: Storage, statuses: Mapping[str, RunStatus], cutoff: Cutoff, cache: Path
) -> Iterator[Unneeded]:
    # Also those whose status cannot be read: what they name is kept.
    folders = [RunFolder(storage.child(name)) for name in storage.list() if runs.is_run_id(name)]
    ended = {run_id for run_id, status in statuses.items() if status.is_terminal}
    yield from unneeded_in_storage(storage, folders, cutoff)
    going_on = [run for run in folders if run.run_id not in ended]
    yield from unneeded_in_cache(cache, going_on, cutoff)
    for run in folders:
        if run.run_id in ended:
            yield from unneeded_of_run(run, statuses[run.run_id], cutoff)
    yield from unneeded_beside_runs(storage, cutoff)
    yield from unneeded_temporary_folders(cutoff)
