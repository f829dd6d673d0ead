"""Compare a run with a second run of the same spec.

The comparison says whether the two are the same, at which step they first differ, and what else
differs between them. It uses only what the run folders hold.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.runs.result import read_result
from workers.errors import InputError
from workers.records.record_kinds import SCORES
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json

Pairs = dict[str, tuple[Any, Any]]
"""For each name, the value of the first run and the value of the second run."""

_STEP_KEYS = ("loss", *SCORES, "rows", "lr", "gradient_norm")
"""Keys of a step's record that do not depend on time. JSON keeps every bit of a number."""
_FACT_KEYS = (
    "rnnjob", "source", "source_sha256", "python", "packages", "data", "platform", "cpu",
    "cpu_flags", "cpu_capability", "gpus", "precision", "seed", "model", "augment", "training",
    "definition", "fingerprint",
)  # fmt: skip
"""Keys of provenance.json that may explain a difference. The mode and the folder never do."""
_MAX_ID_LENGTH = runs.MAX_ID_LENGTH  # the longest id that runs.check_run_id accepts


@dataclass(frozen=True)
class Trace:
    """The part of a run's records that can be compared."""

    run_id: str
    steps: Mapping[int, Json]
    """The record of each step, by the number of the step."""
    outcome: Mapping[str, Any]
    """The hash of the weights and the test loss. None if the run did not get that far."""
    facts: Mapping[str, Any]
    """Where the result came from, by dotted key. Unknown values are left out."""

    @property
    def last_step(self) -> int:
        """The number of the last recorded step; 0 if the run has none."""
        return max(self.steps, default=0)


@dataclass(frozen=True)
class Comparison:
    """The comparison of a run with a second run of its spec."""

    run_id: str
    again_run_id: str
    again_state: str
    steps_wanted: int
    steps_compared: int
    first_step: int | None
    """The first step that differs; None if no compared step does."""
    step_values: Pairs
    """The values that differ in that first step."""
    outcome: Pairs
    """The hash of the weights and the test loss of both runs, also if they are equal."""
    facts_known: bool
    """Whether both runs recorded where they came from."""
    differences: Pairs
    """The facts about the origin of the runs that differ, by dotted key."""
    about_rows: str = ""
    """How the rows of the runs differ, in words; empty if they do not, or if that is unknown."""

    @property
    def differing_outcome(self) -> Pairs:
        """Weights and test loss, if both runs have them and they differ."""
        return {k: (a, b) for k, (a, b) in self.outcome.items() if None not in (a, b) and a != b}

    @property
    def differs(self) -> bool:
        """Whether a compared step or the outcome differs."""
        return self.first_step is not None or bool(self.differing_outcome)

    @property
    def same(self) -> bool:
        """Whether everything that should be compared was recorded and is equal."""
        is_complete = self.steps_compared == self.steps_wanted and self.again_state != runs.FAILED
        return is_complete and not self.differs

    def to_json(self) -> Json:
        """Return the document that `rnnjob reproduce --json` prints."""
        values = {name: list(pair) for name, pair in self.step_values.items()}
        first = {"step": self.first_step, "values": values}
        return {
            "schema_version": 1,
            "run_id": self.run_id,
            "again_run_id": self.again_run_id,
            "again_state": self.again_state,
            "same": self.same,
            "steps_wanted": self.steps_wanted,
            "steps_compared": self.steps_compared,
            "first_difference": None if self.first_step is None else first,
            "weights": _pair_to_json(self.outcome["weights_sha256"]),
            "test_loss": _pair_to_json(self.outcome["test_loss"]),
            "differences": [
                {"what": key, **_pair_to_json(pair)} for key, pair in self.differences.items()
            ],
        }


def _pair_to_json(pair: tuple[Any, Any]) -> Json:
    return {"run": pair[0], "again": pair[1]}


def trace_of(run: RunFolder) -> Trace:
    """Read from a run folder what can be compared. Raises StorageError."""
    records = run.read_metrics()
    result = read_result(run) or {}
    workers = [r.get("workers") for r in records if r.get("kind") == "start"]
    return Trace(
        run.run_id,
        {record["step"]: record for record in records if record.get("kind") == "step"},
        {key: result.get(key) for key in ("weights_sha256", "test_loss")},
        facts_of(run.read_json(run.PROVENANCE) or {}, workers[-1] if workers else None),
    )


def _about_rows(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Say how the rows of two runs differ, from the facts about their origin."""
    prints = [facts.get("data.fingerprint") for facts in (first, second)]
    digests = [facts.get("data.rows_digest") for facts in (first, second)]
    if prints[0] == prints[1] or not all((*prints, *digests)):
        return ""
    if digests[0] == digests[1]:
        return "the data are the same rows, in another order or other splits"
    return "the data are other rows"


def facts_of(provenance: Json, workers: int | None) -> dict[str, Any]:
    """Return the parts of a provenance that may explain a difference, by dotted key.

    `workers`: the number of workers with which the run ended; None if it is unknown.
    """
    known = {key: provenance[key] for key in _FACT_KEYS if provenance.get(key) is not None}
    if known:
        known.setdefault("definition", 1)  # there was no other before it was recorded
    facts = flatten(known)
    if facts.get("training.gradients") == "fused":
        # Only then does the rounding depend on how the rows are divided among the workers.
        facts |= {"workers": workers, "num_cpus": provenance.get("num_cpus")}
    return facts


def flatten(tree: Json, prefix: str = "") -> dict[str, Any]:
    """Return the values of a tree by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {}
        flat |= nested or {f"{prefix}{key}": value}
    return flat


def steps_to_run(run: Trace, asked: int | None) -> int:
    """Return how many steps the second run must train.

    `asked`: the number of steps that the user asked for; None for all of them.

    Raises InputError if the run has no step on record, or fewer than were asked for.
    """
    if not run.steps:
        raise InputError(
            f"{run.run_id} has no step on record: there is nothing to compare with",
            "name a run that has trained at least one step; see rnnjob list",
        )
    if asked is not None and asked > run.last_step:
        raise InputError(
            f"--steps {asked}: {run.run_id} has {run.last_step} steps on record",
            f"take at most {run.last_step}, or leave out --steps to compare all of them",
        )
    return run.last_step if asked is None else asked


def again_id(run_id: str) -> str:
    """Return a new id for the second run of a run: `<RUN>-again-<4 hex digits>`."""
    suffix = f"-again-{secrets.token_hex(2)}"
    return run_id[: _MAX_ID_LENGTH - len(suffix)] + suffix


def compare(run: Trace, again: Trace, status: RunStatus, until: int) -> Comparison:
    """Compare the steps up to `until`, the weights, the test loss and the origin of two runs.

    `status`: the status with which the second run ended.
    """
    wanted = [step for step in sorted(run.steps) if step <= until]
    compared = [step for step in wanted if step in again.steps]
    values = {step: _differing(run.steps[step], again.steps[step], _STEP_KEYS) for step in compared}
    first = next((step for step in compared if values[step]), None)
    known = [name for name in run.facts if name in again.facts]
    return Comparison(
        run_id=run.run_id,
        again_run_id=again.run_id,
        again_state=status.state,
        steps_wanted=len(wanted),
        steps_compared=len(compared),
        first_step=first,
        step_values=values[first] if first is not None else {},
        outcome={key: (run.outcome[key], again.outcome[key]) for key in run.outcome},
        facts_known=bool(known),
        differences=_differing(run.facts, again.facts, known),
        about_rows=_about_rows(run.facts, again.facts),
    )


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], names: Iterable[str]) -> Pairs:
    pairs = {name: (a.get(name), b.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
