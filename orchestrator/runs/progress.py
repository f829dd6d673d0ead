"""The progress of a job in words, from its records."""

from collections.abc import Iterable
from typing import NamedTuple

from orchestrator.runs import RunStatus
from orchestrator.runs.metrics import describe_score
from workers.storage.typed_json import Json


class Reached(NamedTuple):
    """How far a run had come before a job takes it up."""

    step: int = 0
    epoch: int = 0
    attempt: int = 0

    @classmethod
    def of(cls, records: Iterable[Json]) -> "Reached":
        """Return how far the records of a run go."""
        step = epoch = attempt = 0
        for record in records:
            step = max(step, record.get("step", 0))
            epoch = max(epoch, record["epoch"] if record.get("kind") == "epoch" else 0)
            attempt = max(attempt, record.get("attempt", 0))
        return cls(step, epoch, attempt)


class JobProgress:
    """How far a job is, and what has to be said about it."""

    def __init__(self, num_steps: int | None, print_every_steps: int = 0) -> None:
        """`num_steps`: the steps of the whole job; None if that is not known."""
        self.num_steps = num_steps
        self.state = "starting"
        self.step = self._epoch = self._attempt = 0
        self.now = ""
        """Loss and score of the last step."""
        self.score = ""
        """The score of the last epoch, on validation rows if there are such, or of the test."""
        self._every = print_every_steps

    def begin_after(self, reached: Reached) -> None:
        """Say nothing of the steps and epochs that earlier jobs of the run said something of."""
        self.step, self._epoch, self._attempt = reached

    def facts(self) -> dict[str, str]:
        """Return where the job is, as short texts by name."""
        return {"progress": f"epoch {self._epoch}, step {self.step}", "score": self.score}

    def take_up(self, status: RunStatus, records: list[Json]) -> list[str]:
        """Take up what is new, and return the lines to print about it."""
        self.state = status.state.lower()
        return [line for record in records for line in self._lines(record)]

    def _lines(self, record: Json) -> list[str]:
        kind = record.get("kind")
        # A restart of the workers writes all records again.
        if kind == "start" and record["attempt"] > self._attempt:
            self._attempt = record["attempt"]
            return _about_start(record)
        if kind == "step" and record["step"] > self.step:
            self.step = record["step"]
            self.now = f"loss {record['loss']:.4f}  {describe_score(record, '')}"
            if self._every and self.step % self._every == 0:
                return [f"step {self.step:>6}  {self.now}"]
        if kind == "epoch" and record["epoch"] > self._epoch:
            self._epoch = record["epoch"]
            prefix = "validation_" if "validation_loss" in record else "train_"
            self.score = f"{prefix[:-1]} {describe_score(record, prefix)}"
            return [_about_epoch(record)]
        if kind == "test":
            self.score = f"test {describe_score(record, '')}"
        return []


def _about_start(record: Json) -> list[str]:
    lines = []
    if record["attempt"] > 1:
        lines.append(
            f"attempt {record['attempt']}: continuing after step {record.get('step', 0)} "
            f"with {record['workers']} worker(s)"
        )
    if "mixed_hardware" in record:
        lines.append(f"warning: the workers compute different numbers: {record['mixed_hardware']}")
    if "other_devices" in record:
        lines.append(
            f"warning: {record.get('device')} computes other bits than "
            f"{record['other_devices']}, where steps of this run were computed"
        )
    return lines


def _about_epoch(record: Json) -> str:
    validation = (
        f"  validation loss {record['validation_loss']:.4f} {describe_score(record, 'validation_')}"
        if "validation_loss" in record
        else ""
    )
    return (
        f"epoch {record['epoch']:>3}  loss {record['train_loss']:.4f} "
        f"{describe_score(record, 'train_')}{validation}  "
        f"{record['samples_per_s']:,.0f} samples/s"
    )
