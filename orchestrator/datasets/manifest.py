"""The manifest of a cut data set: what its rows are, which shards hold them, and their origin."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.data.base import Config, NonNegativeInt
from workers.data.kinds import SPLITS, DataShape
from workers.shards.shard_file import num_rows_of, shard_name

MANIFEST = "manifest.json"
SCHEMA_VERSION = 2
"""Version 1 knew only images, and had no origin. It is still read."""
Entries = Mapping[str, list[dict[str, Any]]]
"""For each split an entry for each shard: file, rows, steps (not of images), sha256."""


class Origin(Config):
    """Where the rows came from, for the record. Data sets of version 1 do not have it."""

    uri: str = ""
    """What was read: the name of a data set, or a URI."""
    digest: str = ""
    """What identifies the files that were read."""
    num_files: NonNegativeInt = 0
    splits: dict[str, str] = {}  # noqa: RUF012  # pydantic copies it
    """For each split, how its rows were told from others."""
    notes: tuple[str, ...] = ()
    """What was inferred and not said, in sentences."""


def write_manifest(folder: Path, shape: DataShape, shards: Entries, origin: Origin) -> None:
    """Write the manifest. It marks the folder as complete."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "shape": shape.model_dump(mode="json"),
        "shards": shards,
        "origin": origin.model_dump(mode="json"),
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n")


def check_entries(shards: Entries, shape: DataShape) -> None:
    """Raise ValueError, KeyError or TypeError if the entries do not match the shape.

    The file names are checked, because a wrong name could lead to any file.
    """
    for split in SPLITS:
        entries = shards[split]
        if len(entries) != shape.num_shards:
            raise ValueError("it does not list every shard once")
        for shard, entry in enumerate(entries):
            wanted = {
                "file": shard_name(split, shard, shape.num_shards),
                "rows": num_rows_of(shape, split, shard),
                "sha256": str(entry["sha256"]),
            }
            listed = {key: entry[key] for key in wanted}
            if listed != wanted:
                raise ValueError(f"it lists {str(listed)[:200]}, not {wanted}")
            _check_steps(entry, shape)


def _check_steps(entry: Mapping[str, Any], shape: DataShape) -> None:
    if (limits := shape.input.steps_of(entry["rows"])) is None:
        return
    steps, (lowest, highest) = entry["steps"], limits
    if isinstance(steps, bool) or not isinstance(steps, int) or not lowest <= steps <= highest:
        raise ValueError(f"it lists {str(steps)[:80]} time steps, not {lowest} to {highest}")
