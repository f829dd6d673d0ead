"""Every path of a run, in one class, and the files that several processes read and write.

::

    <storage>/<run_id>/
        job.yaml            the resolved spec                     written by the submitter
        model_code/         the code of a user's own model        the submitter
        model_code.json     the list of its files                 the submitter
        status.json         state, reason, attempt                the submitter, then the driver
        owners/*.json       who took the run up, by term          the process that took it
        heartbeat.json      that the owner lives                  the owner
        provenance.json     code, packages, hardware, data        the driver
        data.json           what the model knows of its data      the driver
        metrics.jsonl       a line per step, epoch, start         worker 0
        tensorboard/        the same as event files               worker 0
        checkpoints/step-*  the states to resume from             worker 0
        model.safetensors   the final weights                     worker 0
        result.json         the outcome                           the driver
        report.html         the outcome as a web page             the driver, and rnnjob report
        resize.json         a question before the workers change  Ray Train's controller, worker 0
        stop.json           a request to stop the job             any process that wants it to stop
        failures.jsonl      the failures and resumes              the process that saw them
        logs/               the logs of the processes             each process
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TypeVar

from workers.errors import GoneError, RefusedFileError, StorageError
from workers.records.record_kinds import is_record
from workers.storage.lines import Line
from workers.storage.storage import LARGE_BYTES, SMALL_BYTES, Storage
from workers.storage.typed_json import Json, mistyped_key, parse_object

T = TypeVar("T")
_LONGEST_POLL_S = 30.0
_MAX_FAILURES_BYTES = 2**24

WORKER, DRIVER, PREEMPTION, RESUME = "worker", "driver", "preemption", "resume"
STANDSTILL = "standstill"
"""The kinds of entries in failures.jsonl. The first two count towards `limits.max_failures`. A
resume is not a failure: it sets the count back to zero. A standstill comes before the failure of
the workers that are ended because of it."""

_ENTRY_TYPES = {"kind": str, "reason": str, "time": float, "deadline": float, "step": int}


@dataclass(frozen=True)
class StopRequest:
    """A request to end the job after the current step, with a checkpoint."""

    reason: str
    exit_code: int = 5
    at_once: bool = False
    """Whether the job ends at once, without a checkpoint."""
    grace_s: float = 120.0
    """How long workers on Ray may take for it. A step, an evaluation and a checkpoint should fit;
    workers that hang do not end by themselves."""


class RunFolder:
    """The folder of a run. The module's docstring says which process writes which file."""

    JOB = "job.yaml"
    STATUS = "status.json"
    OWNERS = "owners"
    HEARTBEAT = "heartbeat.json"
    PROVENANCE = "provenance.json"
    DATA = "data.json"
    METRICS = "metrics.jsonl"
    TENSORBOARD = "tensorboard"
    CHECKPOINTS = "checkpoints"
    MODEL = "model.safetensors"
    MODEL_CODE = "model_code"
    MODEL_FILES = "model_code.json"
    RESULT = "result.json"
    REPORT = "report.html"
    STOP = "stop.json"
    RESIZE = "resize.json"
    FAILURES = "failures.jsonl"
    LOGS = "logs"
    RAY_TRAIN = ".ray-train"
    """The folder for the files of Ray Train. It is removed when training has ended."""

    def __init__(self, storage: Storage, anchor: str = JOB) -> None:
        """`anchor`: the file without which a folder on a remote storage counts as deleted."""
        self.storage = storage.confined().anchored(anchor)

    @classmethod
    def at(cls, uri: str) -> "RunFolder":
        """Return the run folder at a path or URI. Raises InputError or StorageError."""
        return cls(Storage(uri))

    def with_retries(self) -> "RunFolder":
        """Return the same folder for a process that keeps the job alive; see
        `Storage.with_retries`."""
        copied = copy.copy(self)
        copied.storage = self.storage.with_retries()
        return copied

    @property
    def run_id(self) -> str:
        return self.storage.name

    @property
    def poll_s(self) -> float:
        """Seconds between looks for changes. Requests to a remote storage cost time and money."""
        return 0.2 if self.storage.local_path else 3.0

    def write_json(self, name: str, content: Json) -> None:
        self.storage.write(name, _as_text(content))

    def write_new_json(self, name: str, content: Json) -> bool:
        """Write a JSON file unless it exists. Returns whether it was written."""
        return self.storage.write_new(name, _as_text(content))

    def read_json(self, name: str) -> Json | None:
        """Return the content of a JSON file.

        None if it is missing, not a JSON object, or no file that is read: see `Storage.read`.
        """
        limit = LARGE_BYTES if name in (self.RESULT, self.DATA) else SMALL_BYTES
        try:
            return parse_object(self.storage.read(name, limit))
        except (FileNotFoundError, ValueError, RefusedFileError):
            return None

    def read_metrics(self) -> list[Json]:
        """Return the records of metrics.jsonl.

        Lines that are not a valid record are left out, such as a last line that is incomplete.
        """
        return self.use_metrics(list)

    def use_metrics(self, use: Callable[[Iterator[Json]], T]) -> T:
        """Return what `use` makes of the records of metrics.jsonl, which are read one by one.

        It may be called more than once. Raises StorageError.
        """
        try:
            return self.storage.read_lines(self.METRICS, lambda lines: use(_records(lines)))
        except FileNotFoundError:
            return use(iter(()))

    def ask_to_stop(self, request: StopRequest) -> None:
        """Write stop.json. An earlier request stays, unless the new one is to stop at once."""
        if request.at_once or self.stop_request() is None:
            self.write_json(self.STOP, asdict(request))

    def stop_request(self) -> StopRequest | None:
        """Return the request in stop.json; None if nobody asked for a stop."""
        content = self.read_json(self.STOP)
        if content is None:
            return None
        code = content.get("exit_code")
        if not isinstance(code, int) or isinstance(code, bool) or not 0 < code < 256:
            code = StopRequest.exit_code  # a stopped job must not end with 0
        is_at_once, grace_s = content.get("at_once") is True, StopRequest.grace_s
        if mistyped_key(content, {"grace_s": float}) is None:
            grace_s = content.get("grace_s", grace_s)
        return StopRequest(str(content.get("reason", "")), code, is_at_once, grace_s)

    def note_failure(self, reason: str, kind: str = WORKER, **more: float) -> None:
        """Add an entry to failures.jsonl: what ended the workers or the driver, or a resume."""
        lines = [*self.failures(), {"kind": kind, "reason": reason, "time": time.time(), **more}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self.storage.write(self.FAILURES, text.encode())

    def failures(self) -> list[Json]:
        """Return all entries, oldest first: kind, reason, Unix time; deadline of a preemption; of
        an error, the step at which it was raised."""
        try:
            return self.storage.read_lines(
                self.FAILURES, lambda lines: list(_entries(lines)), max_bytes=_MAX_FAILURES_BYTES
            )
        except FileNotFoundError:
            return []

    def num_failures(self) -> int:
        """Return how many failures count towards the limit, since the last submit or resume."""
        kinds = [record.get("kind") for record in self.failures()]
        if RESUME in kinds:
            kinds = kinds[len(kinds) - kinds[::-1].index(RESUME) :]
        return sum(kind in (WORKER, DRIVER) for kind in kinds)

    def forget_stop(self) -> None:
        """Remove the stop request, before the run is resumed."""
        self._forget(self.STOP)

    def forget_outcome(self) -> None:
        """Remove the earlier result and report, when the run begins again."""
        self._forget(self.RESULT)
        self._forget(self.REPORT)

    def _forget(self, name: str) -> None:
        if self.storage.exists(name):
            self.storage.delete_file(name)


def _as_text(content: Json) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _records(lines: Iterator[Line]) -> Iterator[Json]:
    return (record for record in map(_parsed, lines) if record and is_record(record))


def _entries(lines: Iterator[Line]) -> Iterator[Json]:
    parsed = map(_parsed, lines)
    return (entry for entry in parsed if entry and mistyped_key(entry, _ENTRY_TYPES) is None)


def _parsed(line: Line) -> Json | None:
    try:
        return parse_object(line.data)
    except ValueError:
        return None


class StopPoller:
    """Looks for a stop request, but not more often than every `RunFolder.poll_s` seconds.

    If the storage fails, no error is raised, and the time until the next look doubles.
    """

    def __init__(self, run: RunFolder, check_owner: Callable[[], None] = lambda: None) -> None:
        """`check_owner`: called at each look; its errors are raised unless the storage failed."""
        self._run, self._check_owner = run, check_owner
        self._every_s = run.poll_s
        self._looked_at = -math.inf

    def __call__(self) -> StopRequest | None:
        """Return the stop request; None if there is none or it is too early to look again.

        Raises GoneError, and what `check_owner` raises.
        """
        if time.monotonic() - self._looked_at < self._every_s:
            return None
        try:
            self._check_owner()
            request = self._run.stop_request()
            self._every_s = self._run.poll_s
        except GoneError:
            raise
        except StorageError:
            request = None
            self._every_s = min(2 * self._every_s, _LONGEST_POLL_S)
        self._looked_at = time.monotonic()
        return request


class MetricsTail:
    """Reads the records that were added to metrics.jsonl since the last read."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._inode, self._offset, self._num_seen = -1, 0, 0
        self._num_starts = 0

    def read(self) -> list[Json]:
        """Return the new records.

        A restart of the workers writes the file again. Then all its records are returned again.
        """
        if self._run.storage.local_path is None:
            records = self._run.read_metrics()
            num_starts = sum(record["kind"] == "start" for record in records)
            is_rewritten = num_starts != self._num_starts or len(records) < self._num_seen
            new = records if is_rewritten else records[self._num_seen :]
            self._num_seen, self._num_starts = len(records), num_starts
            return new
        try:
            return self._run.storage.read_lines(
                self._run.METRICS, lambda lines: list(_records(self._whole(lines))), self._start
            )
        except FileNotFoundError:
            return []

    def _start(self, inode: int) -> int:
        if inode != self._inode:
            self._inode, self._offset = inode, 0
        return self._offset

    def _whole(self, lines: Iterator[Line]) -> Iterator[Line]:
        for line in lines:
            if line.is_whole:
                self._offset = line.end
                yield line
