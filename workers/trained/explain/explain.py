"""Explain a trained model on some rows: one pass over them, in order, on one thread.

T time steps, H hidden units.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from workers.config import TrainJob
from workers.data.kinds import ImageInput
from workers.data.rows import Rows
from workers.models.compute_copy import ComputeCopy
from workers.models.cpu_kernels import bf16_kernels, compute_alone
from workers.models.recurrent import RecurrentNetwork
from workers.models.sequences import sequences_of
from workers.pieces import piece_rows, rules_of
from workers.trained.explain.explanation import Explanation, Unrolled
from workers.trained.explain.network import NetworkCurves
from workers.trained.explain.one_row import unrolled
from workers.trained.explain.own import InputCurve, check_keeps_state
from workers.trained.explain.prefixes import evenly, outputs_after
from workers.trained.explain.replay import Replay
from workers.trained.load import TrainedModel

_MAX_CUTS = 30
"""How many numbers of time steps the score is computed for."""
_MAX_STATES = 2**22
"""The most hidden numbers of one piece, since each of their steps is kept for the gradient."""


def explain(model: TrainedModel, rows: Rows, row: Rows) -> Explanation:
    """Return the curves of a model over `rows`, and what it does with the one of `row`.

    Gradients and gates are computed in float32, scores in the precision of the run.

    Raises InputError for a model of the user's own that keeps no state through time.
    """
    compute_alone()
    job, module = model.job, model.module
    precise = job.model_copy(
        update={"training": job.training.model_copy(update={"precision": "fp32"})}
    )
    replay = Replay(module) if isinstance(module, RecurrentNetwork) else None
    pieces = _pieces(rows, job)
    if replay is None:
        batch = pieces[0].batch()
        check_keeps_state(module, precise, sequences_of(batch, precise), batch.lengths_N)
    rules = rules_of(job)
    curves = NetworkCurves(replay, precise, rules) if replay else InputCurve(module, precise, rules)
    for piece in pieces:
        batch = piece.batch()
        curves.add(sequences_of(batch, precise), batch.lengths_N, batch.targets_N)
    steps, scores = _scores(module, job, pieces)
    found = Explanation(
        len(rows),
        rules.score,
        steps,
        scores,
        _unrolled(module, replay, precise, row),
        tuple(getattr(job.data.target, "names", ())),
        curves.gradients(),
    )
    if not isinstance(curves, NetworkCurves):
        return found
    config = job.model
    return replace(
        found,
        gates=curves.gates(),
        cell=config.cell,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        bptt_steps=job.training.bptt_steps,
    )


def _pieces(rows: Rows, job: TrainJob) -> list[Rows]:
    """Return the rows as parts that fit into memory. It is a function of the job alone."""
    model = job.model
    steps = job.data.input.sequence_shape(model.read).max_length
    states = steps * model.hidden_size * model.num_layers * (2 if model.bidirectional else 1)
    return rows.pieces(max(1, min(64, piece_rows(job), _MAX_STATES // states)))


def _scores(
    module: nn.Module, job: TrainJob, pieces: Sequence[Rows]
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return after how many time steps rows were cut, and the mean score on those cut there."""
    rules, batches = rules_of(job), [piece.batch() for piece in pieces]
    sequences = [sequences_of(batch, job) for batch in batches]
    steps = evenly(max(each.shape[1] for each in sequences), _MAX_CUTS)
    totals = [0.0] * len(steps)
    computing = ComputeCopy(module, job.training.precision, torch.device("cpu")).module
    with bf16_kernels(job.training.precision, torch.device("cpu")):
        for batch, x in zip(batches, sequences, strict=True):
            cut = outputs_after(computing, job, x, batch.lengths_N, steps)
            for place, outputs_BC in enumerate(cut):
                totals[place] += float(rules.scores(outputs_BC, batch.targets_N).double().sum())
    num_rows = sum(map(len, batches))
    return steps, tuple(total / num_rows for total in totals)


def _unrolled(module: nn.Module, replay: Replay | None, job: TrainJob, row: Rows) -> Unrolled:
    found = unrolled(module, replay, job, row)
    source = job.data.input
    if not isinstance(source, ImageInput):
        return found
    # A picture is shown as it is, not as it is normalized.
    data = job.data.model_copy(update={"input": source.unscaled()})
    shown = sequences_of(row.batch(), job.model_copy(update={"data": data}))
    return replace(found, inputs=tuple(tuple(each) for each in shown[0].tolist()))
