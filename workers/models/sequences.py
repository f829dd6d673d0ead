"""Where models and data meet: from rows to what a model reads, and to its outputs.

B rows, H height, W width, T time steps, F features of a time step, C outputs.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.config import TrainJob
from workers.data.kinds import ImageInput, VectorInput
from workers.data.rows import Batch
from workers.models.augment import add_noise, add_offset, move
from workers.models.noise import NoiseSource
from workers.models.own import step as own_step


def hidden_outputs(job: TrainJob, max_steps: int | None = None) -> int:
    """Return how many hidden outputs the longest sequence has, or its first `max_steps`."""
    model = job.model
    steps = job.data.input.sequence_shape(model.read).max_length
    width = model.hidden_size * (2 if model.bidirectional else 1)
    return min(steps, max_steps or steps) * width * model.num_layers


def model_outputs(
    model: nn.Module, batch: Batch, job: TrainJob, noise: NoiseSource | None = None
) -> Tensor:
    """Compute the outputs (B, C) for a batch in float32, with the job's precision.

    Args:
        model: the job's model, or its `ComputeCopy` on this device.
        noise: the generators of augmentation and dropout. Without it, nothing is changed or
            dropped.
    """
    return outputs_of(model, sequences_of(batch, job, noise), batch.lengths_N, job, noise)


def outputs_of(
    model: nn.Module,
    sequences: Tensor,
    lengths_B: Tensor | None,
    job: TrainJob,
    noise: NoiseSource | None = None,
) -> Tensor:
    """Compute the outputs (B, C) for what `sequences_of` returned, or for its first time steps."""
    device = sequences.device
    if device.type == "cuda":
        if sequences.is_floating_point():
            sequences = sequences.to(next(model.parameters()).dtype)
        return _call(model, sequences, lengths_B, job, noise).float()
    with torch.autocast(
        device.type,
        dtype=torch.bfloat16,
        enabled=job.training.precision == "bf16",
        cache_enabled=False,  # threads would share the cache
    ):
        outputs_BC = _call(model, sequences, lengths_B, job, noise)
    return outputs_BC.float()


def _call(
    model: nn.Module,
    sequences: Tensor,
    lengths_B: Tensor | None,
    job: TrainJob,
    noise: NoiseSource | None,
) -> Tensor:
    """Call the built-in model, or one of the user's own, which knows nothing of the noise."""
    if job.model.class_path is not None:
        return own_step.forward(model, sequences, lengths_B, noise)
    outputs_BC: Tensor = model(sequences, lengths_B, noise)
    return outputs_BC


def sequences_of(batch: Batch, job: TrainJob, noise: NoiseSource | None = None) -> Tensor:
    """Return vectors (B, T, F) float32, zero behind the end of a sequence, or tokens (B, T)."""
    source = job.data.input
    if isinstance(source, ImageInput):
        return _scaled_images(batch.inputs, source, job, noise)
    if isinstance(source, VectorInput):
        return _vector_sequences(batch, source, job, noise)
    return batch.inputs


def _scaled_images(
    images_BHW: Tensor, source: ImageInput, job: TrainJob, noise: NoiseSource | None
) -> Tensor:
    inputs_BHW = images_BHW.to(torch.float32).div_(255.0)
    if noise is not None and job.augment.is_affine:
        inputs_BHW = move(inputs_BHW, job.augment, noise)
    inputs_BHW = add_noise((inputs_BHW - source.mean) / source.std, job.augment, noise)
    return image_sequences(inputs_BHW, job.model.read)


def image_sequences(inputs_BHW: Tensor, read: str) -> Tensor:
    """Return sequences (B, T, F): a time step is a row, a column, a row and a column, or a pixel of
    an image. Where there are fewer rows than columns, or fewer columns than rows, zeros take their
    place."""
    if read == "columns":
        return inputs_BHW.transpose(1, 2)
    if read == "rows-and-columns":
        rows_BHW, columns_BWH = inputs_BHW, inputs_BHW.transpose(1, 2)
        steps = max(inputs_BHW.shape[1:])
        both = [F.pad(x, (0, 0, 0, steps - x.shape[1])) for x in (rows_BHW, columns_BWH)]
        return torch.cat(both, dim=2)
    if read == "pixels":
        return inputs_BHW.flatten(1).unsqueeze(2)
    return inputs_BHW


def _vector_sequences(
    batch: Batch, source: VectorInput, job: TrainJob, noise: NoiseSource | None
) -> Tensor:
    device = batch.inputs.device
    mean_F, std_F = _constant(source.mean, device), _constant(source.std, device)
    vectors_BTF = (batch.inputs - mean_F) / std_F
    if source.missing == "zero":  # a missing number is stored as NaN, and becomes the mean
        vectors_BTF = vectors_BTF.masked_fill(vectors_BTF.isnan(), 0.0)
    vectors_BTF = add_noise(vectors_BTF, job.augment, noise)
    vectors_BTF = add_offset(vectors_BTF, job.augment, noise)
    if batch.lengths_N is None:
        return vectors_BTF
    return vectors_BTF.masked_fill(~is_step(batch.lengths_N, vectors_BTF.shape[1]), 0.0)


def is_step(lengths_B: Tensor, num_steps: int) -> Tensor:
    """Return whether each time step is one of its row, not padding: (B, T, 1)."""
    steps_T = torch.arange(num_steps, device=lengths_B.device)
    return (steps_T < lengths_B.unsqueeze(1)).unsqueeze(2)


@cache
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return the numbers on a device, always the same tensor: recorded calls read it again."""
    return torch.tensor(values, dtype=torch.float32, device=device)
