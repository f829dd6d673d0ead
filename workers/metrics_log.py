"""metrics.jsonl and TensorBoard: one record per start, step and epoch, written by worker 0.

What a record holds: see `workers.records`.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from workers.errors import StorageError
from workers.event_file import event_of, open_event_file
from workers.growing_file import GrowingFile
from workers.jsons import Json
from workers.run_folder import RunFolder

log = logging.getLogger(__name__)
_FLUSH_S = 0.5
_FLUSH_REMOTE_S = 10.0  # no appending there: each flush writes the whole file


RecordSink = Callable[[Json], None]
"""Who wants to see records as they come."""
Flush = Callable[[], None]


def _at_once(flush: Flush) -> None:
    flush()


@dataclass(frozen=True)
class Repeats:
    """What a restart costs."""

    repeated_steps: int = 0
    """Recorded before it, and now computed again."""
    idle_s: float = 0.0
    """From the last record until now."""

    @classmethod
    def of(cls, records: list[Json], resumed_at: int) -> "Repeats":
        if not records:
            return cls()
        last = records[-1]
        now = time.time()
        return cls(max(0, last.get("step", 0) - resumed_at), now - last.get("time", now))


class MetricsLog:
    """Keeps every step once: on a resume, what came after the checkpoint is dropped first.

    A storage that fails ends nothing but the flush: what it did not take is written at the next.
    When the log is closed it is an error.
    """

    def __init__(
        self,
        run: RunFolder,
        resumed_at: int,
        sink: RecordSink | None = None,
        later: Callable[[Flush], None] = _at_once,
    ) -> None:
        """`later`: who is given a slow flush to do, one at a time, beside the thread that writes
        records. It may leave one out."""
        self._sink, self._later = sink, later
        records = run.read_metrics()
        self.repeats = Repeats.of(records, resumed_at)
        earlier = [
            record
            for record in records
            if record.get("kind") == "start"
            or (record.get("kind") != "test" and record.get("step", 0) <= resumed_at)
        ]
        self.attempt = 1 + max((record.get("attempt", 0) for record in earlier), default=0)
        lines = b"".join(_line(record) for record in earlier)
        self._metrics = GrowingFile(run.storage, run.METRICS, lines)
        self._events = open_event_file(run, resumed_at, self.attempt)
        self._flush_s = _FLUSH_S if self._metrics.appends else _FLUSH_REMOTE_S
        self._flushed = time.monotonic()
        self._failed = False

    def write(self, record: Json) -> None:
        self._metrics.add(_line(record))
        self._events.add(event_of(record))
        due = time.monotonic() - self._flushed > self._flush_s
        if due or record["kind"] != "step":
            self._flushed = time.monotonic()
            (_at_once if self._metrics.appends else self._later)(self._try_to_flush)
        if self._sink:
            self._sink(record)

    def _try_to_flush(self) -> None:
        try:
            self.flush()
            self._failed = False
        except StorageError as error:
            if not self._failed:
                log.warning("%s; the metrics are kept in memory meanwhile", error.cause)
            self._failed = True

    def flush(self) -> None:
        """What was written before is in the file. Raises StorageError."""
        self._metrics.flush()
        if self._events.appends:
            self._flush_events()

    def _flush_events(self) -> None:
        # TensorBoard only shows what metrics.jsonl holds.
        with contextlib.suppress(StorageError):
            self._events.flush()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.flush()
            else:
                self._try_to_flush()
            self._flush_events()
        finally:
            self._metrics.close()
            self._events.close()


def _line(record: Json) -> bytes:
    return json.dumps(record).encode() + b"\n"
