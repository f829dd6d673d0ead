"""The model in the precision in which a device computes, beside the weights that are trained."""

import copy
from typing import Any

import torch
from torch import nn
from torch.backends.cudnn import rnn as cudnn_rnn

from workers.models import lstm_steps
from workers.models.recurrent import RecurrentNetwork


class ComputeCopy:
    """What gradients and metrics are computed with: the model itself, or a bf16 copy on a GPU.

    On a CPU, autocast does this. On a GPU, autocast runs cuDNN's recurrent layers in float16
    whatever precision is asked for (AutocastRNN.cpp of PyTorch). That is another arithmetic: its
    smallest number is 6e-8, that of bf16 1e-38, and small gradients would become zero. In the copy,
    kernels of our own compute the LSTM where they can.
    """

    def __init__(self, model: nn.Module, precision: str, device: torch.device) -> None:
        self._model = model
        self.module = model
        if device.type == "cuda" and precision == "bf16":
            self.module = copy.deepcopy(model).bfloat16()
            for layer in self.module.modules():
                if isinstance(layer, nn.RNNBase):
                    _lay_out_for_cudnn(layer)
            if isinstance(self.module, RecurrentNetwork) and lstm_steps.can_run(self.module):
                self.module.run_cell = lstm_steps.run_cell

    def refresh(self) -> None:
        """Give the copy the weights that the model has now."""
        if self.module is not self._model:
            with torch.no_grad():
                torch._foreach_copy_(list(self.module.parameters()), list(self._model.parameters()))


def _lay_out_for_cudnn(layer: nn.RNNBase) -> None:
    """Put the weights of a layer into one piece of memory, as `flatten_parameters` does.

    That method leaves out bf16, and cuDNN would copy the weights at each call.
    """
    weights: Any = layer._flat_weights
    mode: Any = cudnn_rnn.get_cudnn_mode
    with torch.no_grad():
        torch._cudnn_rnn_flatten_weight(
            weights,
            4 if layer.bias else 2,
            layer.input_size,
            mode(layer.mode),
            layer.hidden_size,
            layer.proj_size,
            layer.num_layers,
            layer.batch_first,
            bool(layer.bidirectional),
        )
