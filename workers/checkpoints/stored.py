"""Which checkpoints a run has, as its files tell. Nothing here needs torch."""

import contextlib
import hashlib
import re
from typing import Any

from workers.config import DEFINITION
from workers.errors import RefusedFileError
from workers.storage.storage import LARGE_BYTES, Storage
from workers.storage.typed_json import mistyped_key, parse_object

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
FILES = ("model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json")
"""The files that the manifest of a checkpoint names."""
_PREFIX = "step-"
_STEP = re.compile(_PREFIX + "([0-9]{8,18})")
_MAX_GENERATION = 2**31
_LARGEST_FILE = 2**40


def step_name(step: int) -> str:
    """Return the name of the folder with the checkpoint of a step."""
    return f"{_PREFIX}{step:08d}"


def saved_steps(checkpoints: Storage) -> list[int]:
    """Return the steps that have a checkpoint, damaged or not, in ascending order."""
    matches = [_STEP.fullmatch(name) for name in checkpoints.list()]
    return sorted(int(match[1]) for match in matches if match)


def read_manifest(folder: Storage) -> dict[str, Any]:
    """Return the manifest of a checkpoint; empty if it is missing or damaged."""
    try:
        return parse_object(folder.read(MANIFEST))
    except (FileNotFoundError, ValueError, RefusedFileError):
        return {}


def generation_of(manifest: dict[str, Any]) -> int:
    """Return how often the step had been saved before this checkpoint."""
    generation = manifest.get("generation", 0)
    is_int = mistyped_key({"generation": generation}, {"generation": int}) is None
    return generation if is_int and 0 <= generation < _MAX_GENERATION else 0


def definition_of(state: dict[str, Any]) -> int:
    """Return the version of what a result was when a state.json was written; see `DEFINITION`."""
    definition = state.get("definition", 1)
    return definition if isinstance(definition, int) else 1


def newest_definition(checkpoints: Storage) -> int | None:
    """Return `definition_of` the newest checkpoint whose state can be read; None without one."""
    for step in reversed(saved_steps(checkpoints)):
        folder = checkpoints.child(step_name(step))
        if manifest := read_manifest(folder):
            name = stored_as("state.json", generation_of(manifest))
            with contextlib.suppress(FileNotFoundError, ValueError, RefusedFileError):
                return definition_of(parse_object(folder.read(name, LARGE_BYTES)))
    return None


def other_definition(what: str, definition: int) -> tuple[str, str]:
    """Return cause and cure of steps that were computed under another definition of a result."""
    return (
        f"{what} was computed under version {definition} of what a result is, and this rnnjob "
        f"computes version {DEFINITION}: the rest would be neither's",
        "start a new run with its job.yaml (rnnjob submit -c), or resume it with the rnnjob that "
        "began it",
    )


def stored_as(name: str, generation: int) -> str:
    """Return the name that a file of a checkpoint has in its folder."""
    return f"{generation}.{name}" if generation else name


def is_whole(folder: Storage) -> bool:
    """Return whether all files of a checkpoint are there, with the SHA-256 of its manifest.

    Raises StorageError.
    """
    manifest = read_manifest(folder)
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict) or set(hashes) != set(FILES):
        return False
    generation = generation_of(manifest)
    try:
        return all(
            hashlib.sha256(folder.read(stored_as(name, generation), _LARGEST_FILE)).hexdigest()
            == sha256
            for name, sha256 in hashes.items()
        )
    except (FileNotFoundError, RefusedFileError):
        return False
