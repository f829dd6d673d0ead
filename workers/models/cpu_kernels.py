"""How a CPU computes: with which kernels, how many threads, and which numbers."""

import contextlib
from functools import cache

import torch
from torch import nn


def compute_alone() -> None:
    """Make the calling thread compute without the help of others, and with zero for what is smaller
    than float32's normal numbers.

    So bits do not depend on the number of CPUs. Gradients that vanish over hundreds of time steps
    end below 1.2e-38, where CPUs are many times slower (oneDNN's issue 561). They add nothing to a
    sum with other numbers.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def flushes_denormals() -> bool:
    """Return whether the calling thread computes with zero for the smallest numbers."""
    return bool(torch.tensor(1e-39).mul(1.0).mul(1e10) == 0.0)


def bf16_kernels(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a context in which recurrent layers work in this precision on this device.

    oneDNN has them in bf16 only for CPUs with AVX-512, and raises RuntimeError on others. There,
    torch's own kernels take its place, for the whole process.
    """
    if precision != "bf16" or device.type != "cpu" or onednn_has_bf16_layers():
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[None] = torch.backends.mkldnn.flags(enabled=False)
    return context


@cache
def onednn_has_bf16_layers() -> bool:
    """Return whether this CPU has fast recurrent layers in bf16."""
    layer, inputs = nn.LSTM(1, 1), torch.zeros(1, 1, 1)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
            layer(inputs)
    except RuntimeError:
        return False
    return True
