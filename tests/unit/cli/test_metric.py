"""The best epoch: the metric that decides it, ties, and the flags that set the metric."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import main
from orchestrator.spec.build import build_spec
from tests.unit.simulated import single, tiny_job
from workers.checkpoints.progress import Best
from workers.records.train_result import TrainResult
from workers.train import train

METRICS = ("validation_accuracy", "validation_loss")
OUTCOMES = st.tuples(st.sampled_from([0.5, 0.75, 1.0]), st.sampled_from([0.1, 0.2, 0.3]))


def best_of(outcomes: list[tuple[float, float]], metric: Any) -> int:
    """Return the best epoch, found as in the training loop: epoch by epoch."""
    best: Best | None = None
    for epoch, (accuracy, loss) in enumerate(outcomes, 1):
        current = Best(epoch, accuracy, loss)
        best = current if current.beats(best, metric) else best
    assert best is not None
    return best.epoch


@given(st.lists(OUTCOMES, min_size=1))
def test_the_other_metric_breaks_ties_and_then_the_earlier_epoch_wins(
    outcomes: list[tuple[float, float]],
) -> None:
    epochs = range(1, len(outcomes) + 1)
    by_accuracy = min(epochs, key=lambda e: (-outcomes[e - 1][0], outcomes[e - 1][1], e))
    by_loss = min(epochs, key=lambda e: (outcomes[e - 1][1], -outcomes[e - 1][0], e))
    assert best_of(outcomes, "validation_accuracy") == by_accuracy
    assert best_of(outcomes, "validation_loss") == by_loss


@pytest.mark.slow
def test_the_final_weights_are_those_of_the_epoch_that_the_metric_names(tmp_path: Path) -> None:
    def trained(metric: str) -> TrainResult:
        optimizer = {"name": "sgd", "lr": 0.2, "weight_decay": 0.01}
        training = {"epochs": 6, "optimizer": optimizer, "schedule": "constant", "metric": metric}
        job = tiny_job(tmp_path / metric, training=training)
        return train(job, single(job))

    by_accuracy, by_loss = map(trained, METRICS)
    losses = [epoch["validation_loss"] for epoch in by_loss.epochs]
    assert by_loss.best_epoch == 1 + losses.index(min(losses))
    assert by_accuracy.best_epoch != by_loss.best_epoch, "choose a job in which they differ"
    assert by_accuracy.weights_sha256 != by_loss.weights_sha256


def test_the_metric_decides_the_result_and_keep_latest_does_not() -> None:
    def fingerprint(**flags: Any) -> str:
        return build_spec(flags=flags).fingerprint("d" * 64)

    assert fingerprint() == fingerprint(**{"training.metric": "validation_accuracy"})
    assert fingerprint() != fingerprint(**{"training.metric": "validation_loss"})
    assert fingerprint() == fingerprint(**{"checkpoint.keep_latest": 7})


def config(*flags: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["submit", "--print-config", *flags])
    return done.exit_code, done.output


def test_the_flags_set_their_keys() -> None:
    code, text = config("--metric", "validation_loss", "--mode", "min", "--keep-latest", "7")
    assert code == 0
    assert "metric: validation_loss\n" in text and "keep_latest: 7\n" in text
    assert "metric_mode" not in text
    assert config("--mode", "max")[0] == 0
    assert config("--set", "training.metric=validation_loss", "--mode", "min")[0] == 0


@pytest.mark.parametrize(
    ("flags", "cause", "cure"),
    [
        (
            ["--mode", "min", "--metric", "validation_accuracy"],
            "validation_accuracy is best at its max",
            "--metric validation_loss",
        ),
        (
            ["--mode", "max", "--set", "training.metric=validation_loss"],
            "validation_loss is best at its min",
            "--mode min, or --metric validation_accuracy",
        ),
        (["--metric", "f1"], "training.metric is 'f1'", "'validation_accuracy' or"),
        (["--keep-latest", "0"], "checkpoint.keep_latest is 0", "greater than or equal to 1"),
    ],
)
def test_contradicting_flags_are_refused_with_a_cure(
    flags: list[str], cause: str, cure: str
) -> None:
    code, text = config(*flags)
    assert code == 2
    assert cause in text.splitlines()[0] and cure in text.splitlines()[1]
