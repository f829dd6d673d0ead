"""Send what a run folder holds to its tracker: only what the tracker does not have yet."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.runs import RunStatus
from orchestrator.runs.result import read_result
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import read_spec
from orchestrator.tracking.contents import STATES, Mark, metrics, parameters, tags
from orchestrator.tracking.mlflow_run import Clock, MlflowRun, Point
from workers.records.run_folder import MetricsTail, RunFolder
from workers.storage.storage import LARGE_BYTES
from workers.storage.typed_json import Json

_SENT = "rnnjob.sent"
_MAX_POINTS = 900
"""MLflow takes 1,000 points and tags in one request."""
_BUNDLE = "bundle"
MakeBundle = Callable[[Path], None]
"""Writes the bundle of the run's model to a folder that does not exist. Raises JobError."""


@dataclass
class Sent:
    """What one call has sent."""

    page: str
    num_records: int = 0
    files: list[str] = field(default_factory=list)


class Sender:
    """Sends one run again and again. The tracker's own tags say what it has already."""

    def __init__(
        self, run: RunFolder, uri: str, make_bundle: MakeBundle, clock: Clock | None = None
    ) -> None:
        self._run, self._uri = run, uri
        self._make_bundle, self._clock = make_bundle, clock or Clock()
        self._tail = MetricsTail(run)
        self._unsent: list[Json] = []
        self._at: MlflowRun | None = None

    def send(self, status: RunStatus) -> Sent:
        """Send what is new; of a run that has ended also its files and its model.

        Raises TrackerError, or another JobError if the run cannot be read or its model not be
        written; what was sent until then stays sent.
        """
        spec = read_spec(self._run)
        at = self._opened(spec, status)
        sent = Sent(at.page)
        if status.attempt or status.is_terminal:  # before that, the driver may resolve `auto`
            _send_parameters(at, spec)
        self._send_metrics(at, sent)
        result = (read_result(self._run) or {}) if status.has_outcome else {}
        at.set_tags(tags(status, result))
        at.set_state(STATES.get(status.state, "RUNNING"), status.ended_at)
        self._send_file(at, self._run.JOB, sent)
        if status.is_terminal:
            self._send_file(at, self._run.RESULT, sent)
            self._send_file(at, self._run.REPORT, sent)
        if weights := result.get("weights_sha256"):
            self._send_bundle(at, weights, sent)
        return sent

    def _opened(self, spec: JobSpec, status: RunStatus) -> MlflowRun:
        if self._at is None:
            submitted = status.submitted_at or 0.0
            self._at = MlflowRun.open(
                self._uri, spec.name, self._run.run_id, submitted, self._clock
            )
        return self._at

    def _send_metrics(self, at: MlflowRun, sent: Sent) -> None:
        mark = Mark.parse(at.tags.get(_SENT, ""))
        # A record stays here until it is sent, whatever fails in between.
        self._unsent += self._tail.read()
        for points, mark_after, num_records in _batches(self._unsent, mark):
            at.log_metrics(points, {_SENT: str(mark_after)})
            sent.num_records += num_records
        self._unsent.clear()

    def _send_file(self, at: MlflowRun, name: str, sent: Sent) -> None:
        try:
            content = self._run.storage.read(name, LARGE_BYTES)
        except FileNotFoundError:
            return
        digest = {f"{_SENT}.{name}": hashlib.sha256(content).hexdigest()[:16]}
        if digest.items() <= at.tags.items():
            return
        with tempfile.TemporaryDirectory(prefix="rnnjob-") as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            at.upload(file)
        at.set_tags(digest)
        sent.files.append(name)

    def _send_bundle(self, at: MlflowRun, weights_sha256: str, sent: Sent) -> None:
        digest = {f"{_SENT}.{_BUNDLE}": weights_sha256[:16]}
        if digest.items() <= at.tags.items():
            return
        with tempfile.TemporaryDirectory(prefix="rnnjob-") as folder:
            bundle = Path(folder) / _BUNDLE
            self._make_bundle(bundle)
            at.upload(bundle)
        at.set_tags(digest)
        sent.files.append(_BUNDLE)


def _send_parameters(at: MlflowRun, spec: JobSpec) -> None:
    wanted = parameters(spec)
    at.log_parameters(wanted)
    # What `resume` has changed is in tags: MLflow keeps the parameters of the beginning.
    now = {key: value if at.parameters[key] != value else "" for key, value in wanted.items()}
    at.set_tags({f"rnnjob.now.{key}": value for key, value in now.items()})


def _batches(records: list[Json], mark: Mark) -> Iterator[tuple[list[Point], Mark, int]]:
    """Yield the points of the records that are new, the mark after them, and how many they are."""
    points: list[Point] = []
    num_records = 0
    for record in records:
        if mark.covers(record):
            continue
        new = [
            Point(name, value, record["time"], record["step"])
            for name, value in metrics(record).items()
        ]
        if len(points) + len(new) > _MAX_POINTS:
            yield points, mark, num_records
            points, num_records = [], 0
        points, num_records, mark = points + new, num_records + 1, mark.after(record)
    if num_records:
        yield points, mark, num_records
