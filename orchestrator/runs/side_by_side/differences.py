"""What differs between runs, or groups of repeats, and what does not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.runs.metrics import METRICS
from orchestrator.runs.side_by_side.columns import OUTCOME, SECTIONS, Column
from orchestrator.runs.side_by_side.noise import Noise
from workers.errors import InputError
from workers.storage.typed_json import Json

MAX_COLUMNS = 26
"""As many as there are letters to call them by."""
SAME, DIFFERENT, UNKNOWN = "same", "different", "unknown"


@dataclass(frozen=True)
class Difference:
    """A key whose value is not the same in all columns."""

    section: str
    """`spec`, one of `SECTIONS`, or `outcome`."""
    key: str
    values: tuple[Any, ...]
    """One for each column; None where it is unknown. Of numbers of repeats, the means."""
    spreads: tuple[float | None, ...] = ()
    """Of numbers of an outcome: the standard deviation over the repeats."""

    def to_json(self) -> Json:
        spreads = {"standard_deviations": list(self.spreads)} if any(self.spreads) else {}
        return {"key": self.key, "values": list(self.values), **spreads}


@dataclass(frozen=True)
class SideBySide:
    """Runs, or groups of repeats, and what differs between them."""

    columns: tuple[Column, ...]
    differences: tuple[Difference, ...]
    noise: dict[int, tuple[Noise, ...]]
    """For the number of a column: its metrics against those of the first column."""

    @property
    def weights(self) -> str:
        """Whether all columns have the same weights; of repeats, seed by seed."""
        known = [[m.weights for m in column.members] for column in self.columns]
        if any(None in weights for weights in known):
            return UNKNOWN
        return SAME if all(weights == known[0] for weights in known) else DIFFERENT

    @property
    def without_provenance(self) -> list[str]:
        """The ids of runs of which it is not known where they came from."""
        return [m.run_id for c in self.columns for m in c.members if not m.has_provenance]

    def of(self, section: str) -> list[Difference]:
        return [each for each in self.differences if each.section == section]

    def to_json(self) -> Json:
        """Return the document that `rnnjob compare --json` prints."""
        return {
            "schema_version": 1,
            "columns": [
                {"name": c.name, "runs": [{"run_id": m.run_id, "seed": m.seed} for m in c.members]}
                for c in self.columns
            ],
            "weights": self.weights,
            "differences": {
                section: [each.to_json() for each in self.of(section)]
                for section in ("spec", *SECTIONS, "outcome")
            },
            "noise": [
                {"column": number, "against": 0, **each.to_json()}
                for number, found in self.noise.items()
                for each in found
            ],
        }


def set_side_by_side(columns: Sequence[Column]) -> SideBySide:
    """Compare columns. Raises InputError if there are too few or too many."""
    if not 2 <= len(columns) <= MAX_COLUMNS:
        raise InputError(
            f"{len(columns)} run(s) or groups of repeats cannot be compared",
            f"name 2 to {MAX_COLUMNS}; see rnnjob list",
        )
    facts = [each for section in ("spec", *SECTIONS) for each in _facts(columns, section)]
    noise = {n: _noise(columns[0], column) for n, column in enumerate(columns) if n}
    return SideBySide(tuple(columns), (*facts, *_outcomes(columns)), noise)


def _facts(columns: Sequence[Column], section: str) -> Iterable[Difference]:
    known = [c for c in columns if any(m.facts[section] for m in c.members)]
    keys = dict.fromkeys(key for c in known for m in c.members for key in m.facts[section])
    for key in keys:
        values = [column.fact(section, key) for column in known]
        if any(value != values[0] for value in values):
            yield Difference(section, key, tuple(c.fact(section, key) for c in columns))


def _outcomes(columns: Sequence[Column]) -> Iterable[Difference]:
    for key in OUTCOME:
        values = tuple(column.outcome(key) for column in columns)
        if any(value != values[0] for value in values):
            yield Difference("outcome", key, values, tuple(c.spread(key) for c in columns))


def _noise(first: Column, second: Column) -> tuple[Noise, ...]:
    """Return the metrics of the test split, paired by seed, of two columns with repeats.

    A metric that is equal for all seeds has no noise.
    """
    by_seed = {member.seed: member.result for member in second.members}
    pairs = [(m.result, by_seed[m.seed]) for m in first.members if m.seed in by_seed]
    found = []
    for key in (f"test_{name}" for name in (*METRICS, "loss")):
        both = [(a[key], b[key]) for a, b in pairs if None not in (a.get(key), b.get(key))]
        differences = tuple(b - a for a, b in both)
        if len(differences) > 1 and any(differences):
            found.append(Noise(key, differences))
    return tuple(found)
