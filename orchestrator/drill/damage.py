"""Damage to a checkpoint, as a disk or a storage might do it, and telling whole ones from damaged.

Knows the files and not their content: the layout is that of `workers.checkpoint`, which loads
torch, and what strikes a process must not take its time for that.
"""

import hashlib
import random
from dataclasses import dataclass

from workers.jsons import parse_object
from workers.run_folder import RunFolder
from workers.storage import Storage

_MANIFEST = "manifest.json"
_CUT, _FLIPPED, _GONE = "cut", "flipped", "gone"


@dataclass(frozen=True)
class Damage:
    """What was done, and to which checkpoint."""

    step: int
    what: str


def whole_checkpoints(run: RunFolder) -> list[int]:
    """Steps with a checkpoint whose every file is as its manifest says; ascending."""
    storage = run.storage.child(run.CHECKPOINTS)
    steps = {name: name.rpartition("-")[2] for name in storage.list()}
    found = [(int(step), name) for name, step in steps.items() if step.isdigit()]
    return sorted(step for step, name in found if _is_whole(storage.child(name)))


def newest_whole(run: RunFolder) -> int:
    """0 where there is none: a run then begins at its start."""
    return max(whole_checkpoints(run), default=0)


def damage_newest(run: RunFolder, draw: int) -> Damage | None:
    """Cuts a file of the newest whole checkpoint short, flips one of its bits, or removes the
    manifest. None where there is no checkpoint."""
    step = newest_whole(run)
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
    content = bytearray(folder.read(name))
    where = source.randrange(len(content))
    if how == _CUT:
        folder.write(name, bytes(content[:where]))
        return Damage(step, f"{name} cut to {where} of {len(content)} bytes")
    content[where] ^= 1 << source.randrange(8)
    folder.write(name, bytes(content))
    return Damage(step, f"a bit of byte {where} of {name} flipped")


def _sums(folder: Storage) -> dict[str, str]:
    """SHA-256 by the file's name in the folder: a step that was saved before has others."""
    manifest = parse_object(folder.read(_MANIFEST))
    prefix = f"{manifest['generation']}." if manifest.get("generation") else ""
    return {f"{prefix}{name}": expected for name, expected in manifest["sha256"].items()}


def _is_whole(folder: Storage) -> bool:
    try:
        return all(
            hashlib.sha256(folder.read(name)).hexdigest() == expected
            for name, expected in _sums(folder).items()
        )
    except (FileNotFoundError, ValueError, KeyError):
        return False
