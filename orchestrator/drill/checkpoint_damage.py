"""Damage a checkpoint as a failing disk or storage might, and find the intact checkpoints.

This module knows the files of `workers.checkpoints` but not their content. It does not import that
package, because loading torch would delay the injection of a fault.
"""

import hashlib
import random
from dataclasses import dataclass

from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage
from workers.storage.typed_json import parse_object

_MANIFEST = "manifest.json"
_MAX_BYTES = 2**40
"""No limit for practical purposes: the drill's own job has written the files just now."""
_CUT, _FLIPPED, _GONE = "cut", "flipped", "gone"


@dataclass(frozen=True)
class Damage:
    """The step of the checkpoint that was damaged, and how."""

    step: int
    description: str


def intact_steps(run: RunFolder) -> list[int]:
    """Return the steps of the checkpoints whose files all match their manifest, ascending."""
    storage = run.storage.child(run.CHECKPOINTS)
    steps = {name: name.rpartition("-")[2] for name in storage.list()}
    checkpoints = [(int(step), name) for name, step in steps.items() if step.isdigit()]
    return sorted(step for step, name in checkpoints if _is_intact(storage.child(name)))


def newest_intact_step(run: RunFolder) -> int:
    """Return the step of the newest intact checkpoint; 0 if there is none."""
    return max(intact_steps(run), default=0)


def damage_newest(run: RunFolder, draw: int) -> Damage | None:
    """Damage the newest intact checkpoint: truncate a file, flip a bit, or remove the manifest.

    Returns None if there is no intact checkpoint.
    """
    step = newest_intact_step(run)
    if not step:
        return None
    source = random.Random(draw)
    storage = run.storage.child(run.CHECKPOINTS)
    folder = storage.child(next(n for n in storage.list() if n.endswith(f"-{step:08d}")))
    how = source.choice((_CUT, _FLIPPED, _GONE))
    if how == _GONE:
        folder.delete_file(_MANIFEST)
        return Damage(step, f"{_MANIFEST} removed")
    name = source.choice(sorted(_sums(folder)))
    content = bytearray(folder.read(name, _MAX_BYTES))
    position = source.randrange(len(content))
    if how == _CUT:
        folder.write(name, bytes(content[:position]))
        return Damage(step, f"{name} cut to {position} of {len(content)} bytes")
    content[position] ^= 1 << source.randrange(8)
    folder.write(name, bytes(content))
    return Damage(step, f"a bit of byte {position} of {name} flipped")


def _sums(folder: Storage) -> dict[str, str]:
    """Return the SHA-256 of each file, by its name in the folder.

    If the same step was saved more than once, only the files of the last save are included.
    """
    manifest = parse_object(folder.read(_MANIFEST))
    prefix = f"{manifest['generation']}." if manifest.get("generation") else ""
    return {f"{prefix}{name}": expected for name, expected in manifest["sha256"].items()}


def _is_intact(folder: Storage) -> bool:
    try:
        return all(
            hashlib.sha256(folder.read(name, _MAX_BYTES)).hexdigest() == expected
            for name, expected in _sums(folder).items()
        )
    except (FileNotFoundError, ValueError, KeyError):
        return False
