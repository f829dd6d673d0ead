"""What a run went through: how long it trained with how many workers, and why it restarted."""

import time
from collections.abc import Iterable, Sequence
from itertools import pairwise

from workers.errors import StorageError
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json


def phases(records: Sequence[Json]) -> list[Json]:
    """Return one entry for each start of the workers, oldest first.

    An entry holds `attempt`, `workers`, `cpus_per_worker`, `from_step`, the `steps` it added that
    still count, the `seconds` it trained, and what the restart before it cost: `idle_s` and
    `repeated_steps`.

    Args:
        records: the records of metrics.jsonl, in the order of the file.
    """
    places = [place for place, record in enumerate(records) if record.get("kind") == "start"]
    found = []
    for place, following in pairwise([*places, len(records)]):
        start, own = records[place], records[place:following]
        steps = sum(record.get("kind") == "step" for record in own)
        found.append(
            {
                "attempt": start["attempt"],
                "workers": start["workers"],
                "cpus_per_worker": start.get("cpus_per_worker"),
                "from_step": start["step"],
                "steps": steps,
                "seconds": _end(records, own, following) - start["time"],
                "repeated_steps": start.get("repeated_steps", 0),
                "idle_s": start.get("idle_s", 0.0),
            }
        )
    return found


def mixed_hardware(records: Iterable[Json]) -> list[str]:
    """Return which machines computed a run with different arithmetic: a line for each start of the
    workers where there were such. Its weights are then not those of one kind of machine."""
    lines = []
    for start in records:
        if start.get("kind") == "start":
            attempt, place = start["attempt"], f"{start.get('node', '')}: {start.get('device', '')}"
            if machines := start.get("mixed_hardware"):
                lines.append(f"attempt {attempt}: {machines}")
            if others := start.get("other_devices"):
                lines.append(f"attempt {attempt}: {place.lstrip(': ')}, after steps on {others}")
    return lines


def _end(records: Sequence[Json], own: Sequence[Json], following: int) -> float:
    """Return when a phase ended. The records of steps that were computed again are not there."""
    if following == len(records):
        return float(own[-1]["time"])
    after = records[following]
    return float(after["time"]) - float(after.get("idle_s", 0.0))


def restart_lines(run: RunFolder) -> list[str]:
    """Return a line for each failure, notice of preemption or resume of a run, oldest first.

    A line says when it was (UTC), of what kind it was, and why. No line if the record cannot be
    read.
    """
    try:
        return [_line(entry) for entry in run.failures()]
    except StorageError:
        return []


def _line(entry: Json) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.get("time", 0)))
    return f"{at} {entry.get('kind', '')}: {entry.get('reason', '')}"
