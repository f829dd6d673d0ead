"""How long a run trained with how many workers, and what each restart cost: from its metrics."""

from collections.abc import Sequence
from itertools import pairwise

from workers.jsons import Json


def phases(records: Sequence[Json]) -> list[Json]:
    """One entry per start of the workers, oldest first.

    attempt, workers; `from_step`, `steps` it added that still count; `seconds` it trained, and the
    `idle_s` and `repeated_steps` that the restart before it cost.

    Args:
        records: of metrics.jsonl, in its order.
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
                "from_step": start["step"],
                "steps": steps,
                "seconds": _end(records, own, following) - start["time"],
                "repeated_steps": start.get("repeated_steps", 0),
                "idle_s": start.get("idle_s", 0.0),
            }
        )
    return found


def _end(records: Sequence[Json], own: Sequence[Json], following: int) -> float:
    """When a phase ended: steps that were computed again are no longer among its records."""
    if following == len(records):
        return float(own[-1]["time"])
    after = records[following]
    return float(after["time"]) - float(after.get("idle_s", 0.0))
