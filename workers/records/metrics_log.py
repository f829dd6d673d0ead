"""Write metrics.jsonl and the TensorBoard events: one record per start, step and epoch.

Worker 0 writes them. For the content of a record see `workers.records.record_kinds`.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from workers.errors import StorageError
from workers.records.event_file import encode_event, open_event_file
from workers.records.run_folder import RunFolder
from workers.storage.growing_file import GrowingFile
from workers.storage.typed_json import Json

log = logging.getLogger(__name__)
_FLUSH_S = 0.5
_FLUSH_REMOTE_S = 10.0  # a remote storage cannot append: each flush writes the whole file


RecordSink = Callable[[Json], None]
"""Receives each record as soon as it is written."""
Flush = Callable[[], None]


def _at_once(flush: Flush) -> None:
    flush()


@dataclass(frozen=True)
class RestartCost:
    """The cost of a restart of the workers."""

    repeated_steps: int = 0
    """Steps that were recorded before the restart and are now computed again."""
    idle_s: float = 0.0
    """Seconds from the last record before the restart until now."""

    @classmethod
    def of(cls, records: list[Json], resumed_at: int) -> "RestartCost":
        """Return the cost of a restart at step `resumed_at`, given the records before it."""
        if not records:
            return cls()
        last = records[-1]
        now = time.time()
        return cls(max(0, last.get("step", 0) - resumed_at), now - last.get("time", now))


class MetricsLog:
    """Records every step once: on a resume, it first drops the records after the checkpoint.

    A context manager. If a flush fails, training goes on, and the next flush writes the data again.
    Only the last flush, at the end of the block, raises StorageError.
    """

    def __init__(
        self,
        run: RunFolder,
        resumed_at: int,
        sink: RecordSink | None = None,
        defer: Callable[[Flush], None] = _at_once,
        check_owner: Flush = lambda: None,
    ) -> None:
        """Drop the records after the checkpoint and begin the files. Raises StorageError.

        Args:
            resumed_at: the step of the checkpoint from which training goes on; 0 without one.
            sink: receives each record.
            defer: runs a slow flush in another thread, one at a time. It may skip a flush.
            check_owner: raises an error if the run is another process's, whose records a flush on a
                remote storage would replace.
        """
        self._sink, self._defer, self._check_owner = sink, defer, check_owner
        records = run.read_metrics()
        self.restart_cost = RestartCost.of(records, resumed_at)
        earlier = [
            record
            for record in records
            if record.get("kind") == "start"
            or (record.get("kind") != "test" and record.get("step", 0) <= resumed_at)
        ]
        self._starts_with_steps = _starts_with_steps(earlier, resumed_at)
        self.attempt = 1 + max((record.get("attempt", 0) for record in earlier), default=0)
        lines = b"".join(_line(record) for record in earlier)
        self._metrics = GrowingFile(run.storage, run.METRICS, lines)
        self._events = open_event_file(run, resumed_at, self.attempt)
        self._flush_s = _FLUSH_S if self._metrics.appends else _FLUSH_REMOTE_S
        self._flushed = time.monotonic()
        self._failed = False

    def devices_of_other_steps(self, arithmetic_sha256: str) -> Iterator[str]:
        """Yield the devices that computed steps of this run with another arithmetic."""
        for start in self._starts_with_steps:
            if start.get("arithmetic_sha256", arithmetic_sha256) != arithmetic_sha256:
                device = str(start.get("device", "another device"))
                yield f"{start['node']}: {device}" if "node" in start else device

    def write(self, record: Json) -> None:
        """Add a record. The files are flushed regularly, and after each record but a step's."""
        self._metrics.add(_line(record))
        self._events.add(encode_event(record))
        due = time.monotonic() - self._flushed > self._flush_s
        if due or record["kind"] != "step":
            self._flushed = time.monotonic()
            (_at_once if self._metrics.appends else self._defer)(self._try_to_flush)
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
        """Bring all records so far into the file. Raises StorageError."""
        if not self._metrics.appends:
            self._check_owner()
        self._metrics.flush()
        if self._events.appends:
            self._flush_events()

    def _flush_events(self) -> None:
        # A failure loses nothing: TensorBoard only shows what metrics.jsonl holds.
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


def _starts_with_steps(earlier: list[Json], resumed_at: int) -> list[Json]:
    """Return the records of the starts after which steps were taken that count."""
    starts = [record for record in earlier if record.get("kind") == "start"]
    ends = [*(record.get("step", 0) for record in starts[1:]), resumed_at]
    return [
        start
        for start, end in zip(starts, ends, strict=False)
        if start.get("step", 0) < min(end, resumed_at)
    ]


def _line(record: Json) -> bytes:
    return json.dumps(record).encode() + b"\n"
