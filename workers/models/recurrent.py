"""Recurrent networks over sequences: Elman RNN, LSTM, GRU.

B batch, T time steps, F features of a time step, H hidden, D directions, C outputs.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from workers.config import DataShape, ModelConfig
from workers.data.kinds import PADDING
from workers.data.kinds.sequence_shape import SequenceShape
from workers.models.noise import NoiseSource, dropout
from workers.models.sequences import is_step
from workers.seeds import Purpose, seed_of

_CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_FORGET_GATE = 1  # torch orders an LSTM's gates input, forget, cell, output


def run_cell(cell: nn.Module, x_BTF: Tensor) -> Tensor:
    """Return the outputs (B, T, H) of a layer in one direction."""
    outputs_BTH: Tensor = cell(x_BTF)[0]
    return outputs_BTH


class RecurrentNetwork(nn.Module):
    """A recurrent network from sequences (B, T, F), or tokens (B, T), to outputs (B, C).

    Each direction of each layer is a module of its own. Therefore dropout between layers can draw
    from the step's own generators, and truncation can cut each direction along its own time.

    Padding behind the end of a sequence changes nothing: the reverse direction begins at the end,
    and pooling looks at the time steps of the sequence alone. Sequences are not packed, because
    cuDNN and oneDNN have their fast kernels for padded ones.
    """

    def __init__(
        self, config: ModelConfig, shape: SequenceShape, num_outputs: int, bptt_steps: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.bptt_steps = bptt_steps
        self.run_cell: Callable[[nn.Module, Tensor], Tensor] = run_cell
        """What computes a whole sequence. A device may have another way with the same function."""
        num_features = shape.num_features
        self.embedding: nn.Embedding | None = None
        if shape.vocabulary_size:
            num_features = config.embedding_size
            self.embedding = nn.Embedding(shape.vocabulary_size, num_features, padding_idx=PADDING)
        directions = 2 if config.bidirectional else 1
        widths = [num_features] + [config.hidden_size * directions] * (config.num_layers - 1)
        cell = _CELLS[config.cell]
        self.layers = nn.ModuleList(
            nn.ModuleList(
                cell(width, config.hidden_size, batch_first=True) for _ in range(directions)
            )
            for width in widths
        )
        pooled = 2 if config.pooling == "mean-max" else 1
        self.head = nn.Linear(config.hidden_size * directions * pooled, num_outputs)

    def forward(
        self, x: Tensor, lengths_B: Tensor | None = None, noise: NoiseSource | None = None
    ) -> Tensor:
        """Return outputs (B, C).

        Args:
            x: sequences (B, T, F) or tokens (B, T).
            lengths_B: the time steps of each sequence, at least 1; None if each has T.
            noise: what dropout draws from. Without it, nothing is dropped.
        """
        sequence = self.embedding(x) if self.embedding else x
        for number, layer in enumerate(self.layers):
            if number:
                sequence = dropout(sequence, self.config.dropout, noise)
            assert isinstance(layer, nn.ModuleList)
            outputs = [self._run(layer[0], sequence)]
            if len(layer) == 2:
                backwards = self._run(layer[1], _reversed(sequence, lengths_B))
                outputs.append(_reversed(backwards, lengths_B))
            sequence = torch.cat(outputs, dim=2) if len(outputs) == 2 else outputs[0]
        features = dropout(self._pool(sequence, lengths_B), self.config.dropout, noise)
        outputs_BC: Tensor = self.head(features)
        return outputs_BC

    def _run(self, cell: nn.Module, x_BTF: Tensor) -> Tensor:
        """Return the outputs (B, T, H) of one direction.

        The sequence is cut into chunks of `bptt_steps`, and no gradient crosses a cut.
        """
        if not 0 < self.bptt_steps < x_BTF.shape[1]:
            return self.run_cell(cell, x_BTF)
        state = None
        outputs = []
        for chunk in torch.split(x_BTF, self.bptt_steps, dim=1):
            output, state = cell(chunk, state)
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
            outputs.append(output)
        return torch.cat(outputs, dim=1)

    def _pool(self, outputs_BTH: Tensor, lengths_B: Tensor | None) -> Tensor:
        if self.config.pooling == "mean-max":
            both = _mean(outputs_BTH, lengths_B), _max(outputs_BTH, lengths_B)
            return torch.cat(both, dim=1)
        if self.config.pooling == "mean":
            return _mean(outputs_BTH, lengths_B)
        if self.config.pooling == "max":
            return _max(outputs_BTH, lengths_B)
        forward_end = _last(outputs_BTH, lengths_B)
        if not self.config.bidirectional:
            return forward_end
        # The reverse direction has seen the whole sequence at the first time step.
        hidden = self.config.hidden_size
        return torch.cat([forward_end[:, :hidden], outputs_BTH[:, 0, hidden:]], dim=1)


def _reversed(x_BTF: Tensor, lengths_B: Tensor | None) -> Tensor:
    """Return each sequence from its last time step to its first. Padding stays behind it."""
    if lengths_B is None:
        return x_BTF.flip(1)
    steps_T = torch.arange(x_BTF.shape[1], device=x_BTF.device)
    last_B1 = lengths_B.unsqueeze(1) - 1
    from_BT = torch.where(steps_T <= last_B1, last_B1 - steps_T, steps_T)
    return x_BTF.gather(1, from_BT.unsqueeze(2).expand_as(x_BTF))


def _last(outputs_BTH: Tensor, lengths_B: Tensor | None) -> Tensor:
    if lengths_B is None:
        return outputs_BTH[:, -1]
    last_B1H = (lengths_B - 1).view(-1, 1, 1).expand(-1, 1, outputs_BTH.shape[2])
    return outputs_BTH.gather(1, last_B1H).squeeze(1)


def _mean(outputs_BTH: Tensor, lengths_B: Tensor | None) -> Tensor:
    if lengths_B is None:
        return outputs_BTH.mean(dim=1)
    padding_BT1 = ~is_step(lengths_B, outputs_BTH.shape[1])
    outputs_BTH = outputs_BTH.masked_fill(padding_BT1, 0.0)
    # The order in which a CPU's `sum` adds depends on the number of time steps, padding included.
    # `cumsum` adds one after the other. A GPU's is not deterministic, but its batches are all
    # padded to one length.
    total_BH = outputs_BTH.sum(dim=1) if outputs_BTH.is_cuda else outputs_BTH.cumsum(dim=1)[:, -1]
    return total_BH / lengths_B.unsqueeze(1)


def _max(outputs_BTH: Tensor, lengths_B: Tensor | None) -> Tensor:
    if lengths_B is not None:
        padding_BT1 = ~is_step(lengths_B, outputs_BTH.shape[1])
        outputs_BTH = outputs_BTH.masked_fill(padding_BT1, -math.inf)
    return outputs_BTH.amax(dim=1)


def build_model(
    config: ModelConfig, data: DataShape, seed: int, bptt_steps: int = 0
) -> RecurrentNetwork:
    """Build the model of a job. Its first weights are a function of (config, data, seed)."""
    shape = data.input.sequence_shape(config.read)
    model = RecurrentNetwork(config, shape, data.target.num_outputs, bptt_steps)
    generator = torch.Generator().manual_seed(seed_of(seed, Purpose.INIT))
    with torch.no_grad():
        for layer in model.layers:
            assert isinstance(layer, nn.ModuleList)
            for cell in layer:
                _init_cell(cell, config, generator)
        _init_head(model.head, config, generator)
        if model.embedding:
            model.embedding.weight.normal_(generator=generator)
            model.embedding.weight[PADDING] = 0.0
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
