"""What a page shows of a run: everything is read from its folder but the rows of the test split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.runs.comparison import flatten
from orchestrator.runs.history import restart_lines
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import read_spec
from orchestrator.spec.tree import SpecError
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json


@dataclass(frozen=True)
class WrongRow:
    """A test row of which the model is sure to be something that it is not."""

    number: int
    """Of the row within the test split, from 0."""
    truth: str
    predicted: str
    probability: float
    pixels: bytes = b""
    """Of an image: a byte each, row by row."""
    width: int = 0
    curves: tuple[tuple[float, ...], ...] = ()
    """Of a sequence of vectors: the values of each feature."""
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predicted:
    """What the model says of the rows of the test split."""

    num_rows: int
    num_wrong: int = 0
    wrong: tuple[WrongRow, ...] = ()
    """The most confident mistakes, the most confident first."""
    features: tuple[str, ...] = ()
    """Of sequences of vectors: the names of the features that are shown."""
    pairs: tuple[tuple[float, float], ...] = ()
    """Of numbers: the true and the predicted one."""


@dataclass(frozen=True)
class Reported:
    """One run on a page."""

    result: Json
    steps: Sequence[Json]
    starts: Sequence[Json]
    restarts: Sequence[str] = ()
    """A line for each failure or resume."""
    spec: Mapping[str, Any] | None = None
    """By dotted key; None if it cannot be read."""
    provenance: Json | None = None
    test: Predicted | str = ""
    """Or why there are none."""

    @property
    def run_id(self) -> str:
        return str(self.result["run_id"])

    @property
    def changed(self) -> dict[str, Any]:
        """The values of the spec that are not the defaults."""
        defaults = flatten(JobSpec().model_dump(mode="json"))
        return {
            key: value
            for key, value in (self.spec or {}).items()
            if key not in defaults or defaults[key] != value
        }


def read_reported(run: RunFolder, result: Json, test: Predicted | str = "") -> Reported:
    """Read the rest of a run, of which the result is known. Raises StorageError."""
    records = run.read_metrics()
    return Reported(
        result,
        [record for record in records if record["kind"] == "step"],
        [record for record in records if record["kind"] == "start"],
        restart_lines(run),
        _spec(run),
        run.read_json(run.PROVENANCE),
        test,
    )


def _spec(run: RunFolder) -> dict[str, Any] | None:
    try:
        return flatten(read_spec(run).model_dump(mode="json"))
    except SpecError:
        return None
