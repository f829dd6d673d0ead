"""Ray on this machine, started for one job and gone with it.

The driver is a process of its own: it outlives neither the job nor a kill, and Ray's chatter goes
to logs/driver.log of the run. It is the same driver that runs on a cluster.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from orchestrator.provenance import SUBMIT_DIR
from orchestrator.supervisor import MOST_RESTARTS, told, what_ended
from workers.errors import StorageError
from workers.run_folder import RunFolder

PRIVATE_DIR = "RNNJOB_RAY_DIR"
"""Tells the driver where its own Ray keeps its files, and its processes from others."""
_GRACE_S = 5.0
_NOTE_S = 3.0


class RayHereLauncher:
    """Starts `python -m orchestrator.driver` and ends all that belongs to it."""

    mode = "ray"
    leaves_on_interrupt = False

    def __init__(self, verbose: bool = False) -> None:
        self._verbose = verbose
        self._process: subprocess.Popen[bytes] | None = None
        self._ray_dir: Path | None = None
        self._log: Path | None = None
        self._family: set[psutil.Process] = set()
        self._noted = 0.0
        self._restarts_left = MOST_RESTARTS

    def submit(self, run: RunFolder) -> None:
        try:
            self._start(run)
        except OSError as error:
            raise StorageError(
                f"cannot start the driver: {error}", "see that /tmp and the run folder are writable"
            ) from error

    def _start(self, run: RunFolder, died: str = "") -> None:
        """`died`: what ended the driver before this one."""
        # Short: Ray puts sockets below it, whose paths the kernel caps at 107 bytes.
        self._ray_dir = Path(tempfile.mkdtemp(prefix="rnnjob-", dir="/tmp"))
        self._log = self._log_path(run)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.driver", run.storage.uri],
                # Python and Ray look for modules in the working directory first; a user's folder
                # may well have a `workers` of its own.
                cwd=self._ray_dir,
                env={**os.environ, **driver_environment(self._ray_dir), **told(died)},
                stdin=subprocess.DEVNULL,
                stdout=None if self._verbose else log,
                stderr=None if self._verbose else log,
                start_new_session=True,  # Ctrl-C is ours to handle
            )

    def _log_path(self, run: RunFolder) -> Path:
        assert self._ray_dir is not None
        return (run.storage.local_path or self._ray_dir) / run.LOGS / "driver.log"

    def is_alive(self, run: RunFolder) -> bool:
        if self._process is None:
            return False
        if self._process.poll() is None:
            self._note_family(self._process.pid)
            return True
        died = what_ended(self._process.returncode)
        self._clean_up()
        if not died or not self._restarts_left:
            return False
        # As `orchestrator.supervisor` does on a cluster; here its Ray has to go first.
        self._restarts_left -= 1
        self._start(run, died)
        return True

    def _note_family(self, driver: int) -> None:
        """Remembers the driver's descendants: once it is dead they cannot be told any more, since
        Ray's processes write their titles over their environment."""
        if time.monotonic() - self._noted > _NOTE_S:
            self._noted = time.monotonic()
            with contextlib.suppress(psutil.Error):
                self._family.update(psutil.Process(driver).children(recursive=True))

    def why_it_ended(self, run: RunFolder) -> str:
        if self._log is None or not self._log.exists():
            return ""
        lines = self._log.read_text(errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"it last printed: {last}" if last else ""

    def kill(self, run: RunFolder) -> bool:
        self._restarts_left = 0
        if self._process and self._process.poll() is None:
            _end([psutil.Process(self._process.pid)], grace_s=0)
            self._process.wait()
        self._clean_up()
        return True

    def _clean_up(self) -> None:
        """Ends what is left of this job's Ray, told by its own folder, and removes the folder."""
        if self._ray_dir and self._ray_dir.exists():
            _end([*self._family, *_processes_of(self._ray_dir)], _GRACE_S)
            shutil.rmtree(self._ray_dir, ignore_errors=True)


def driver_environment(ray_dir: Path) -> dict[str, str]:
    """What the driver needs to know before it imports Ray."""
    return {
        PRIVATE_DIR: str(ray_dir),
        SUBMIT_DIR: str(Path.cwd()),
        # A token of this job's own: a private Ray must not touch ~/.ray, nor trust other users.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


def _processes_of(ray_dir: Path) -> list[psutil.Process]:
    """Processes that were started with this folder in their environment or command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mine = process.environ().get(PRIVATE_DIR) == str(ray_dir)
            if mine or any(str(ray_dir) in word for word in process.cmdline()):
                found.append(process)
    return found


def _end(processes: list[psutil.Process], grace_s: float) -> None:
    """Ends processes with all below them: SIGTERM, then SIGKILL."""
    everyone = set(processes)
    for process in processes:
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
