"""What can be seen of a model of the user's own, of whose inside nothing is known.

B rows, T time steps, F features, H hidden units.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from workers.config import TrainJob
from workers.data.targets.target_rules import TargetRules
from workers.errors import InputError
from workers.models.sequences import outputs_of
from workers.trained.explain.averages import Averages
from workers.trained.explain.explanation import GradientCurve
from workers.trained.explain.prefixes import outputs_of_first

INPUT = "input"


@dataclass
class Seen:
    """What the modules of a model put out in one forward pass."""

    states_BTH: Tensor | None = None
    """Of the last nn.RNN, nn.LSTM or nn.GRU."""
    embedded_BTF: Tensor | None = None
    """Of the first nn.Embedding: what a model of tokens reads."""
    recurrent: list[str] = field(default_factory=list)
    """The names of the recurrent modules, in the order of their calls."""


@contextlib.contextmanager
def watched(model: nn.Module) -> Iterator[Seen]:
    """Within this context, the last forward pass of a model is seen."""
    seen = Seen()

    def on_recurrent(module: nn.Module, _: Any, outputs: Any) -> None:
        seen.recurrent.append(type(module).__name__)
        if isinstance(module, nn.RNNBase):
            seen.states_BTH = _by_rows(module, outputs[0])

    def on_embedding(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        if seen.embedded_BTF is None and output.dim() == 3:
            # A leaf, so that a frozen embedding has a gradient, too.
            seen.embedded_BTF = output.detach().requires_grad_()
            return seen.embedded_BTF.clone()
        return output

    handles = [
        module.register_forward_hook(on_recurrent)
        for module in model.modules()
        if isinstance(module, nn.RNNBase | nn.RNNCellBase)
    ]
    handles += [
        module.register_forward_hook(on_embedding)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _by_rows(module: nn.RNNBase, outputs: Tensor | PackedSequence) -> Tensor | None:
    if isinstance(outputs, PackedSequence):
        return pad_packed_sequence(outputs, batch_first=True)[0]
    if outputs.dim() != 3:
        return None
    return outputs if module.batch_first else outputs.transpose(0, 1)


class InputCurve:
    """Collects the gradient of the loss by the input of each time step, batch by batch."""

    def __init__(self, model: nn.Module, job: TrainJob, rules: TargetRules) -> None:
        self._model, self._job, self._rules = model, job, rules
        self._norms: Averages | None = None

    def add(self, sequences: Tensor, lengths_B: Tensor | None, targets_B: Tensor) -> None:
        with watched(self._model) as seen:
            inputs = sequences.requires_grad_() if sequences.is_floating_point() else None
            # A copy, since a model may change in place what it gets.
            outputs_BC = outputs_of(self._model, sequences.clone(), lengths_B, self._job)
        if inputs is None:
            inputs = seen.embedded_BTF
        if inputs is None or inputs.shape[:2] != sequences.shape[:2]:
            return  # tokens that no nn.Embedding reads
        loss = self._rules.losses(outputs_BC, targets_B).sum()
        (gradient_BTF,) = torch.autograd.grad(
            loss, [inputs], allow_unused=True, materialize_grads=True
        )
        self._norms = self._norms or Averages(from_end=True)
        self._norms.add(gradient_BTF.norm(dim=2), lengths_B)

    def gradients(self) -> tuple[GradientCurve, ...]:
        if self._norms is None:
            return ()
        return (GradientCurve(INPUT, 0, False, self._norms.means()),)


def check_keeps_state(
    model: nn.Module, job: TrainJob, sequences: Tensor, lengths_B: Tensor | None
) -> None:
    """Raise InputError if a model carries nothing from one time step to the next.

    It carries something if it calls a recurrent module of torch, or if more time steps make its
    computation longer: in a loop over time, each step waits for the one before it. Sums, means,
    convolutions and attention are as long for any number of time steps.
    """
    depths = list[int]()
    num_steps = sequences.shape[1]
    with watched(model) as seen:
        for steps in filter(None, (num_steps, num_steps // 2)):
            depths.append(depth(outputs_of_first(steps, model, job, sequences, lengths_B)))
            if seen.recurrent:
                return
    if len(depths) < 2 or depths[0] == depths[1]:
        raise InputError(
            "the model keeps no state through time, so there is nothing to unroll: it carries "
            "nothing from one time step to the next",
            "explain a run of a recurrent model: model.cell, or one of your own with nn.RNN, "
            "nn.LSTM, nn.GRU or a loop over the time steps",
        )


def depth(outputs: Tensor) -> int:
    """Return the length of the longest way from outputs back to what they were computed from."""
    depths = dict[Any, int]()
    waiting = [outputs.grad_fn]
    while waiting:
        node = waiting[-1]
        if node is None or node in depths:
            waiting.pop()
            continue
        before = [each for each, _ in node.next_functions if each is not None]
        if missing := [each for each in before if each not in depths]:
            waiting += missing
            continue
        depths[node] = 1 + max((depths[each] for each in before), default=0)
        waiting.pop()
    return max(depths.values(), default=0)
