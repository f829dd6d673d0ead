"""Which kernels a CPU uses for recurrent layers in bf16."""

import contextlib
from functools import cache

import torch
from torch import nn


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
