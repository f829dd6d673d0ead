"""Recurrent sequence classifiers: Elman RNN, LSTM, GRU.

B batch, T time steps, F features of a time step, H hidden, D directions, C classes.
"""

import math

import torch
from torch import Tensor, nn

from workers.config import DataShape, ModelConfig
from workers.models.noise import NoiseSource, dropout
from workers.seeds import Purpose, seed_of

_CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_FORGET_GATE = 1  # torch orders an LSTM's gates input, forget, cell, output


class SequenceClassifier(nn.Module):
    """A recurrent network from sequences (B, T, F) to logits (B, C).

    Each direction of each layer is a module of its own. Therefore dropout between layers can draw
    from the step's own generators, and truncation can cut each direction along its own time.
    """

    def __init__(
        self, config: ModelConfig, num_features: int, num_classes: int, bptt_steps: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.bptt_steps = bptt_steps
        directions = 2 if config.bidirectional else 1
        widths = [num_features] + [config.hidden_size * directions] * (config.num_layers - 1)
        cell = _CELLS[config.cell]
        self.layers = nn.ModuleList(
            nn.ModuleList(
                cell(width, config.hidden_size, batch_first=True) for _ in range(directions)
            )
            for width in widths
        )
        self.head = nn.Linear(config.hidden_size * directions, num_classes)

    def forward(self, x_BTF: Tensor, noise: NoiseSource | None = None) -> Tensor:
        """Return logits (B, C). Without `noise`, nothing is dropped."""
        sequence = x_BTF
        for number, layer in enumerate(self.layers):
            if number:
                sequence = dropout(sequence, self.config.dropout, noise)
            assert isinstance(layer, nn.ModuleList)
            outputs = [self._run(layer[0], sequence)]
            if len(layer) == 2:
                outputs.append(self._run(layer[1], sequence.flip(1)).flip(1))
            sequence = torch.cat(outputs, dim=2) if len(outputs) == 2 else outputs[0]
        features = dropout(self._pool(sequence), self.config.dropout, noise)
        logits_BC: Tensor = self.head(features)
        return logits_BC

    def _run(self, cell: nn.Module, x_BTF: Tensor) -> Tensor:
        """Return the outputs (B, T, H) of one direction.

        The sequence is cut into chunks of `bptt_steps`, and no gradient crosses a cut.
        """
        if not 0 < self.bptt_steps < x_BTF.shape[1]:
            outputs_BTH: Tensor = cell(x_BTF)[0]
            return outputs_BTH
        state = None
        outputs = []
        for chunk in torch.split(x_BTF, self.bptt_steps, dim=1):
            output, state = cell(chunk, state)
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
            outputs.append(output)
        return torch.cat(outputs, dim=1)

    def _pool(self, outputs_BTH: Tensor) -> Tensor:
        if self.config.pooling == "mean":
            return outputs_BTH.mean(dim=1)
        if self.config.pooling == "max":
            return outputs_BTH.amax(dim=1)
        forward_end = outputs_BTH[:, -1]
        if not self.config.bidirectional:
            return forward_end
        # The reverse direction has seen the whole sequence at the first time step.
        hidden = self.config.hidden_size
        return torch.cat([forward_end[:, :hidden], outputs_BTH[:, 0, hidden:]], dim=1)


def build_model(
    config: ModelConfig, data: DataShape, seed: int, bptt_steps: int = 0
) -> SequenceClassifier:
    """Build the model of a job. Its first weights are a function of (config, data, seed)."""
    features = {"rows": data.width, "columns": data.height, "pixels": 1}[config.read]
    model = SequenceClassifier(config, features, data.num_classes, bptt_steps)
    generator = torch.Generator().manual_seed(seed_of(seed, Purpose.INIT))
    with torch.no_grad():
        for layer in model.layers:
            assert isinstance(layer, nn.ModuleList)
            for cell in layer:
                _init_cell(cell, config, generator)
        _init_head(model.head, config, generator)
    return model


def _init_cell(cell: nn.Module, config: ModelConfig, generator: torch.Generator) -> None:
    parameters = dict(cell.named_parameters())
    kernel_ih, kernel_hh = parameters["weight_ih_l0"], parameters["weight_hh_l0"]
    for name, parameter in parameters.items():
        if config.kernel_init == "uniform":
            bound = 1 / math.sqrt(config.hidden_size)
        elif name.startswith("weight"):
            bound = math.sqrt(6 / (kernel_ih.shape[1] + kernel_hh.shape[1] + kernel_ih.shape[0]))
        else:
            bound = 0.0
        parameter.uniform_(-bound, bound, generator=generator)
    if not config.train_recurrent_bias:
        parameters["bias_hh_l0"].zero_().requires_grad_(False)
    if config.cell == "lstm":
        forget = slice(_FORGET_GATE * config.hidden_size, (_FORGET_GATE + 1) * config.hidden_size)
        parameters["bias_ih_l0"][forget] = config.forget_bias
        parameters["bias_hh_l0"][forget] = 0.0


def _init_head(head: nn.Linear, config: ModelConfig, generator: torch.Generator) -> None:
    for parameter in (head.weight, head.bias):
        if config.head_init == "normal":
            parameter.normal_(generator=generator)
        else:
            bound = 1 / math.sqrt(head.in_features)
            parameter.uniform_(-bound, bound, generator=generator)
