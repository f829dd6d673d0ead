"""One row, unrolled through time: what is read, kept and decided at each step."""

import torch
from torch import Tensor, nn

from workers.config import TrainJob
from workers.data.kinds import NUM_SPECIAL_TOKENS, ClassTarget, NumberTarget, TokenInput
from workers.data.rows import Rows
from workers.models.sequences import outputs_of, sequences_of
from workers.trained.explain.explanation import Unrolled
from workers.trained.explain.own import watched
from workers.trained.explain.prefixes import evenly, outputs_after
from workers.trained.explain.replay import Replay

_MAX_DECISIONS = 200
"""Of longer rows, decisions are asked for at so many of their time steps."""
_UNKNOWN = "?"


def unrolled(model: nn.Module, replay: Replay | None, job: TrainJob, row: Rows) -> Unrolled:
    """Return what a model does at each time step of one row, whose number is not yet known.

    `replay`: of a built-in model.
    """
    batch = row.batch()
    sequences, lengths_B = sequences_of(batch, job), batch.lengths_N
    steps = evenly(sequences.shape[1], _MAX_DECISIONS)
    outputs = list(outputs_after(model, job, sequences, lengths_B, steps))
    return Unrolled(
        0,
        _truth(job, batch.targets_N),
        steps=steps,
        decisions=tuple(tuple(each) for each in _decisions(job, torch.cat(outputs)).tolist()),
        states=_states(model, replay, job, sequences, lengths_B),
        inputs=_inputs(sequences),
        tokens=_tokens(job, sequences),
    )


def _truth(job: TrainJob, targets_B: Tensor) -> str | float:
    target = job.data.target
    if isinstance(target, NumberTarget):
        return float(targets_B[0].double() * target.std + target.mean)
    return target.names[int(targets_B[0])]


def _decisions(job: TrainJob, outputs_TC: Tensor) -> Tensor:
    """Return the probabilities of the classes, or the number, at each step: (T, C)."""
    target = job.data.target
    if isinstance(target, ClassTarget):
        return torch.softmax(outputs_TC.double(), dim=1)
    return outputs_TC.double() * target.std + target.mean


def _states(
    model: nn.Module,
    replay: Replay | None,
    job: TrainJob,
    sequences: Tensor,
    lengths_B: Tensor | None,
) -> tuple[tuple[float, ...], ...]:
    with torch.no_grad(), watched(model) as seen:
        outputs_of(replay.model if replay else model, sequences, lengths_B, job)
    states_BTH = replay.top_states() if replay else seen.states_BTH
    if states_BTH is None or states_BTH.shape[1] != sequences.shape[1]:
        return ()
    return tuple(tuple(each) for each in states_BTH[0].tolist())


def _inputs(sequences: Tensor) -> tuple[tuple[float, ...], ...]:
    if not sequences.is_floating_point():
        return ()
    return tuple(tuple(each) for each in sequences[0].tolist())


def _tokens(job: TrainJob, sequences: Tensor) -> tuple[str, ...]:
    source = job.data.input
    if not isinstance(source, TokenInput):
        return ()
    places = [int(token) - NUM_SPECIAL_TOKENS for token in sequences[0]]
    return tuple(str(source.vocabulary[p]) if p >= 0 else _UNKNOWN for p in places)
