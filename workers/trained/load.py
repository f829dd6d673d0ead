"""Load the model of a run: the final one, the best so far, or that of a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from workers.checkpoints.checkpoint import Checkpoints
from workers.checkpoints.expected import Expected, check_forms, forms_of, max_bytes
from workers.checkpoints.weights import load_weights, weights_sha256
from workers.config import TrainJob
from workers.errors import DamagedCheckpointError, InputError, RefusedFileError
from workers.models.build import model_of
from workers.records.run_folder import RunFolder
from workers.shards.order import steps_per_epoch

BEST = "best"
"""Names the weights of the best epoch so far, instead of the number of a step."""


@dataclass(frozen=True)
class TrainedModel:
    """A model with its weights, ready for use."""

    module: nn.Module
    """In float32 on the CPU, in its mode for evaluation."""
    job: TrainJob
    """What it was trained with."""
    weights_sha256: str


def load_trained(job: TrainJob, checkpoint: str | int | None = None) -> TrainedModel:
    """Load the model of a run.

    A model of the user's own can be loaded within `workers.models.own.installed.code_of`.

    Args:
        job: what the run trained; it names the run folder.
        checkpoint: the number of a step, or BEST; None for the final model.

    Raises InputError if the run has no such model; CheckpointError or StorageError if it is
    damaged.
    """
    run = RunFolder.at(job.run_uri).with_retries()
    module = model_of(job)
    if checkpoint is None:
        weights = _final_weights(run, module)
    else:
        weights = _weights_at(run, job, module, checkpoint)
    load_weights(module, weights)
    return TrainedModel(module.eval(), job, weights_sha256(weights))


def _final_weights(run: RunFolder, module: nn.Module) -> Mapping[str, Tensor]:
    wanted = forms_of(dict(module.named_parameters()))
    try:
        weights: dict[str, Tensor] = safetensors.torch.load(
            run.storage.read(run.MODEL, max_bytes(wanted))
        )
        check_forms(weights, wanted)
    except FileNotFoundError as error:
        raise InputError(
            f"{run.run_id} has no final model: {run.storage.where(run.MODEL)} is missing",
            f"wait until it has ended, or take a checkpoint: {run.run_id}:{BEST}",
        ) from error
    except (ValueError, SafetensorError, RefusedFileError) as error:
        raise DamagedCheckpointError(
            f"{run.storage.where(run.MODEL)} is damaged: {error}",
            f"take a checkpoint: {run.run_id}:{BEST}",
        ) from error
    return weights


def _weights_at(
    run: RunFolder, job: TrainJob, module: nn.Module, checkpoint: str | int
) -> Mapping[str, Tensor]:
    checkpoints = Checkpoints(run, job.checkpoint)
    per_epoch = steps_per_epoch(job.data.train_rows, job.data.num_shards, job.rows_per_shard_step)
    expected = replace(
        Expected.of(
            job,
            module,
            per_epoch,
            job.training.steps or job.training.epochs * per_epoch,
        ),
        is_for_use=True,
    )
    if checkpoint == BEST:
        newest = checkpoints.latest(job.checkpoint_fingerprint, expected)
        if newest is None or not newest.best:
            raise InputError(
                f"{run.run_id} has no checkpoint with a best epoch",
                _steps(run, checkpoints) or f"take its final model: {run.run_id}",
            )
        return newest.best
    step = int(checkpoint)
    if step not in checkpoints.steps():
        raise InputError(
            f"{run.run_id} has no checkpoint of step {step}",
            _steps(run, checkpoints) or f"take its final model: {run.run_id}",
        )
    return checkpoints.load(step, job.checkpoint_fingerprint(step), expected).model


def _steps(run: RunFolder, checkpoints: Checkpoints) -> str:
    steps = [str(step) for step in checkpoints.steps()]
    return f"take one of {', '.join(f'{run.run_id}:{step}' for step in steps)}" if steps else ""
