"""Weights as names and tensors: their hash, and the safetensors file."""

import hashlib
import json
from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor, nn

from workers.config import TrainJob

Weights = dict[str, Tensor]


def weights_of(model: nn.Module) -> Weights:
    """Copies of all parameters, on the CPU."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the parameters in name order: name, dtype, shape, little-endian bytes.

    Each of the first three is followed by a zero byte; dtype as torch names it without its prefix
    (`float32`), shape as decimal numbers joined by commas (`512,28`).
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


def model_file(weights: Mapping[str, Tensor], job: TrainJob) -> bytes:
    """model.safetensors: the weights, with what is needed to build the model again."""
    metadata = {
        "format": "pt",
        "rnnjob": json.dumps(
            {
                "run_id": job.run_id,
                "model": job.model.model_dump(),
                "height": job.data.height,
                "width": job.data.width,
                "num_classes": job.data.num_classes,
                "weights_sha256": weights_sha256(weights),
            },
            sort_keys=True,
        ),
    }
    content: bytes = safetensors.torch.save(dict(weights), metadata)
    return content


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> Weights:
    """The optimizer's state as `<parameter>/<key>` tensors, by parameter name."""
    state = optimizer.state_dict()["state"]
    return {
        f"{names[index]}/{key}": torch.as_tensor(value).detach().cpu().clone()
        for index, of_parameter in state.items()
        for key, value in of_parameter.items()
        if value is not None
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor]
) -> None:
    """The reverse of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition("/")
        state.setdefault(names.index(name), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
