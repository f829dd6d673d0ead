"""What cost a run a restart, in words."""

import time

from workers.errors import StorageError
from workers.jsons import Json
from workers.run_folder import RunFolder


def restarts_of(run: RunFolder) -> list[str]:
    """A line for each failure, notice or resume, oldest first: when (UTC), what kind, why."""
    try:
        return [_line(entry) for entry in run.failures()]
    except StorageError:
        return []


def _line(entry: Json) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.get("time", 0)))
    return f"{at} {entry.get('kind', '')}: {entry.get('reason', '')}"
