"""The logs of a run, from its folder: those of the driver and of every worker."""

import re
from dataclasses import dataclass

from workers.run_folder import RunFolder

_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]\d{3}")


@dataclass(frozen=True)
class LogLine:
    """A line, who printed it (`driver`, `worker-0`), and when (empty where it does not say)."""

    source: str
    time: str
    text: str

    @property
    def rank(self) -> int | None:
        """The worker's, None of the driver."""
        _, dash, number = self.source.partition("-")
        return int(number) if dash and number.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.source} | {self.text}"


def read_logs(run: RunFolder, seen: dict[str, int] | None = None) -> list[LogLine]:
    """All whole lines, oldest first.

    Args:
        seen: bytes by file that were read before; those are left out, and it is brought up to date.
    """
    seen = {} if seen is None else seen
    folder = run.storage.child(run.LOGS)
    lines: list[LogLine] = []
    for name in folder.list():
        data = folder.read(name)
        start = seen.get(name, 0)
        whole = data.rfind(b"\n") + 1
        seen[name] = max(start, whole)
        time = ""
        for text in data[start:whole].decode(errors="replace").splitlines():
            match = _TIME.match(text)
            # A traceback's lines belong to the line above them.
            time = match.group().replace(",", ".") if match else time
            lines.append(LogLine(name.removesuffix(".log"), time, text))
    return sorted(lines, key=lambda line: line.time)
