"""What is compared of runs: the spec, where the result came from, and the result."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator import runs
from orchestrator.runs.comparison import flatten
from orchestrator.runs.metrics import METRICS
from orchestrator.runs.repeats import MAX_REPEATS, common_name
from orchestrator.runs.result import read_result
from orchestrator.spec.plan import read_spec
from workers.errors import InputError
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json

SECTIONS: dict[str, tuple[str, ...]] = {
    "data": ("data",),
    "code": ("rnnjob", "source", "source_sha256", "working_dir"),
    "packages": ("python", "packages"),
    "hardware": ("mode", "platform", "cpu", "cpu_flags", "cpu_capability", "num_cpus", "gpus"),
}
"""Keys of provenance.json. The others repeat the spec."""
_NOT_OF_THE_JOB = {"name", "storage", "dataset.prepared", "dataset.fingerprint"}
"""Keys of a spec that say what the run is called and where things are; data have a fingerprint."""
OUTCOME: tuple[str, ...] = (
    "state",
    *(f"{split}_{name}" for split in ("test", "validation") for name in (*METRICS, "loss")),
    "best_epoch", "epochs", "steps", "samples_per_s", "wall_s", "workers", "attempts",
)  # fmt: skip
"""Keys of result.json."""


@dataclass(frozen=True)
class Member:
    """One run, as it is compared."""

    run_id: str
    seed: int
    state: str
    facts: Mapping[str, Mapping[str, Any]]
    """For `spec` and each of `SECTIONS`, the values by dotted key."""
    result: Mapping[str, Any]
    has_provenance: bool

    @property
    def weights(self) -> str | None:
        return self.result.get("weights_sha256")


@dataclass(frozen=True)
class Column:
    """A run, or a group of repeats that differ in their seeds alone."""

    name: str
    members: tuple[Member, ...]
    """By their seeds."""

    @property
    def is_group(self) -> bool:
        return len(self.members) > 1

    def fact(self, section: str, key: str) -> Any:
        """Return the value that all members have, or the list of their values."""
        values: list[Any] = []
        for member in self.members:
            value = member.facts[section].get(key)
            if value not in values:
                values.append(value)
        return values[0] if len(values) == 1 else values

    def outcomes(self, key: str) -> list[Any]:
        """Return the values of a key of the results, without those that are missing."""
        values = [member.result.get(key) for member in self.members]
        return [value for value in values if value is not None]

    def outcome(self, key: str) -> Any:
        """Return the mean of numbers, or the value that all have, or the list of the values."""
        values = self.outcomes(key)
        if _are_numbers(values):
            return statistics.fmean(values) if self.is_group else values[0]
        distinct = list(dict.fromkeys(values))
        return distinct[0] if len(distinct) == 1 else distinct or None

    def spread(self, key: str) -> float | None:
        """Return the standard deviation of a number over the repeats; None without repeats."""
        values = self.outcomes(key)
        return statistics.stdev(values) if len(values) > 1 and _are_numbers(values) else None

    def repeats_to_json(self) -> Json:
        """Return what is printed as JSON of repeats alone: their results, mean and spread."""
        numbers = [key for key in OUTCOME if self.spread(key) is not None]
        return {
            "schema_version": 1,
            "name": self.name,
            "runs": [
                {"run_id": m.run_id, "seed": m.seed, "state": m.state, "weights_sha256": m.weights}
                | {key: m.result.get(key) for key in numbers}
                for m in self.members
            ],
            "mean": {key: self.outcome(key) for key in numbers},
            "standard_deviation": {key: self.spread(key) for key in numbers},
        }


def read_column(folders: Sequence[RunFolder], look: Callable[[RunFolder], str]) -> Column:
    """Read a run, or repeats of it. `look`: returns the state of a run.

    Raises InputError if one of them goes on, SpecError or StorageError.
    """
    members = sorted((_member(run, look(run)) for run in folders), key=lambda m: m.seed)
    name = common_name(m.run_id for m in members) if len(members) > 1 else members[0].run_id
    return Column(name, tuple(members[:MAX_REPEATS]))


def _member(run: RunFolder, state: str) -> Member:
    if state not in runs.TERMINAL:
        raise InputError(
            f"{run.run_id} is {state}: it has no outcome yet",
            f"wait for its end: {runs.next_command(run, 'wait')}",
        )
    provenance = run.read_json(run.PROVENANCE)
    spec = read_spec(run)
    facts = {"spec": _without(flatten(spec.model_dump(mode="json")), _NOT_OF_THE_JOB)}
    for section, keys in SECTIONS.items():
        facts[section] = _section(provenance or {}, section, keys)
    result = {"state": state, **(read_result(run) or {})}
    return Member(run.run_id, spec.training.seed, state, facts, result, provenance is not None)


def _section(provenance: Json, section: str, keys: Sequence[str]) -> Json:
    """Return the facts of a section; what its name says already is left out of their names."""
    facts = flatten({key: provenance[key] for key in keys if provenance.get(key) is not None})
    return {key.removeprefix(f"{section}."): value for key, value in facts.items()}


def _are_numbers(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _without(facts: Json, names: set[str]) -> Json:
    return {key: value for key, value in facts.items() if key not in names}
