"""A Ray of its own for one job on this machine: its folder, its processes, and what is left of it.

The client that starts a job removes both, and if that is killed, the driver does. If both were
killed, the guard that the client started does (`orchestrator.driver.ray_guard`). What stays because
all three were killed, or the machine was lost, `rnnjob cluster clean` removes.
"""

import contextlib
import json
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestrator.cluster.ray_command import short_temp_dir
from orchestrator.driver.environment import RAY_DIR
from workers.records.processes import lives, start_of
from workers.storage.typed_json import mistyped_key, parse_object

_PREFIX = "rnnjob-"
_CLIENT = "client.json"
_CLIENT_TYPES = {"host": str, "pid": int, "pid_started": float}
_DRIVERS = {"orchestrator.driver", "orchestrator.driver.parts"}
GUARD = "orchestrator.driver.ray_guard"
GRACE_S = 5.0


@dataclass(frozen=True)
class Leftover:
    """A folder whose client and driver are gone, and the processes that still belong to it."""

    folder: Path
    processes: tuple[psutil.Process, ...]


def create_folder() -> Path:
    """Create the folder for the Ray of a job that this process starts. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=short_temp_dir()))
    client = {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": start_of()}
    (folder / _CLIENT).write_text(json.dumps(client))
    return folder


def find_leftovers() -> list[Leftover]:
    """Return what is left on this machine of this user's jobs, whose processes were killed.

    A driver that lives ends by itself, with a checkpoint, and removes its folder.
    """
    found = []
    for folder in sorted(Path(short_temp_dir()).glob(f"{_PREFIX}*")):
        if _is_of_dead_client(folder):
            processes = processes_of(folder)
            if not any(_runs(process, _DRIVERS) for process in processes):
                found.append(Leftover(folder, tuple(processes)))
    return found


def remove(folder: Path, more: set[psutil.Process] | None = None) -> None:
    """End what belongs to a folder, and `more`, and remove the folder."""
    end([*(more or ()), *processes_of(folder)], GRACE_S)
    shutil.rmtree(folder, ignore_errors=True)


def _is_of_dead_client(folder: Path) -> bool:
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        client = parse_object((folder / _CLIENT).read_bytes())
    except (OSError, ValueError):
        return False  # it is no such folder, or is being created or removed
    if mistyped_key(client, _CLIENT_TYPES) is not None or not client.keys() >= set(_CLIENT_TYPES):
        return False
    is_here = client["host"] == socket.gethostname()
    return is_here and not lives(client["pid"], client["pid_started"])


def has_driver(folder: Path) -> bool:
    """Return whether a driver lives that was started for a folder."""
    return any(_runs(process, _DRIVERS) for process in processes_of(folder))


def _runs(process: psutil.Process, modules: set[str]) -> bool:
    with contextlib.suppress(psutil.Error):
        return not modules.isdisjoint(process.cmdline())
    return False


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes that were started for this folder, but for its guard, which must outlive
    them: who ends them may be killed meanwhile.

    It is in their environment or their command line. Some of Ray's write a title over both; their
    working directory still tells.
    """
    return [
        process
        for process in psutil.process_iter()
        if _belongs(process, str(folder)) and not _runs(process, {GUARD})
    ]


def _belongs(process: psutil.Process, folder: str) -> bool:
    with contextlib.suppress(psutil.Error):
        if process.environ().get(RAY_DIR) == folder:
            return True
    with contextlib.suppress(psutil.Error):
        if Path(process.cwd()).is_relative_to(folder):
            return True
    with contextlib.suppress(psutil.Error):
        return any(folder in word for word in process.cmdline())
    return False


def end(processes: list[psutil.Process], grace_s: float) -> None:
    """End processes and all below them: SIGTERM first if there is grace, then SIGKILL.

    Never process 1, below which are all others, nor this one.
    """
    everyone = {process for process in processes if process.pid > 1}
    for process in list(everyone):
        with contextlib.suppress(psutil.Error):
            everyone.update(process.children(recursive=True))
    everyone.discard(psutil.Process())
    if grace_s:
        for process in everyone:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        psutil.wait_procs(list(everyone), timeout=grace_s)
    for process in everyone:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(list(everyone), timeout=grace_s)
