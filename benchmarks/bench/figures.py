"""Read a figure from a command that has ended."""

import math
from datetime import datetime

from benchmarks.bench.commands import Finished


def printed_rate(done: Finished) -> float:
    return float(done.printed["samples_per_s"])


def printed_flops(done: Finished) -> float:
    return float(done.printed["flops"])


def rate_of_steps(done: Finished) -> float:
    """Return the samples/s of the steps of a run's last epoch."""
    return float(done.printed["history"][-1]["samples_per_s"])


def rate_with_data(done: Finished) -> float:
    """Return the samples/s from the start of worker 0, before it reads data, to the last epoch.

    What is left out is the validation, which the peers do not have.
    """
    log = (done.run / "logs" / "worker-0.log").read_text().splitlines()
    begun = next(line[:23] for line in log if "worker 0 has started" in line)
    epochs = done.records("epoch")
    validation_s = sum(epoch.get("validation_s", 0.0) for epoch in epochs)
    num_rows = sum(step["rows"] for step in done.records("step"))
    passed_s = epochs[-1]["time"] - datetime.fromisoformat(begun).timestamp()
    return float(num_rows / (passed_s - validation_s))


def first_step_s(done: Finished) -> float:
    """Return the seconds from the command to the end of the first step of a run."""
    return float(done.records("step")[0]["time"] - done.started_at)


def printed_first_step_s(done: Finished) -> float:
    return float(done.printed["first_step"] - done.started_at)


def beyond_training_s(done: Finished) -> float:
    """Return the seconds of a run that were not spent in its steps."""
    return done.wall_s - _training_s(done)


def training_s_to(accuracy: float, done: Finished) -> float:
    """Return the seconds in the steps of a run, or infinity if its test accuracy is lower."""
    return _training_s(done) if done.printed["test_accuracy"] >= accuracy else math.inf


def printed_training_s_to(accuracy: float, done: Finished) -> float:
    reached = done.printed["test_accuracy"] >= accuracy
    return float(done.printed["train_s"]) if reached else math.inf


def _training_s(done: Finished) -> float:
    return float(sum(epoch["train_s"] for epoch in done.printed["history"]))
