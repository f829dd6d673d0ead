"""Weights as tensors by parameter name: copy, load and hash them; the model's safetensors file."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from workers.config import TrainJob

Weights = dict[str, Tensor]


def weights_of(model: nn.Module) -> Weights:
    """Return copies of all parameters, on the CPU."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model. Raises KeyError if one of its parameters is missing."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the parameters in name order.

    Each parameter adds its name, dtype, shape and little-endian bytes; a zero byte follows each of
    the first three. The dtype is torch's name without the prefix (`float32`). The shape is written
    as decimal numbers joined by commas (`512,28`).
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        array = tensor.numpy()
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape = ",".join(str(size) for size in tensor.shape)
        digest.update(f"{name}\0{dtype}\0{shape}\0".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def model_file(
    weights: Mapping[str, Tensor], job: TrainJob, more: Mapping[str, Any] | None = None
) -> bytes:
    """Return the content of model.safetensors: the weights, and metadata to rebuild the model.

    `more`: further metadata.
    """
    metadata = {
        "format": "pt",
        "rnnjob": json.dumps(
            {
                "run_id": job.run_id,
                "model": job.model.model_dump(),
                "input": job.data.input.model_dump(),
                "target": job.data.target.model_dump(),
                "weights_sha256": weights_sha256(weights),
                **(more or {}),
            },
            sort_keys=True,
        ),
    }
    content: bytes = safetensors.torch.save(dict(weights), metadata)
    return content
