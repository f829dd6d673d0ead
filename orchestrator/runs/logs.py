"""Read the logs of the driver and of every worker from a run folder."""

import re
from dataclasses import dataclass

from workers.records.run_folder import RunFolder

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
    lines: list[LogLine] = []
    for name in folder.list():
        data = folder.read(name)
        start = seen.get(name, 0)
        end = data.rfind(b"\n") + 1
        seen[name] = max(start, end)
        time = ""
        for text in data[start:end].decode(errors="replace").splitlines():
            match = _TIME.match(text)
            # The lines of a traceback have no time. They belong to the line above them.
            time = match.group().replace(",", ".") if match else time
            lines.append(LogLine(name.removesuffix(".log"), time, text))
    return sorted(lines, key=lambda line: line.time)
