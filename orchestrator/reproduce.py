"""Whether a second run of a spec is the same as the first, from which step on it is not, and what
else differs between the two: pure functions over what the run folders hold."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator import runs
from orchestrator.result import read_result
from orchestrator.runs import RunStatus
from workers.errors import InputError
from workers.jsons import Json
from workers.run_folder import RunFolder

Pairs = dict[str, tuple[Any, Any]]
"""By name, the value of the first run and that of the second."""

_MEASURED = ("loss", "accuracy", "rows", "lr", "gradient_norm")
"""Of a step: what does not hang on time. JSON keeps every bit of a number."""
_TOLD = (
    "rnnjob", "source", "source_sha256", "python", "packages", "data", "platform", "cpu",
    "cpu_flags", "cpu_capability", "gpus", "precision", "seed", "model", "augment", "training",
    "fingerprint",
)  # fmt: skip
"""Keys of provenance.json that may explain a difference; the mode and the place never do."""
_MAX_ID_LENGTH = 128  # of runs.check_run_id


@dataclass(frozen=True)
class Trace:
    """What a run left that can be compared."""

    run_id: str
    steps: Mapping[int, Json]
    """By its number, the record of each step."""
    outcome: Mapping[str, Any]
    """Hash of the weights and test loss; None where the run did not come so far."""
    facts: Mapping[str, Any]
    """Where the result came from, by dotted key: only what is known."""

    @property
    def last_step(self) -> int:
        return max(self.steps, default=0)


@dataclass(frozen=True)
class Comparison:
    """A run, and the second run of its spec."""

    run_id: str
    again_run_id: str
    again_state: str
    steps_wanted: int
    steps_compared: int
    first_step: int | None
    """The first step that differs."""
    step_values: Pairs
    """What differs in it."""
    outcome: Pairs
    facts_known: bool
    """Whether both runs say where they came from."""
    differences: Pairs
    """Of where the two came from."""

    @property
    def differing_outcome(self) -> Pairs:
        """Of weights and test loss, what both runs have and differs."""
        return {k: (a, b) for k, (a, b) in self.outcome.items() if None not in (a, b) and a != b}

    @property
    def differs(self) -> bool:
        return self.first_step is not None or bool(self.differing_outcome)

    @property
    def same(self) -> bool:
        """All that was to be compared was there, and equal."""
        whole = self.steps_compared == self.steps_wanted and self.again_state != runs.FAILED
        return whole and not self.differs

    def to_json(self) -> Json:
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
            "weights": _told(self.outcome["weights_sha256"]),
            "test_loss": _told(self.outcome["test_loss"]),
            "differences": [{"what": k, **_told(pair)} for k, pair in self.differences.items()],
        }


def _told(pair: tuple[Any, Any]) -> Json:
    return {"run": pair[0], "again": pair[1]}


def trace_of(run: RunFolder) -> Trace:
    records = run.read_metrics()
    result = read_result(run) or {}
    workers = [r.get("workers") for r in records if r.get("kind") == "start"]
    return Trace(
        run.run_id,
        {record["step"]: record for record in records if record.get("kind") == "step"},
        {key: result.get(key) for key in ("weights_sha256", "test_loss")},
        facts_of(run.read_json(run.PROVENANCE) or {}, workers[-1] if workers else None),
    )


def facts_of(provenance: Json, workers: int | None) -> dict[str, Any]:
    """What may explain a difference, by dotted key."""
    told = {key: provenance[key] for key in _TOLD if provenance.get(key) is not None}
    facts = _flat(told)
    if facts.get("training.gradients") == "fused":
        # Only then the result hangs on how the rows are dealt out, up to rounding.
        facts |= {"workers": workers, "num_cpus": provenance.get("num_cpus")}
    return facts


def _flat(tree: Json, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {}
        flat |= nested or {f"{prefix}{key}": value}
    return flat


def steps_to_run(run: Trace, asked: int | None) -> int:
    """How many steps of a run are to be made again.

    Raises InputError where it has none on record, or fewer than were asked for.
    """
    if not run.steps:
        raise InputError(
            f"{run.run_id} has no step on record: there is nothing to compare with",
            "name a run that trained; see rnnjob list",
        )
    if asked is not None and asked > run.last_step:
        raise InputError(
            f"--steps {asked}: {run.run_id} has {run.last_step} steps on record",
            f"take at most {run.last_step}, or leave --steps out for all of them",
        )
    return run.last_step if asked is None else asked


def again_id(run_id: str) -> str:
    """An id for the second run of a run: `<RUN>-again-<4 hex digits>`."""
    tail = f"-again-{secrets.token_hex(2)}"
    return run_id[: _MAX_ID_LENGTH - len(tail)] + tail


def compare(run: Trace, again: Trace, status: RunStatus, until: int) -> Comparison:
    """The steps up to `until`, then weights and test loss where both have them.

    `status`: how the second run ended.
    """
    wanted = [step for step in sorted(run.steps) if step <= until]
    compared = [step for step in wanted if step in again.steps]
    values = {step: _differing(run.steps[step], again.steps[step], _MEASURED) for step in compared}
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
    )


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], names: Iterable[str]) -> Pairs:
    pairs = {name: (a.get(name), b.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
