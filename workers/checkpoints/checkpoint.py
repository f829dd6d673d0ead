"""Checkpoints: save them atomically, detect damage, load the newest one that is undamaged.

::

    checkpoints/step-00000324/
        model.safetensors      parameters
        optimizer.safetensors  the optimizer's tensors
        best.safetensors       parameters of the best epoch so far
        state.json             how far the job is; see `workers.checkpoints.progress`
        manifest.json          SHA-256 of each file above; written last

If a step is saved again, its new files are written beside the old ones, as `1.model.safetensors`
and so on. So the earlier checkpoint stays complete until the manifest is replaced.

Nothing is pickled, so that no file in a storage can run code.
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from workers.checkpoints.expected import Expected, max_bytes
from workers.checkpoints.progress import Progress, check_types
from workers.checkpoints.stored import (
    MANIFEST,
    SCHEMA_VERSION,
    definition_of,
    generation_of,
    other_definition,
    read_manifest,
    saved_steps,
    step_name,
    stored_as,
)
from workers.config import DEFINITION, CheckpointConfig
from workers.errors import (
    CheckpointError,
    DamagedCheckpointError,
    RefusedFileError,
    StorageError,
)
from workers.records.run_folder import RunFolder
from workers.storage.storage import LARGE_BYTES, Storage
from workers.storage.typed_json import parse_object

log = logging.getLogger(__name__)


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
        earlier = self._make_way(step)
        try:
            self._write(checkpoint, earlier)
        except StorageError:
            if not earlier:
                # On a full disk, this makes room for the status that says why the job ended.
                with contextlib.suppress(StorageError):
                    self._storage.delete(step_name(step))
            raise
        self._retain()

    def _write(self, checkpoint: Checkpoint, earlier: dict[str, Any]) -> None:
        """`earlier`: the manifest of an earlier checkpoint of this step; empty if there is none."""
        folder = self._storage.child(step_name(checkpoint.progress.step))
        generation = generation_of(earlier) + 1 if earlier else 0
        files = _files_of(checkpoint)
        for name, data in files.items():
            folder.write(stored_as(name, generation), data)
        manifest = _manifest_of(checkpoint.progress, files, generation)
        folder.write(MANIFEST, json.dumps(manifest).encode())

    def _make_way(self, step: int) -> dict[str, Any]:
        """Return the manifest of an earlier checkpoint of a step; empty if there is none.

        Deletes what is damaged: a checkpoint of that step without a manifest, and all later ones.
        Else the run would have gone on from them.
        """
        steps = self.steps()
        earlier = read_manifest(self._storage.child(step_name(step))) if step in steps else {}
        for other in steps:
            if other > step or (other == step and not earlier):
                self._storage.delete(step_name(other))
        return earlier

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, damaged or not, in ascending order."""
        return saved_steps(self._storage)

    def load(self, step: int, fingerprint: str, expected: Expected) -> Checkpoint:
        """Return the checkpoint of a step.

        `expected`: what a checkpoint of the job holds. Nothing larger is read.

        Raises DamagedCheckpointError if a file is missing or damaged, or holds something else;
        CheckpointError if the checkpoint belongs to another job.
        """
        folder = self._storage.child(step_name(step))
        try:
            return _load(folder, step, fingerprint, expected)
        except RefusedFileError as error:
            raise DamagedCheckpointError(error.cause) from error
        except (
            FileNotFoundError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            SafetensorError,
        ) as error:
            raise DamagedCheckpointError(
                f"{folder.where()} is incomplete or damaged: {error!r}"
            ) from error

    def latest(self, fingerprint_of: Callable[[int], str], expected: Expected) -> Checkpoint | None:
        """Return the newest undamaged checkpoint; None if there is none.

        Damaged ones are skipped with a warning. Raises CheckpointError if a checkpoint belongs to
        another job.

        Args:
            fingerprint_of: returns the fingerprint that the checkpoint of a step must have.
            expected: see `load`.
        """
        for step in reversed(self.steps()):
            try:
                return self.load(step, fingerprint_of(step), expected)
            except DamagedCheckpointError as error:
                log.warning("skipping a damaged checkpoint: %s", error.cause)
        return None

    def _retain(self) -> None:
        """Delete the checkpoints that the config does not say to keep."""
        steps = self.steps()
        manifests = {step: read_manifest(self._storage.child(step_name(step))) for step in steps}
        complete = [step for step in steps if manifests[step]]
        latest = complete[-self._config.keep_latest :]
        bests = [step for step in complete if manifests[step].get("best")]
        keep = {*latest, *(bests[-self._config.keep_best :] if self._config.keep_best else ())}
        for step in steps:
            if step not in keep:
                self._storage.delete(step_name(step))


def _load(folder: Storage, step: int, fingerprint: str, expected: Expected) -> Checkpoint:
    """Return the checkpoint in a folder. Raises also what its damage causes in a parser."""
    where = folder.where()
    manifest = parse_object(folder.read(MANIFEST))
    generation = generation_of(manifest)
    files: dict[str, bytes] = {}

    def read(name: str, limit: int) -> bytes:
        files[name] = folder.read(stored_as(name, generation), limit)
        if hashlib.sha256(files[name]).hexdigest() != manifest["sha256"][name]:
            raise DamagedCheckpointError(f"{where}/{name} is damaged: its SHA-256 differs")
        return files[name]

    # First: a checkpoint of another job may well hold more than this one's.
    state = parse_object(read("state.json", LARGE_BYTES))
    check_types(state, {"fingerprint": str})
    definition = definition_of(state)
    if definition != DEFINITION and not expected.is_for_use:
        raise CheckpointError(*other_definition(where, definition))
    if definition == DEFINITION and state["fingerprint"] != fingerprint:
        raise CheckpointError(
            f"{where} belongs to another job: fingerprint {state['fingerprint'][:12]}, "
            f"not {fingerprint[:12]}",
            "start a new run for a changed spec",
        )
    model_bytes, optimizer_bytes = max_bytes(expected.model), max_bytes(expected.optimizer)
    checkpoint = Checkpoint(
        fingerprint,
        Progress.from_json(state["progress"]),
        safetensors.torch.load(read("model.safetensors", model_bytes)),
        safetensors.torch.load(read("optimizer.safetensors", optimizer_bytes)),
        safetensors.torch.load(read("best.safetensors", model_bytes)),
    )
    wanted = _manifest_of(checkpoint.progress, files, generation)
    if manifest != wanted or checkpoint.progress.step != step:
        raise DamagedCheckpointError(
            f"{where}/{MANIFEST} is damaged: it describes another checkpoint"
        )
    expected.check(checkpoint.progress, checkpoint.model, checkpoint.optimizer, checkpoint.best)
    return checkpoint


def _files_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    state = {
        "schema_version": SCHEMA_VERSION,
        "definition": DEFINITION,
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
