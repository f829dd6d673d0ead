"""Every path of a run, in one class.

::

    <storage>/<run_id>/
        job.yaml            the spec as resolved                  written by who submits
        status.json         state, reason, attempt                who submits, then the driver
        provenance.json     code, packages, hardware, data        the driver
        metrics.jsonl       a line per step, epoch, start         worker 0
        tensorboard/        the same as event files               worker 0
        checkpoints/step-*  to go on from                         worker 0
        model.safetensors   the final weights                     worker 0
        result.json         the outcome                           the driver
        report.html         the outcome, to look at               the driver
        stop.json           asks a running job to stop            who wants it to
        failures.jsonl      what cost a restart, and resumes      who saw it
        logs/               what the processes printed
"""

import json
import math
import os
import time
from dataclasses import asdict, dataclass

from workers.errors import StorageError
from workers.jsons import Json, misfit, parse_object
from workers.records import is_record
from workers.storage import Storage, explained

_LONGEST_PAUSE_S = 30.0

WORKER, DRIVER, PREEMPTION, RESUME = "worker", "driver", "preemption", "resume"
"""Kinds of entries of failures.jsonl. The first two count towards `limits.max_failures`; a resume
is no failure, and begins the count anew."""

_ENTRY = {"kind": str, "reason": str, "time": float, "deadline": float}


@dataclass(frozen=True)
class StopRequest:
    """Someone wants the job to end after the current step, with a checkpoint."""

    reason: str
    exit_code: int = 5
    at_once: bool = False
    """Without a checkpoint: the driver leaves as soon as it is told to."""


class RunFolder:
    """A run's folder; see the module for who writes what."""

    JOB = "job.yaml"
    STATUS = "status.json"
    PROVENANCE = "provenance.json"
    METRICS = "metrics.jsonl"
    TENSORBOARD = "tensorboard"
    CHECKPOINTS = "checkpoints"
    MODEL = "model.safetensors"
    RESULT = "result.json"
    REPORT = "report.html"
    STOP = "stop.json"
    FAILURES = "failures.jsonl"
    LOGS = "logs"
    RAY_TRAIN = ".ray-train"
    """What Ray Train itself writes; gone when it has ended."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @classmethod
    def at(cls, uri: str) -> "RunFolder":
        return cls(Storage(uri))

    def patient(self) -> "RunFolder":
        """The same, for who keeps the job alive; see `Storage.patient`."""
        return RunFolder(self.storage.patient())

    @property
    def run_id(self) -> str:
        return self.storage.name

    @property
    def poll_s(self) -> float:
        """How often to look for changes: requests to a remote storage cost time and money."""
        return 0.2 if self.storage.local_path else 3.0

    def write_json(self, name: str, content: Json) -> None:
        self.storage.write(name, (json.dumps(content, indent=2) + "\n").encode())

    def read_json(self, name: str) -> Json | None:
        """None where the file is missing or not a JSON object."""
        try:
            return parse_object(self.storage.read(name))
        except (FileNotFoundError, ValueError):
            return None

    def read_metrics(self) -> list[Json]:
        """The records of metrics.jsonl; a line that is not whole (a torn last one), or no record,
        is left out."""
        return _records(self._read_lines(self.METRICS))

    def _read_lines(self, name: str) -> list[bytes]:
        """Empty where the file is missing."""
        try:
            return self.storage.read(name).splitlines()
        except FileNotFoundError:
            return []

    def ask_to_stop(self, request: StopRequest) -> None:
        """The first to ask is heard; a later one only where it is to be at once."""
        if request.at_once or self.stop_request() is None:
            self.write_json(self.STOP, asdict(request))

    def stop_request(self) -> StopRequest | None:
        content = self.read_json(self.STOP)
        if content is None:
            return None
        code = content.get("exit_code")
        if not isinstance(code, int) or isinstance(code, bool) or not 0 < code < 256:
            code = StopRequest.exit_code  # who is stopped has not ended well
        return StopRequest(str(content.get("reason", "")), code, content.get("at_once") is True)

    def note_failure(self, reason: str, kind: str = WORKER, **more: float) -> None:
        """Adds what ended the workers or the driver, which may start again."""
        lines = [*self.failures(), {"kind": kind, "reason": reason, "time": time.time(), **more}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self.storage.write(self.FAILURES, text.encode())

    def failures(self) -> list[Json]:
        """All entries, oldest first: kind, reason, Unix time; of a preemption its deadline, too."""
        parsed = [_parsed(line) for line in self._read_lines(self.FAILURES)]
        return [entry for entry in parsed if entry and misfit(entry, _ENTRY) is None]

    def num_failures(self) -> int:
        """Those that count, since the run was submitted or resumed."""
        kinds = [record.get("kind") for record in self.failures()]
        if RESUME in kinds:
            kinds = kinds[len(kinds) - kinds[::-1].index(RESUME) :]
        return sum(kind in (WORKER, DRIVER) for kind in kinds)

    def forget_stop(self) -> None:
        """Before a run is taken up again."""
        self._forget(self.STOP)

    def forget_outcome(self) -> None:
        """As a run begins again: what it came to before."""
        self._forget(self.RESULT)
        self._forget(self.REPORT)

    def _forget(self, name: str) -> None:
        if self.storage.exists(name):
            self.storage.delete_file(name)


def _records(lines: list[bytes]) -> list[Json]:
    parsed = [_parsed(line) for line in lines]
    return [record for record in parsed if record and is_record(record)]


def _parsed(line: bytes) -> Json | None:
    try:
        return parse_object(line)
    except ValueError:
        return None


class StopWatch:
    """Looks for a stop request, not more often than is cheap. A storage that fails ends nothing; it
    is looked at again, after twice as long each time."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._every_s = run.poll_s
        self._looked = -math.inf

    def __call__(self) -> StopRequest | None:
        if time.monotonic() - self._looked < self._every_s:
            return None
        try:
            request = self._run.stop_request()
            self._every_s = self._run.poll_s
        except StorageError:
            request = None
            self._every_s = min(2 * self._every_s, _LONGEST_PAUSE_S)
        self._looked = time.monotonic()
        return request


class MetricsTail:
    """The records of metrics.jsonl that came since the last look."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._inode, self._offset, self._seen = -1, 0, 0
        self._num_starts = 0

    def read(self) -> list[Json]:
        """After a restart the file is written anew, and its records come again."""
        local = self._run.storage.local_path
        if local is None:
            records = self._run.read_metrics()
            num_starts = sum(record["kind"] == "start" for record in records)
            is_anew = num_starts != self._num_starts or len(records) < self._seen
            new = records if is_anew else records[self._seen :]
            self._seen, self._num_starts = len(records), num_starts
            return new
        try:
            path = local / self._run.METRICS
            with explained("read", str(path)), open(path, "rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:
                    self._inode, self._offset = inode, 0
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return _records(whole.splitlines())
