"""Gradients, gates and scores over time: against autograd by hand, differences and the model."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.unit.workers.trained.explain.rows import rows_of
from tests.unit.workers.trained.models import KINDS, job_of, trained
from workers.config import TrainJob
from workers.models.recurrent import RecurrentNetwork
from workers.models.sequences import model_outputs, sequences_of
from workers.pieces import rules_of
from workers.trained.explain.explain import explain
from workers.trained.explain.explanation import Explanation, GradientCurve
from workers.trained.explain.prefixes import evenly
from workers.trained.load import TrainedModel

NUM_ROWS = 9


def explained(job: TrainJob) -> tuple[TrainedModel, Explanation]:
    model = trained(job)
    rows = rows_of(job.data, NUM_ROWS)
    return model, explain(model, rows, rows.take(torch.tensor([3])))


def curve(found: Explanation, of: str, layer: int = 1, backwards: bool = False) -> GradientCurve:
    (one,) = [
        each for each in found.gradients
        if (each.of, each.layer, each.backwards) == (of, layer, backwards)
    ]  # fmt: skip
    return one


def loss_from_state(
    job: TrainJob, module: RecurrentNetwork, x_BTF: Tensor, target: Tensor, t: int, h: Tensor
) -> Tensor:
    """Run torch's own cell from a state after step t to the end, and return the loss."""
    cell = module.layers[0][0]  # type: ignore[index]
    state = h.view(1, 1, -1)
    if t + 1 < x_BTF.shape[1]:
        _, state = cell(x_BTF[:, t + 1 :], state)
    return rules_of(job).losses(module.head(state[0]), target).sum()


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_gradients_are_those_of_autograd_by_hand_and_of_finite_differences(
    tmp_path: Path, cell: str
) -> None:
    job = job_of(tmp_path, "equal", cell=cell, bidirectional=False)
    model, found = explained(job)
    module = model.module.double()
    assert isinstance(module, RecurrentNetwork)
    batch = rows_of(job.data, NUM_ROWS).batch()
    x_BTF = sequences_of(batch, job).double()
    num_steps = x_BTF.shape[1]
    by_hand, by_difference = torch.zeros(num_steps), torch.zeros(num_steps)
    for row in range(NUM_ROWS):
        x, target = x_BTF[row : row + 1], batch.targets_N[row : row + 1]
        outputs, _ = module.layers[0][0](x)  # type: ignore[index]
        for t in range(num_steps):
            h = outputs[0, t].detach().requires_grad_()
            loss = loss_from_state(job, module, x, target, t, h)
            (gradient,) = torch.autograd.grad(loss, h)
            by_hand[num_steps - 1 - t] += gradient.norm() / NUM_ROWS
            with torch.no_grad():
                differences = [
                    (
                        loss_from_state(job, module, x, target, t, h + 1e-5 * unit)
                        - loss_from_state(job, module, x, target, t, h - 1e-5 * unit)
                    )
                    / 2e-5
                    for unit in torch.eye(len(h), dtype=torch.float64)
                ]
            by_difference[num_steps - 1 - t] += torch.stack(differences).norm() / NUM_ROWS
    norms = torch.tensor(curve(found, "hidden state").norms)
    assert norms.shape == (num_steps,) and norms.min() > 0
    torch.testing.assert_close(norms, by_hand, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(norms, by_difference, rtol=1e-4, atol=1e-6)


def test_the_cell_state_of_an_lstm_has_the_gradient_of_finite_differences(tmp_path: Path) -> None:
    job = job_of(tmp_path, "equal", cell="lstm", bidirectional=False)
    model, found = explained(job)
    module = model.module.double()
    assert isinstance(module, RecurrentNetwork)
    cell = module.layers[0][0]  # type: ignore[index]
    batch = rows_of(job.data, NUM_ROWS).batch()
    x_BTF = sequences_of(batch, job).double()
    split = 2
    total = 0.0
    for row in range(NUM_ROWS):
        x, target = x_BTF[row : row + 1], batch.targets_N[row : row + 1]
        _, (h, c) = cell(x[:, :split])
        # The gate that is open at this step: h = o * tanh(c), so a change of c changes h, too.
        o = h / torch.tanh(c)

        def loss_at(c: Tensor, o: Tensor = o, x: Tensor = x, target: Tensor = target) -> Tensor:
            _, (last, _) = cell(x[:, split:], (o * torch.tanh(c), c))
            return rules_of(job).losses(module.head(last[0]), target).sum()

        with torch.no_grad():
            differences = [
                (loss_at(c + 1e-5 * unit) - loss_at(c - 1e-5 * unit)) / 2e-5
                for unit in torch.eye(c.shape[2], dtype=torch.float64)
            ]
        total += float(torch.stack(differences).norm()) / NUM_ROWS
    steps_before_the_end = x_BTF.shape[1] - split
    assert curve(found, "cell state").norms[steps_before_the_end] == pytest.approx(total, rel=1e-4)


def test_behind_a_cut_of_truncated_back_propagation_there_is_no_gradient(tmp_path: Path) -> None:
    job = job_of(tmp_path, "equal", bidirectional=False)
    training = job.training.model_copy(update={"bptt_steps": 2})
    _, cut = explained(job.model_copy(update={"training": training}))
    _, whole = explained(job)
    num_steps = len(curve(whole, "hidden state").norms)
    last_chunk = num_steps % 2 or 2
    norms = curve(cut, "hidden state").norms
    assert norms[:last_chunk] == pytest.approx(curve(whole, "hidden state").norms[:last_chunk])
    assert set(norms[last_chunk:]) == {0.0}
    assert min(curve(whole, "hidden state").norms) > 0
    assert cut.scores == pytest.approx(whole.scores)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_and_data_is_explained(tmp_path: Path, kind: str, cell: str) -> None:
    job = job_of(tmp_path, kind, cell=cell)
    model, found = explained(job)
    batch = rows_of(job.data, NUM_ROWS).batch()
    longest = sequences_of(batch, job).shape[1]
    outputs_BC = model_outputs(model.module, batch, job)
    score = rules_of(job).scores(outputs_BC, batch.targets_N).double().mean()
    assert found.steps == evenly(longest, 30)
    assert found.scores[-1] == pytest.approx(float(score.detach()))
    directions = 2 if job.model.bidirectional else 1
    states = 2 if cell == "lstm" else 1
    assert len(found.gradients) == job.model.num_layers * directions * states
    assert {len(each.norms) for each in found.gradients} == {longest}
    num_gates = {"rnn": 0, "lstm": 3, "gru": 2}[cell]
    assert len(found.gates) == job.model.num_layers * directions * num_gates
    assert all(0 < mean < 1 for gate in found.gates for mean in gate.means)
    one = found.unrolled
    row = rows_of(job.data, NUM_ROWS).take(torch.tensor([3])).batch()
    assert len(one.states) == len(one.steps) == len(one.inputs or one.tokens)
    assert len(one.states[0]) == job.model.hidden_size
    at_end = model_outputs(model.module, row, job).double()
    if found.class_names:
        assert one.decisions[-1] == pytest.approx(torch.softmax(at_end, dim=1)[0].tolist())
        assert one.truth in found.class_names
    else:
        target = job.data.target
        wanted = float(at_end.detach()) * target.std + target.mean  # type: ignore[union-attr]
        assert one.decisions[-1] == pytest.approx((wanted,))


def test_the_gradient_at_the_end_of_a_short_row_is_at_the_end_of_that_row(tmp_path: Path) -> None:
    job = job_of(tmp_path, "vectors", num_layers=1)
    model = trained(job)
    rows = rows_of(job.data, 40)
    assert rows.lengths_N is not None and len(set(rows.lengths_N.tolist())) > 2
    each = [explain(model, one, one) for one in rows.pieces(1)]
    together = explain(model, rows, rows.take(torch.tensor([0])))
    for place, norm in enumerate(curve(together, "hidden state").norms):
        having = [
            norms[place] for one in each if len(norms := curve(one, "hidden state").norms) > place
        ]
        assert norm == pytest.approx(sum(having) / len(having), rel=1e-5)
    for gate in together.gates:
        matching = [g.means for one in each for g in one.gates if g.gate == gate.gate]
        for place, mean in enumerate(gate.means):
            having = [means[place] for means in matching if len(means) > place]
            assert mean == pytest.approx(sum(having) / len(having), rel=1e-5)


def test_the_same_is_found_each_time(tmp_path: Path) -> None:
    job = job_of(tmp_path, "tokens")
    assert explained(job)[1] == explained(job)[1]


def test_the_numbers_of_steps_have_both_ends_and_no_number_twice() -> None:
    for last in range(1, 200):
        steps = evenly(last, 30)
        assert (steps[0], steps[-1]) == (1, last)
        assert len(set(steps)) == len(steps) == min(last, 30)
        assert list(steps) == sorted(steps)


def test_a_model_is_the_same_before_and_after_it_is_explained(tmp_path: Path) -> None:
    job = job_of(tmp_path, "images")
    model = trained(job)
    kinds = [type(module) for module in model.module.modules()]
    rows = rows_of(job.data, 4)
    explain(model, rows, rows.take(torch.tensor([0])))
    assert [type(module) for module in model.module.modules()] == kinds
    assert not any(p.grad is not None for p in model.module.parameters())
    assert isinstance(model.module, nn.Module) and not model.module.training
