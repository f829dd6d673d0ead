"""The processes of a local cluster: telling them from all others, and ending them."""

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from orchestrator.cluster.state import ProcessId

MARK = "RNNJOB_CLUSTER_DIR"
_CLOCK_S = 1.0
_KILL_WAIT_S = 5.0
_LOOK_S = 0.05


def identify(process: psutil.Process) -> ProcessId:
    """Raises psutil.Error where it is gone."""
    scripts = (Path(word).stem for word in process.cmdline() if word.endswith(".py"))
    return ProcessId(process.pid, process.create_time(), next(scripts, process.name()))


def running(known: Iterable[ProcessId]) -> set[psutil.Process]:
    """Those that still run, and are not another process of the same id."""
    found = set()
    for one in known:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(one.pid)
            if lives(process) and abs(process.create_time() - one.started) < _CLOCK_S:
                found.add(process)
    return found


def find(folder: Path) -> set[psutil.Process]:
    """All processes that were started for a folder, with all below them.

    Told by the mark in their environment, or by their output going to a file in the folder: Ray's
    workers and agents write their titles over their environment, and one whose raylet was killed
    has no parent. A command line that names the folder is no proof: it may be the user's editor.
    """
    found = {process for process in psutil.process_iter() if _belongs(process, folder)}
    return with_descendants(found)


def with_descendants(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Without this process itself, which may run in a job on the cluster."""
    everyone = set(processes)
    for process in list(everyone):
        with contextlib.suppress(psutil.Error):
            everyone.update(process.children(recursive=True))
    everyone.discard(psutil.Process())
    return {process for process in everyone if lives(process)}


def _belongs(process: psutil.Process, folder: Path) -> bool:
    # Each of the two may be denied or garbled on its own.
    with contextlib.suppress(psutil.Error, OSError):
        mark = process.environ().get(MARK)
        if mark and Path(mark).is_relative_to(folder):
            return True
    with contextlib.suppress(psutil.Error, OSError):
        outputs = (file.path for file in process.open_files() if file.fd in (1, 2))
        return any(Path(path).is_relative_to(folder) for path in outputs)
    return False


def lives(process: psutil.Process) -> bool:
    """A zombie does not: in a container nobody may ever fetch its exit code."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def end(processes: Iterable[psutil.Process], grace_s: float) -> set[psutil.Process]:
    """SIGTERM, after `grace_s` SIGKILL; returns those that live on all the same.

    psutil looks at the start time before each signal: no later process of the same id is hit.
    """
    everyone = set(processes)
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
    while (left := {p for p in processes if lives(p)}) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return left
