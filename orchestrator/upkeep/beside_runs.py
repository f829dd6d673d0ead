"""What killed commands left in a storage, beside its runs."""

import re
from collections.abc import Iterator

from orchestrator.upkeep.disk import PARTS
from orchestrator.upkeep.unneeded import LEFTOVER, Cutoff, Unneeded
from workers.errors import RefusedFileError
from workers.storage.storage import LARGE_BYTES, Storage
from workers.storage.typed_json import parse_object

_DOCTOR = re.compile(r"\.rnnjob-doctor-[0-9a-f]{8}")
_PARTIAL = ".partial"
_REQUEST = "request.json"


def unneeded_beside_runs(storage: Storage, cutoff: Cutoff) -> Iterator[Unneeded]:
    """Yield the parts of work that was killed, and the trials of `rnnjob doctor`.

    Raises StorageError.
    """
    parts = storage.child(PARTS)
    for name in parts.list():
        yield from cutoff.unneeded(LEFTOVER, parts.child(name), "an evaluation that was killed")
    for name in storage.list():
        folder = storage.child(name)
        if _DOCTOR.fullmatch(name):
            yield from cutoff.unneeded(LEFTOVER, folder, "a trial that was killed")
        elif name.endswith(_PARTIAL) and _is_prediction(folder):
            yield from cutoff.unneeded(LEFTOVER, folder, "a prediction that nobody finished")


def _is_prediction(folder: Storage) -> bool:
    """Whether a folder holds the parts of a prediction, and is not just named like one."""
    try:
        request = parse_object(folder.confined().read(_REQUEST, LARGE_BYTES))
    except (FileNotFoundError, ValueError, RefusedFileError):
        return False
    return request.get("kind") == "predict" and "weights_sha256" in request
