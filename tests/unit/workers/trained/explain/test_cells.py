"""The cells written out step by step are torch's cells, in any network that can be asked for."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.unit.workers.trained.explain.rows import rows_of
from tests.unit.workers.trained.models import KINDS, job_of, trained
from workers.models.recurrent import RecurrentNetwork
from workers.models.sequences import outputs_of, sequences_of
from workers.trained.explain.replay import Replay, ReplayedCell

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@pytest.mark.parametrize("name", CELLS)
def test_each_state_is_that_of_torch(name: str) -> None:
    torch.manual_seed(0)
    cell = CELLS[name](3, 7, batch_first=True)
    x_BTF = torch.randn(5, 11, 3)
    replayed = ReplayedCell(cell)
    wanted, state = cell(x_BTF)
    outputs, _ = replayed(x_BTF)
    torch.testing.assert_close(outputs, wanted, rtol=0, atol=1e-6)
    states = torch.stack([step.hidden_BH for step in replayed.steps], dim=1)
    torch.testing.assert_close(states, wanted, rtol=0, atol=1e-6)
    if name == "lstm":
        cell_BH = replayed.steps[-1].cell_BH
        assert cell_BH is not None
        torch.testing.assert_close(cell_BH, state[1][0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_replayed_network_gives_the_outputs_of_the_model(
    tmp_path: Path, kind: str, cell: str
) -> None:
    job = job_of(tmp_path, kind, cell=cell)
    module = trained(job).module
    assert isinstance(module, RecurrentNetwork)
    batch = rows_of(job.data, 9).batch()
    x = sequences_of(batch, job)
    replay = Replay(module)
    found = outputs_of(replay.model, x, batch.lengths_N, job)
    torch.testing.assert_close(found, outputs_of(module, x, batch.lengths_N, job))
    assert {len(each.cell.steps) for each in replay.directions} == {x.shape[1]}


def test_gates_are_those_of_weights_that_force_them() -> None:
    cell = nn.LSTM(1, 2, batch_first=True)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih_l0[0:2] = -20.0  # torch's order: input, forget, cell, output
        cell.bias_ih_l0[2:4] = 20.0
    replayed = ReplayedCell(cell)
    replayed(torch.randn(1, 3, 1))
    gates = {name: float(gate.detach().mean()) for name, gate in replayed.steps[2].gates.items()}
    assert gates == pytest.approx({"forget": 1.0, "input": 0.0, "output": 0.5}, abs=1e-6)
    gru = nn.GRU(1, 2, batch_first=True)
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter.zero_()
        gru.bias_hh_l0[0:2] = 20.0  # torch's order: reset, update, new
    replayed = ReplayedCell(gru)
    replayed(torch.randn(1, 3, 1))
    gates = {name: float(gate.detach().mean()) for name, gate in replayed.steps[2].gates.items()}
    assert gates == pytest.approx({"reset": 1.0, "update": 0.5}, abs=1e-6)
