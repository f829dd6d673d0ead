"""The loss and the metrics of classes and of numbers."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.unit.simulated import tiny_job
from tests.unit.workers.data.data_sets import CLASSES, NUMBER, VECTORS, shape_of
from workers.config import TrainJob
from workers.data.targets.target_rules import Metrics
from workers.pieces import rules_of

OUTPUTS = torch.randn(13, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 2, (13,), generator=torch.Generator().manual_seed(1))
PREDICTED = torch.randn(13, 1, generator=torch.Generator().manual_seed(2))
NUMBERS = torch.randn(13, generator=torch.Generator().manual_seed(3))
NO_HEAD = torch.zeros(13, dtype=torch.bool)


def job_of(folder: Path, target: Any, **training: Any) -> TrainJob:
    return tiny_job(folder, data=shape_of(VECTORS, target), training=training)


def metrics_of(job: TrainJob, outputs: torch.Tensor, targets: torch.Tensor) -> Metrics:
    rules = rules_of(job)
    parts = [
        rules.sums(outputs[part], targets[part], NO_HEAD[part])
        for part in (slice(0, 5), slice(5, 13))
    ]
    assert len(parts[0]) == rules.num_sums
    return rules.metrics((parts[0] + parts[1]).tolist())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    ("weights", "by_class"),
    [
        ("none", None),
        ("balanced", [26 / 2 / 20, 26 / 2 / 6]),
        ({"yes": 3.0, "no": 0.5}, [0.5, 3.0]),
    ],
)
def test_the_loss_of_classes_is_torchs_own_with_weights_and_smoothing(
    tmp_path: Path, weights: Any, by_class: list[float] | None, smoothing: float
) -> None:
    job = job_of(tmp_path, CLASSES, class_weights=weights, label_smoothing=smoothing)
    rules = rules_of(job)
    wanted = F.cross_entropy(
        OUTPUTS,
        LABELS,
        None if by_class is None else torch.tensor(by_class),
        reduction="none",
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(rules.losses(OUTPUTS, LABELS), wanted)
    torch.testing.assert_close(rules.loss_sum(OUTPUTS, LABELS), wanted.sum())
    found = metrics_of(job, OUTPUTS, LABELS)
    assert found.loss == pytest.approx(wanted.mean().item(), rel=1e-6)
    right = (OUTPUTS.argmax(1) == LABELS).double().mean().item()
    assert found.values == {"accuracy": right}
    assert [row["name"] for row in found.details["per_class"]] == ["no", "yes"]


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_the_loss_of_numbers_is_in_units_of_their_deviation(tmp_path: Path, loss: str) -> None:
    errors = (PREDICTED.squeeze(1) - NUMBERS).abs()
    wanted = {
        "mse": errors.square(),
        "mae": errors,
        "huber": torch.where(errors < 1, errors.square() / 2, errors - 0.5),
    }[loss]
    rules = rules_of(job_of(tmp_path, NUMBER, loss=loss))
    torch.testing.assert_close(rules.losses(PREDICTED, NUMBERS), wanted)
    torch.testing.assert_close(rules.loss_sum(PREDICTED, NUMBERS), wanted.sum())
    torch.testing.assert_close(rules.scores(PREDICTED, NUMBERS), errors * NUMBER.std)


def test_the_metrics_of_numbers_are_in_the_units_of_the_column(tmp_path: Path) -> None:
    found = metrics_of(job_of(tmp_path, NUMBER), PREDICTED, NUMBERS)
    true = NUMBERS.double().numpy() * NUMBER.std + NUMBER.mean
    predicted = PREDICTED.squeeze(1).double().numpy() * NUMBER.std + NUMBER.mean
    assert found.values["mae"] == pytest.approx(np.abs(predicted - true).mean())
    assert found.values["rmse"] == pytest.approx(math.sqrt(((predicted - true) ** 2).mean()))
    r2 = 1 - ((predicted - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()
    assert found.values["r2"] == pytest.approx(r2)


def test_targets_that_never_vary_have_an_r2_of_0(tmp_path: Path) -> None:
    found = metrics_of(job_of(tmp_path, NUMBER), PREDICTED, torch.full((13,), 0.25))
    assert found.values["r2"] == 0.0
    rules = rules_of(job_of(tmp_path, NUMBER))
    rounded = [1.0, 1.0, 13.0, 0.0, 1.0, 3.25, 0.8125 + 1e-14]  # as if added up in another order
    assert rules.metrics(rounded).values["r2"] == 0.0
