"""`python -m orchestrator.driver.supervisor RUN_URI [JOB_ID]`: a job's entrypoint on a cluster.

Ray Jobs runs an entrypoint once. This one starts the driver, and starts it again when a signal
ended it: the out-of-memory killer's, or a person's. The driver then goes on from the last
checkpoint. A driver that exits by itself has written its outcome, and its exit code is the job's.

Imports nothing but the standard library: the supervisor lives as long as the job and starts before
all else.
"""

import os
import signal
import subprocess
import sys
from types import FrameType

from orchestrator.driver.environment import told_by_parent

MAX_RESTARTS = 20
"""The driver itself counts against `limits.max_failures`. This limit is for a driver that always
dies before it can count."""


def signal_that_ended(returncode: int) -> str:
    """Say in words which signal ended a driver. Empty if the driver exited by itself."""
    if returncode >= 0:
        return ""
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"the driver was killed by {name}"


def keep_running(command: list[str]) -> int:
    """Run a command again and again, until it exits by itself or SIGTERM asks it to end.

    Gives up after `MAX_RESTARTS`. Returns the last exit code, which is 128 plus the signal's number
    if a signal ended the command.
    """
    driver = _Driver(command)
    signal.signal(signal.SIGTERM, driver.stop)
    death = ""
    for _ in range(1 + MAX_RESTARTS):
        returncode = driver.run(death)
        death = signal_that_ended(returncode)
        if not death or driver.is_stopping:
            break
        print(death, file=sys.stderr, flush=True)
    return returncode if returncode >= 0 else 128 - returncode


class _Driver:
    def __init__(self, command: list[str]) -> None:
        self.is_stopping = False
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, previous_death: str) -> int:
        environment = {**os.environ, **told_by_parent(previous_death)}
        self._process = subprocess.Popen(self._command, env=environment)
        if self.is_stopping:  # the stop was asked for while the process was being started
            self._process.terminate()
        return self._process.wait()

    def stop(self, number: int, _: FrameType | None) -> None:
        self.is_stopping = True
        if self._process:
            self._process.send_signal(number)


def main(run_uri: str, *job_id: str) -> int:
    """Return the exit code of the job. `job_id`: Ray Jobs' id, if it is not the run's own."""
    return keep_running([sys.executable, "-m", "orchestrator.driver", run_uri, *job_id])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
