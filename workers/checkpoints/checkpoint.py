"""Checkpoints: save them atomically, detect damage, load the newest one that is undamaged.

::

    checkpoints/step-00000324/
        model.safetensors      parameters
        optimizer.safetensors  the optimizer's tensors
        best.safetensors       parameters of the best epoch so far
        state.json             how far the job is; see `Progress`
        manifest.json          SHA-256 of each file above; written last

If a step is saved again, its new files are written beside the old ones, as `1.model.safetensors`
and so on. So the earlier checkpoint stays complete until the manifest is replaced.

Nothing is pickled, so that no file in a storage can run code.
"""

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, get_type_hints

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from workers.config import CheckpointConfig, Metric
from workers.errors import CheckpointError, DamagedCheckpointError, StorageError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage
from workers.storage.typed_json import mistyped_key, parse_object

SCHEMA_VERSION = 1
_MANIFEST = "manifest.json"
_FILES = ("model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json")
_PREFIX = "step-"
_STEP = re.compile(_PREFIX + "([0-9]{8,18})")
_MAX_GENERATION = 2**31
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass
class EpochSums:
    """Sums over all shards since the epoch began. Times are in seconds."""

    loss_sum: float = 0.0
    num_correct: int = 0
    num_rows: int = 0
    data_s: float = 0.0
    compute_s: float = 0.0
    exchange_s: float = 0.0
    wall_s: float = 0.0


@dataclass
class Best:
    """The validation results of the best epoch so far."""

    epoch: int
    accuracy: float
    loss: float

    def beats(self, other: "Best | None", metric: Metric) -> bool:
        """Return whether this is better by the metric. If it is equal, the other one decides."""
        return other is None or self._rank(metric) > other._rank(metric)

    def _rank(self, metric: Metric) -> tuple[float, float]:
        rank = (self.accuracy, -self.loss)
        return rank if metric == "validation_accuracy" else rank[::-1]


@dataclass
class Progress:
    """How far a job is."""

    epoch: int = 0
    """Number of finished epochs."""
    step: int = 0
    """Number of finished steps over all epochs."""
    step_in_epoch: int = 0
    """Number of finished steps of the present epoch."""
    sums: EpochSums = field(default_factory=EpochSums)
    best: Best | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """The `epoch` records of the finished epochs."""

    @property
    def is_best(self) -> bool:
        """Whether this is the end of the best epoch so far."""
        at_end = self.step_in_epoch == 0
        return at_end and self.best is not None and self.best.epoch == self.epoch

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Progress":
        """Return the progress in a state.json. Raises ValueError, KeyError or TypeError."""
        best, sums = content["best"], _typed(EpochSums, content["sums"])
        progress = cls(
            **{**content, "sums": sums, "best": None if best is None else _typed(Best, best)}
        )
        _check_types(content, {"epoch": int, "step": int, "step_in_epoch": int, "epochs": list})
        if min(progress.epoch, progress.step, progress.step_in_epoch, sums.num_rows) < 0:
            raise ValueError("a count is below zero")
        if not all(isinstance(epoch, dict) for epoch in progress.epochs):
            raise ValueError("an entry of epochs is not a record")
        return progress


def _typed(cls: type[T], content: dict[str, Any]) -> T:
    _check_types(content, get_type_hints(cls))
    return cls(**content)


def _check_types(content: dict[str, Any], types: dict[str, Any]) -> None:
    """Raise ValueError if a value has another type."""
    if key := mistyped_key(content, types):
        raise ValueError(f"{key} is {str(content[key])[:80]!r}")


@dataclass
class Checkpoint:
    """Everything that a job needs to go on as if it had never stopped."""

    fingerprint: str
    """The fingerprint of the job that the checkpoint belongs to."""
    progress: Progress
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    best: dict[str, Tensor]
    """The weights of the best epoch so far; empty if no epoch is kept as the best."""


