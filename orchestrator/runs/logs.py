"""Read the logs of the driver and of every worker from a run folder."""

import re
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from workers.errors import RefusedFileError
from workers.records.run_folder import RunFolder
from workers.storage.lines import Line

_MAX_BYTES = 2**29
"""The memory for all lines. The first lines of a log that would take more are left out."""
_BYTES_PER_LINE = 250
"""What a line takes beside its text."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]\d{3}")


@dataclass(frozen=True)
class LogLine:
    """One line of a log."""

    source: str
    """The process that printed the line: `driver`, or for example `worker-0`."""
    time: str
    """When the line was printed; empty if neither it nor a line above it says when."""
    text: str

    @property
    def rank(self) -> int | None:
        """The rank of the worker; None for the driver."""
        _, dash, number = self.source.partition("-")
        return int(number) if dash and number.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.source} | {self.text}"


def read_logs(run: RunFolder, seen: dict[str, int] | None = None) -> list[LogLine]:
    """Return all complete lines, oldest first. Raises StorageError.

    Args:
        seen: how many bytes of each file were read before. These bytes are skipped, and the counts
            are updated.
    """
    seen = {} if seen is None else seen
    folder = run.storage.child(run.LOGS)
    names = folder.list()
    lines: list[LogLine] = []
    for name in names:
        reader = _LogReader(name, seen.get(name, 0), _MAX_BYTES // len(names))
        try:
            lines += folder.read_lines(name, reader.read)
        except FileNotFoundError:
            continue
        except RefusedFileError as error:
            lines += [] if name in seen else [LogLine(reader.source, "", error.cause)]
        seen[name] = reader.seen
    return sorted(lines, key=lambda line: line.time)


class _LogReader:
    """Reads the complete lines of one log."""

    def __init__(self, name: str, seen: int, max_bytes: int) -> None:
        """`seen`: how many bytes were read before. `max_bytes`: the memory for the lines."""
        self.source = name.removesuffix(".log")
        self.seen = seen
        self._before, self._max_bytes = seen, max_bytes

    def read(self, lines: Iterator[Line]) -> list[LogLine]:
        kept: deque[LogLine] = deque()
        num_bytes = num_left_out = 0
        time = ""
        for line in lines:
            if not line.is_whole or line.end <= self._before:
                continue
            self.seen = line.end
            for text in line.data.decode(errors="replace").splitlines() or [""]:
                match = _TIME.match(text)
                # The lines of a traceback have no time. They belong to the line above them.
                time = match.group().replace(",", ".") if match else time
                kept.append(LogLine(self.source, time, text))
                num_bytes += sys.getsizeof(text) + _BYTES_PER_LINE
            while num_bytes > self._max_bytes:
                num_bytes -= sys.getsizeof(kept.popleft().text) + _BYTES_PER_LINE
                num_left_out += 1
        if num_left_out:
            kept.appendleft(LogLine(self.source, "", f"({num_left_out:,} lines are left out here)"))
        return list(kept)
