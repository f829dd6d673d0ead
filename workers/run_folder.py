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
        failures.jsonl      each failure of the workers           Ray Train's controller
        logs/               what the processes printed
"""

import json
import os
import time
from dataclasses import dataclass

from workers.jsons import Json, parse_object
from workers.storage import Storage


@dataclass(frozen=True)
class StopRequest:
    """Someone wants the job to end after the current step, with a checkpoint."""

    reason: str
    exit_code: int = 5


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

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @classmethod
    def at(cls, uri: str) -> "RunFolder":
        return cls(Storage(uri))

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
        """The records of metrics.jsonl; a line that is not whole (a torn last one) is left out."""
        try:
            lines = self.storage.read(self.METRICS).splitlines()
        except FileNotFoundError:
            return []
        return [record for line in lines if (record := _parsed(line)) is not None]

    def ask_to_stop(self, request: StopRequest) -> None:
        self.write_json(self.STOP, {"reason": request.reason, "exit_code": request.exit_code})

    def stop_request(self) -> StopRequest | None:
        content = self.read_json(self.STOP)
        if content is None:
            return None
        code = content.get("exit_code")
        return StopRequest(str(content.get("reason", "")), code if isinstance(code, int) else 5)

    def note_failure(self, reason: str) -> None:
        """Adds a failure of the workers, after which they may start again."""
        lines = [*self.failures(), {"reason": reason, "time": time.time()}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self.storage.write(self.FAILURES, text.encode())

    def failures(self) -> list[Json]:
        """The failures so far, oldest first: reason, Unix time."""
        try:
            lines = self.storage.read(self.FAILURES).splitlines()
        except FileNotFoundError:
            return []
        return [record for line in lines if (record := _parsed(line)) is not None]

    def forget_outcome(self) -> None:
        """Before a run is taken up again: what it came to, and what ended it."""
        for name in (self.STOP, self.RESULT, self.REPORT):
            if self.storage.exists(name):
                self.storage.delete_file(name)


def _parsed(line: bytes) -> Json | None:
    try:
        return parse_object(line)
    except ValueError:
        return None


class StopWatch:
    """Looks for a stop request, not more often than is cheap."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._every_s = run.poll_s
        self._looked = 0.0

    def __call__(self) -> StopRequest | None:
        now = time.monotonic()
        if now - self._looked < self._every_s:
            return None
        self._looked = now
        return self._run.stop_request()


class MetricsTail:
    """The records of metrics.jsonl that came since the last look."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._inode, self._offset, self._seen = -1, 0, 0

    def read(self) -> list[Json]:
        """After a restart the file is written anew, and its records come again."""
        local = self._run.storage.local_path
        if local is None:
            records = self._run.read_metrics()
            new = records[self._seen :] if len(records) >= self._seen else records
            self._seen = len(records)
            return new
        try:
            with open(local / self._run.METRICS, "rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:
                    self._inode, self._offset = inode, 0
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [r for line in whole.splitlines() if (r := _parsed(line)) is not None]
