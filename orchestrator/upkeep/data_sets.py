"""Cut data sets that no run needs: in a storage, and in the user's cache."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from orchestrator.datasets.manifest import MANIFEST
from orchestrator.upkeep.disk import DATA
from orchestrator.upkeep.unneeded import DATA_SET, LEFTOVER, Cutoff, Unneeded
from workers.errors import RefusedFileError
from workers.records.run_folder import RunFolder
from workers.storage.storage import LARGE_BYTES, Storage
from workers.storage.typed_json import parse_object

_SCRATCH = re.compile(r"\.(download|inspect)-[a-z0-9_]{8}")
_CUT_SCRATCH = re.compile(r"\..+-[0-9a-f]{8}(-old)?")


def unneeded_in_storage(
    storage: Storage, all_runs: Iterable[RunFolder], cutoff: Cutoff
) -> Iterator[Unneeded]:
    """Yield the copies in `.data` that the spec of no run names. Raises StorageError."""
    published = storage.child(DATA).confined()
    names = published.list()
    specs = [_content(run, run.JOB) for run in all_runs] if names else []
    for name in names:
        folder = published.child(name)
        if not folder.exists(MANIFEST):
            yield from cutoff.unneeded(LEFTOVER, folder, "a copy that was never completed")
        # Anywhere in the text: a spec that cannot be read may still name it.
        elif not any(name.encode() in spec for spec in specs):
            yield from cutoff.unneeded(DATA_SET, folder, "no run of the storage names it")


def unneeded_in_cache(
    cache: Path, going_on: Iterable[RunFolder], cutoff: Cutoff
) -> Iterator[Unneeded]:
    """Yield the cut data sets of the cache that were not used since the cutoff.

    A job that needs one cuts it again. `going_on`: the runs that have not ended; what they use is
    kept.

    Raises StorageError.
    """
    in_use = [_content(run, run.DATA) for run in going_on]
    prepared = Storage(str(cache / "prepared"))
    for name in prepared.list():
        folder = prepared.child(name)
        if _CUT_SCRATCH.fullmatch(name):
            yield from cutoff.unneeded(LEFTOVER, folder, "of a process that was killed")
        elif (fingerprint := _fingerprint(folder)) and not any(fingerprint in d for d in in_use):
            yield from cutoff.unneeded(DATA_SET, folder, "a job that needs it cuts it again")
    for name in filter(_SCRATCH.fullmatch, Storage(str(cache)).list()):
        folder = Storage(str(cache / name))
        yield from cutoff.unneeded(LEFTOVER, folder, "of a process that was killed")


def _fingerprint(folder: Storage) -> bytes:
    """Return the fingerprint of a cut data set; empty if the folder is none."""
    try:
        content = parse_object(folder.read(MANIFEST, LARGE_BYTES))
        return str(content["shape"]["fingerprint"]).encode()
    except (FileNotFoundError, ValueError, KeyError, TypeError, RefusedFileError):
        return b""


def _content(run: RunFolder, name: str) -> bytes:
    try:
        return run.storage.read(name, LARGE_BYTES)
    except (FileNotFoundError, RefusedFileError):
        return b""
