"""Models of the user's own: what can be seen, and what keeps no state through time."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.unit.workers.data.data_sets import FEATURES
from tests.unit.workers.trained.explain.rows import rows_of
from tests.unit.workers.trained.models import job_of
from workers.config import TrainJob
from workers.errors import InputError
from workers.trained.explain.explain import explain
from workers.trained.explain.explanation import Explanation
from workers.trained.load import TrainedModel

HIDDEN = 5


class Gru(nn.Module):
    """States that a hook finds."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.gru = nn.GRU(num_features, HIDDEN)
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        outputs, _ = self.gru(x.transpose(0, 1))
        return self.head(outputs[lengths - 1, torch.arange(len(x))])  # type: ignore[no-any-return]


class Loop(nn.Module):
    """A state that nobody sees."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.step, self.head = nn.Linear(num_features + HIDDEN, HIDDEN), nn.Linear(HIDDEN, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        x.mul_(0.5)
        h = x.new_zeros(len(x), HIDDEN)
        for t in range(x.shape[1]):
            new = torch.tanh(self.step(torch.cat([x[:, t], h], dim=1)))
            h = torch.where((t < lengths).unsqueeze(1), new, h)
        return self.head(h)  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """Reads an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.loop = nn.Embedding(9, 3), Loop(3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.loop(self.embedding(x), lengths)  # type: ignore[no-any-return]


class Mean(nn.Module):
    """No state: a mean over the time steps."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.head = nn.Linear(num_features, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.head(x.sum(1) / lengths.unsqueeze(1))  # type: ignore[no-any-return]


class Flat(nn.Module):
    """No state, and one length."""

    def __init__(self, num_numbers: int) -> None:
        super().__init__()
        self.head = nn.Linear(num_numbers, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))  # type: ignore[no-any-return]


def own_job(folder: Path, kind: str) -> TrainJob:
    job = job_of(folder, kind)
    model = job.model.model_copy(update={"class_path": "net.py:Net", "code_sha256": "a" * 64})
    return job.model_copy(update={"model": model})


def explained(folder: Path, kind: str, module: nn.Module) -> Explanation:
    job = own_job(folder, kind)
    rows = rows_of(job.data, 9)
    model = TrainedModel(module.eval(), job, "")
    return explain(model, rows, rows.take(torch.tensor([0])))


@pytest.mark.parametrize("made", [Gru, Loop])
def test_gradients_are_those_of_the_input_and_states_are_shown_if_they_are_seen(
    tmp_path: Path, made: type[Gru] | type[Loop]
) -> None:
    torch.manual_seed(0)
    found = explained(tmp_path, "vectors", made(FEATURES))
    (curve,) = found.gradients
    assert (curve.of, curve.layer) == ("input", 0) and min(curve.norms) > 0
    assert found.gates == () and found.cell == "own"
    assert len(found.scores) == len(found.steps) == len(curve.norms)
    one = found.unrolled
    assert len(one.decisions) == len(one.inputs)
    assert [len(state) for state in one.states] == [HIDDEN] * len(one.inputs) * (made is Gru)


def test_tokens_have_the_gradient_of_what_an_embedding_reads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = explained(tmp_path, "tokens", Tokens())
    (curve,) = found.gradients
    assert min(curve.norms) > 0
    assert len(found.unrolled.tokens) == len(found.unrolled.decisions)


def test_a_model_that_keeps_no_state_through_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keeps no state through time") as refused:
        explained(tmp_path, "vectors", Mean(FEATURES))
    assert "model.cell" in refused.value.cure


def test_a_model_that_reads_rows_of_one_length_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the first 2 time steps"):
        explained(tmp_path, "images", Flat(30))
