"""Ray on this machine, started for one job and gone with it.

The driver is a process of its own, the same that runs on a cluster. So it can be ended with all
that belongs to it, and Ray's chatter goes to logs/driver.log of the run.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from orchestrator import runs
from orchestrator.cluster import loopback
from orchestrator.cluster.capacity import check_gpus_here
from orchestrator.cluster.ray_command import short_temp_dir
from orchestrator.driver import private_ray
from orchestrator.driver.environment import RAY_DIR, SUBMIT_DIR, told_by_parent
from orchestrator.driver.ray_guard import RayGuard
from orchestrator.driver.supervisor import MAX_RESTARTS, signal_that_ended
from orchestrator.runs.hardware import num_gpus
from workers.errors import StorageError
from workers.records.run_folder import RunFolder
from workers.storage.lines import Line
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from orchestrator.spec.job_spec import JobSpec

_LOG = "driver.log"
_NOTE_EVERY_S = 3.0


class RayHereLauncher:
    """Starts `python -m orchestrator.driver`, and ends all that belongs to it."""

    mode = runs.RAY
    address = ""
    leaves_on_interrupt = False

    def __init__(self, verbose: bool = False) -> None:
        """`verbose`: let the driver print to this process's terminal instead of its log."""
        self._verbose = verbose
        self._process: subprocess.Popen[bytes] | None = None
        self._ray_dir: Path | None = None
        self._guard: RayGuard | None = None
        self._logs: Storage | None = None
        """The folder with the driver's log, on this machine."""
        self._descendants: set[psutil.Process] = set()
        self._noted_at = 0.0
        self._restarts_left = MAX_RESTARTS
        self._program: tuple[str, ...] = ()
        """The module that is run, with its arguments."""

    def check(self, run: RunFolder, spec: "JobSpec", job_id: str) -> dict[str, Any]:
        if spec.scaling.gpus_per_worker:
            check_gpus_here(spec, num_gpus())
        return {}

    def submit(self, run: RunFolder) -> None:
        if not self._program:
            job_id = runs.read_status(run).job_id
            self._program = ("orchestrator.driver", run.storage.uri, *([job_id] if job_id else ()))
        try:
            self._start(run)
        except OSError as error:
            raise StorageError(
                f"cannot start the driver: {error}",
                f"see that {short_temp_dir()} and the run folder are writable",
            ) from error

    def submit_program(
        self, run: RunFolder, program: tuple[str, ...], pip: tuple[str, ...]
    ) -> None:
        """Start another program than the driver of a run, on a folder that has a place for logs.

        It installs the packages itself. Raises JobError.
        """
        self._program = program
        self.submit(run)

    def _start(self, run: RunFolder, previous_death: str = "") -> None:
        """`previous_death`: what ended the driver before this one."""
        self._ray_dir = private_ray.create_folder()
        with contextlib.suppress(OSError):  # a precaution; no job fails for want of it
            self._guard = RayGuard(self._ray_dir)
        environment = {**driver_environment(self._ray_dir), **told_by_parent(previous_death)}
        is_local = run.storage.local_path is not None
        self._logs = run.storage.child(run.LOGS) if is_local else Storage(str(self._ray_dir))
        self._logs.create()
        with self._logs.open_to_append(_LOG) as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._program],
                # Python and Ray look for modules in the working directory first, and a user's
                # folder may well hold a `workers` of its own.
                cwd=self._ray_dir,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=None if self._verbose else log,
                stderr=None if self._verbose else log,
                start_new_session=True,  # this process handles Ctrl-C
            )

    def is_alive(self, run: RunFolder) -> bool:
        if self._process is None:
            return False
        if self._process.poll() is None:
            self._note_descendants(self._process.pid)
            return True
        death = signal_that_ended(self._process.returncode)
        self._clean_up()
        if not death or not self._restarts_left:
            return False
        # The supervisor does the same on a cluster. Here the driver's Ray has to go first.
        self._restarts_left -= 1
        self._start(run, death)
        return True

    def _note_descendants(self, driver: int) -> None:
        """Remember the driver's descendants. Once the driver is dead they cannot be told from other
        processes, since Ray's processes write their titles over their environment."""
        if time.monotonic() - self._noted_at > _NOTE_EVERY_S:
            self._noted_at = time.monotonic()
            with contextlib.suppress(psutil.Error):
                self._descendants.update(psutil.Process(driver).children(recursive=True))

    def why_it_ended(self, run: RunFolder) -> str:
        last = ""
        with contextlib.suppress(FileNotFoundError, StorageError):
            last = self._logs.read_lines(_LOG, _last_text) if self._logs else ""
        return f"it last printed: {last}" if last else ""

    def kill(self, run: RunFolder) -> bool:
        self._restarts_left = 0
        if self._process and self._process.poll() is None:
            private_ray.end([psutil.Process(self._process.pid)], grace_s=0)
            self._process.wait()
        self._clean_up()
        return True

    def _clean_up(self) -> None:
        """End what is left of this job's Ray, which its own folder identifies, and the folder."""
        if self._ray_dir and self._ray_dir.exists():
            private_ray.remove(self._ray_dir, self._descendants)
        if self._guard:
            self._guard.end()
            self._guard = None


def _last_text(lines: Iterator[Line]) -> str:
    """Return the last line that is not blank; empty if all are."""
    last = deque((line.data for line in lines if line.data.strip()), maxlen=1)
    return b"".join(last).decode(errors="replace")


def driver_environment(ray_dir: Path) -> dict[str, str]:
    """Return what the driver needs to know before it imports Ray."""
    return {
        **loopback.ENVIRONMENT,
        RAY_DIR: str(ray_dir),
        SUBMIT_DIR: str(Path.cwd()),
        # A token for this job alone: its Ray must not touch ~/.ray, nor trust other users.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
