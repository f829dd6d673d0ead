"""Run a drill's job in one process without Ray.

A fault kills the process, and `rnnjob resume` continues the run; or it suspends the process.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import psutil

from orchestrator.drill.fault_schedule import DRIVER, STORAGE, SUSPEND, Fault
from orchestrator.drill.faults import Injection, hit, missed
from orchestrator.drill.follower import Follower
from orchestrator.observe.evidence import state_here
from orchestrator.runs import RunStatus
from orchestrator.spec.job_spec import JobSpec
from workers.errors import JobError, NoSuchRunError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

KINDS = (DRIVER, STORAGE, SUSPEND)
"""The faults that can be injected here: one process has neither nodes nor several workers."""
_RNNJOB = (sys.executable, "-c", "from orchestrator.cli import run; run()")


class ProcessStage:
    """Uses the commands that a person would use: `rnnjob submit --local` and `rnnjob resume`."""

    where = "one process"

    def __init__(self, spec: JobSpec) -> None:
        """`spec`: a spec that was checked, so its paths are absolute."""
        self._spec = spec
        self._scratch = tempfile.TemporaryDirectory(prefix="rnnjob-drill-")
        self._run = RunFolder(Storage(spec.storage))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, run_id: str) -> RunFolder:
        self._run = RunFolder(Storage(self._spec.storage).child(run_id))
        spec = Path(self._scratch.name) / "job.yaml"
        spec.write_text(self._spec.to_yaml())
        self._rnnjob("submit", "--local", "--config", str(spec), "--run-id", run_id)
        return self._run

    def _rnnjob(self, *words: str) -> None:
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [*_RNNJOB, *words],
                cwd=self._scratch.name,  # the user's folder may contain another package `workers`
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C must reach the drill only, which then ends the run
                env={**os.environ, "NO_COLOR": "1"},
            )

    @property
    def _log(self) -> Path:
        return Path(self._scratch.name) / "stderr.log"

    def is_over(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def status(self) -> RunStatus:
        """Return the run's status. Raises JobError if the process ended before it wrote one."""
        try:
            return state_here(self._run)
        except NoSuchRunError as error:
            lines = self._log.read_text(errors="replace").strip().splitlines()
            raise JobError(
                f"{self._run.run_id} did not start: {lines[0] if lines else 'it printed no error'}",
                "run the same job with rnnjob submit --local",
            ) from error

    def inject(self, fault: Fault, follower: Follower) -> Injection:
        if not follower.wait_for(fault, self.is_over) or self._process is None:
            return missed("the run was over")
        try:
            process = psutil.Process(self._process.pid)
        except psutil.NoSuchProcess:
            return missed("the run was over")
        injection = hit(process, self._run, fault.kind, fault.draw)
        return replace(injection, attempt=follower.attempt)

    def recover(self, fault: Fault) -> None:
        if fault.kind == SUSPEND:
            return
        if self._process:
            self._process.wait()
        storage = self._run.storage.parent_uri
        self._rnnjob("resume", self._run.run_id, "--local", "--storage", storage)

    def close(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        self._scratch.cleanup()
