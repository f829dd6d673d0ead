"""The processes of a local cluster: find them among all others, and end them."""

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from orchestrator.cluster.local_registry import ProcessId
from workers.records.processes import lives, start_of

MARK = "RNNJOB_CLUSTER_DIR"
"""The environment variable that marks a cluster's processes. It holds the folder of their node."""
_KILL_WAIT_S = 5.0
_POLL_S = 0.05


def identify(process: psutil.Process) -> ProcessId:
    """Return the id by which `running` finds a process. Raises psutil.Error if it has ended."""
    scripts = (Path(word).stem for word in process.cmdline() if word.endswith(".py"))
    name = next(scripts, process.name())
    return ProcessId(process.pid, start_of(process.pid) or 0.0, name)


def running(known: Iterable[ProcessId]) -> set[psutil.Process]:
    """Return the processes that still run. A later process with the same pid does not count."""
    processes = set()
    for process_id in known:
        with contextlib.suppress(psutil.Error):
            if lives(process_id.pid, process_id.started):
                processes.add(psutil.Process(process_id.pid))
    return processes


def find(folder: Path) -> set[psutil.Process]:
    """Return all processes that were started for a folder, and their descendants.

    A process belongs to a folder if `MARK` in its environment says so, or if its output goes to a
    file in the folder. The mark is not enough: Ray's workers and agents overwrite their environment
    with their titles, and they have no parent once their raylet was killed. A command line that
    names the folder proves nothing: it may be the user's editor.
    """
    processes = {process for process in psutil.process_iter() if _belongs(process, folder)}
    return with_descendants(processes)


def with_descendants(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Return the living processes among these and their descendants.

    This process itself is left out: it may run in a job on the cluster.
    """
    everyone = set(processes)
    for process in list(everyone):
        with contextlib.suppress(psutil.Error):
            everyone.update(process.children(recursive=True))
    everyone.discard(psutil.Process())
    return {process for process in everyone if is_alive(process)}


def _belongs(process: psutil.Process, folder: Path) -> bool:
    # Either reading may fail while the other one succeeds.
    with contextlib.suppress(psutil.Error, OSError):
        mark = process.environ().get(MARK)
        if mark and Path(mark).is_relative_to(folder):
            return True
    with contextlib.suppress(psutil.Error, OSError):
        outputs = (file.path for file in process.open_files() if file.fd in (1, 2))
        return any(Path(path).is_relative_to(folder) for path in outputs)
    return False


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs. A zombie does not."""
    # In a container, it is possible that no process ever collects a zombie's exit code.
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def end(processes: Iterable[psutil.Process], grace_s: float) -> set[psutil.Process]:
    """Send SIGTERM, and SIGKILL after `grace_s` seconds. Return the processes that still live.

    psutil checks the start time before each signal, so a later process with the same pid is safe.
    Process 1 is nobody's to end, whatever a record says: all others are below it.
    """
    everyone = {process for process in processes if process.pid > 1}
    for process in everyone:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    left = _wait(everyone, grace_s)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return _wait(left, _KILL_WAIT_S)


def _wait(processes: set[psutil.Process], timeout_s: float) -> set[psutil.Process]:
    until = time.monotonic() + timeout_s
    while (left := {p for p in processes if is_alive(p)}) and time.monotonic() < until:
        time.sleep(_POLL_S)
    return left