class Checkpoints:
    """The checkpoints of one run. Only worker 0 may save."""

    def __init__(self, run: RunFolder, config: CheckpointConfig) -> None:
        self._storage = run.storage.child(run.CHECKPOINTS)
        self._config = config

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then delete the old ones that need not be kept.

        Raises StorageError if the write fails. Then the earlier checkpoints are kept.
        """
        step = checkpoint.progress.step
        self._delete_after(step)
        earlier = _manifest(self._storage.child(_name(step)))
        try:
            self._write(checkpoint, earlier)
        except StorageError:
            if not earlier:
                # On a full disk, this makes room for the status that says why the job ended.
                with contextlib.suppress(StorageError):
                    self._storage.delete(_name(step))
            raise
        self._retain()

    def _write(self, checkpoint: Checkpoint, earlier: dict[str, Any]) -> None:
        """`earlier`: the manifest of an earlier checkpoint of this step; empty if there is none."""
        folder = self._storage.child(_name(checkpoint.progress.step))
        generation = _generation(earlier) + 1 if earlier else 0
        files = _files_of(checkpoint)
        for name, data in files.items():
            folder.write(_stored_as(name, generation), data)
        manifest = _manifest_of(checkpoint.progress, files, generation)
        folder.write(_MANIFEST, json.dumps(manifest).encode())

    def _delete_after(self, step: int) -> None:
        """Delete later checkpoints. They are damaged: else the run would have gone on from them."""
        for later in self.steps():
            if later > step:
                self._storage.delete(_name(later))

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, damaged or not, in ascending order."""
        matches = [_STEP.fullmatch(name) for name in self._storage.list()]
        return sorted(int(match[1]) for match in matches if match)

    def load(self, step: int, fingerprint: str) -> Checkpoint:
        """Return the checkpoint of a step.

        Raises DamagedCheckpointError if a file is missing or damaged, CheckpointError if the
        checkpoint belongs to another job.
        """
        folder = self._storage.child(_name(step))
        where = folder.where()
        try:
            manifest = parse_object(folder.read(_MANIFEST))
            generation = _generation(manifest)
            files = {name: folder.read(_stored_as(name, generation)) for name in _FILES}
            for name, data in files.items():
                if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
                    raise DamagedCheckpointError(f"{where}/{name} is damaged: its SHA-256 differs")
            state = parse_object(files["state.json"])
            _check_types(state, {"fingerprint": str})
            checkpoint = Checkpoint(
                fingerprint=state["fingerprint"],
                progress=Progress.from_json(state["progress"]),
                model=safetensors.torch.load(files["model.safetensors"]),
                optimizer=safetensors.torch.load(files["optimizer.safetensors"]),
                best=safetensors.torch.load(files["best.safetensors"]),
            )
        except (
            FileNotFoundError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            SafetensorError,
        ) as error:
            raise DamagedCheckpointError(f"{where} is incomplete or damaged: {error!r}") from error
        wanted = _manifest_of(checkpoint.progress, files, generation)
        if manifest != wanted or checkpoint.progress.step != step:
            raise DamagedCheckpointError(
                f"{where}/{_MANIFEST} is damaged: it describes another checkpoint"
            )
        if checkpoint.fingerprint != fingerprint:
            raise CheckpointError(
                f"{where} belongs to another job: fingerprint {checkpoint.fingerprint[:12]}, "
                f"not {fingerprint[:12]}",
                "start a new run for a changed spec",
            )
        return checkpoint

    def latest(self, fingerprint_of: Callable[[int], str]) -> Checkpoint | None:
        """Return the newest undamaged checkpoint; None if there is none.

        Damaged ones are skipped with a warning. Raises CheckpointError if a checkpoint belongs to
        another job.

        `fingerprint_of`: returns the fingerprint that the checkpoint of a step must have.
        """
        for step in reversed(self.steps()):
            try:
                return self.load(step, fingerprint_of(step))
            except DamagedCheckpointError as error:
                log.warning("skipping a damaged checkpoint: %s", error.cause)
        return None

    def _retain(self) -> None:
        """Delete the checkpoints that the config does not say to keep."""
        steps = self.steps()
        manifests = {step: _manifest(self._storage.child(_name(step))) for step in steps}
        complete = [step for step in steps if manifests[step]]
        latest = complete[-self._config.keep_latest :]
        bests = [step for step in complete if manifests[step].get("best")]
        keep = {*latest, *(bests[-self._config.keep_best :] if self._config.keep_best else ())}
        for step in steps:
            if step not in keep:
                self._storage.delete(_name(step))


def _name(step: int) -> str:
    return f"{_PREFIX}{step:08d}"


def _files_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    state = {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": checkpoint.fingerprint,
        "progress": asdict(checkpoint.progress),
    }
    return {
        "model.safetensors": safetensors.torch.save(checkpoint.model),
        "optimizer.safetensors": safetensors.torch.save(checkpoint.optimizer),
        "best.safetensors": safetensors.torch.save(checkpoint.best),
        "state.json": json.dumps(state).encode(),
    }


def _manifest_of(progress: Progress, files: dict[str, bytes], generation: int) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "step": progress.step,
        "best": progress.is_best,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        **({"generation": generation} if generation else {}),
    }


def _generation(manifest: dict[str, Any]) -> int:
    """Return how often the step had been saved before this checkpoint."""
    generation = manifest.get("generation", 0)
    is_int = mistyped_key({"generation": generation}, {"generation": int}) is None
    return generation if is_int and 0 <= generation < _MAX_GENERATION else 0


def _stored_as(name: str, generation: int) -> str:
    return f"{generation}.{name}" if generation else name


def _manifest(folder: Storage) -> dict[str, Any]:
    """Return the manifest in a folder; empty if it is missing or damaged."""
    try:
        return parse_object(folder.read(_MANIFEST))
    except (FileNotFoundError, ValueError):
        return {}
