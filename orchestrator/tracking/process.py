"""The process that sends a run to its tracker while the job runs.

It is a process of its own, so that neither MLflow's imports and threads nor a tracker that hangs
can touch the training. It ends by itself once its standard input is closed: at the end of the job,
and when the process that runs the job dies.
"""

import contextlib
import logging
import os
import subprocess
import sys
import threading

from orchestrator.runs import next_command
from orchestrator.spec.plan import read_spec
from workers.errors import JobError
from workers.records.run_folder import RunFolder

END_S = 60.0
"""How long the process may send after the job has ended."""
SILENCE_S = 10.0
"""How long it waits then for a tracker that does not answer."""
_PROGRAM = "orchestrator.trained.track"
_GRACE_S = 5.0

log = logging.getLogger(__name__)


class TrackerProcess:
    """A context manager around a job. At its end, the process has sent all, or as much as it could
    in a minute. Whatever goes wrong is a line in the log, and nothing else."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "TrackerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(END_S + _GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._reader.join(_GRACE_S)

    def start(self) -> None:
        """Start the process, if the run's spec names a tracker."""
        try:
            if read_spec(self._run).tracking.mlflow is None:
                return
            self._process = _start(self._run)
        except (JobError, OSError) as error:  # a spec that cannot be read ends the job by itself
            log.warning("the run is not sent to its tracker: %s", error)
            return
        self._reader = threading.Thread(
            target=_log_lines, args=(self._process,), name="tracker", daemon=True
        )
        self._reader.start()


def send_the_rest(run: RunFolder) -> str:
    """Return the command that sends what a tracker has not got."""
    return next_command(run, "track")


def _start(run: RunFolder) -> "subprocess.Popen[str]":
    path = os.pathsep.join(entry for entry in sys.path if os.path.isabs(entry))  # noqa: PTH117
    return subprocess.Popen(
        [sys.executable, "-m", _PROGRAM, run.storage.uri],
        # Python looks for modules in the working directory first, and this one holds none.
        cwd="/",
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is for the job, whose end is to be sent
    )


def _log_lines(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        log.warning("%s", line.rstrip())
