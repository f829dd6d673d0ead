"""Compute the logits of a batch from its pixels.

B batch, H height, W width, T time steps, F features of a time step, C classes.
"""

import torch
from torch import Tensor

from workers.config import TrainJob
from workers.models.noise import NoiseSource
from workers.models.recurrent import SequenceClassifier


def to_unit(images_BHW: Tensor) -> Tensor:
    """Convert uint8 pixels to float32 within [0, 1]."""
    return images_BHW.to(torch.float32).div_(255.0)


def to_sequences(images_BHW: Tensor, read: str) -> Tensor:
    """Turn images into sequences (B, T, F): a time step is a row, a column or a pixel."""
    if read == "columns":
        return images_BHW.transpose(1, 2)
    if read == "pixels":
        return images_BHW.flatten(1).unsqueeze(2)
    return images_BHW


def classify(
    model: SequenceClassifier, images_BHW: Tensor, job: TrainJob, noise: NoiseSource | None = None
) -> Tensor:
    """Compute logits (B, C) in float32 for images within [0, 1], in the job's precision.

    Args:
        model: the job's model, or its `ComputeCopy` on this device.
        noise: the generators from which dropout draws. Without it, nothing is dropped.
    """
    data = job.data
    inputs_BHW = (images_BHW - data.pixel_mean) / data.pixel_std
    sequences_BTF = to_sequences(inputs_BHW, job.model.read)
    if images_BHW.device.type == "cuda":
        logits_BC: Tensor = model(sequences_BTF.to(model.head.weight.dtype), noise)
        return logits_BC.float()
    with torch.autocast(
        images_BHW.device.type,
        dtype=torch.bfloat16,
        enabled=job.training.precision == "bf16",
        cache_enabled=False,  # threads would share the cache
    ):
        logits_BC = model(sequences_BTF, noise)
    return logits_BC.float()
