"""`python -m orchestrator.supervisor RUN_URI [JOB_ID]`: a job's entrypoint on a cluster.

Ray Jobs runs an entrypoint once. This one starts the driver, and starts it again when a signal
ended it: the out-of-memory killer, a person. The driver then goes on from the last checkpoint. A
driver that leaves by itself has written its outcome, and its exit code is the job's.

Imports nothing but the standard library: it lives as long as the job, and starts before all else.
"""

import os
import signal
import subprocess
import sys
from types import FrameType

DIED = "RNNJOB_DRIVER_DIED"
"""Tells a driver what ended the one before it; there, but empty, for the first. That it is there
tells that its parent would start it again."""
KEEPER = "RNNJOB_KEEPER_PID"
"""Tells a driver which process would start it again; by the time it looks that may be gone."""
MOST_RESTARTS = 20
"""The driver itself counts against `limits.max_failures`; this ends one that dies before it can."""


def what_ended(returncode: int) -> str:
    """Of a driver that a signal ended, in words; empty for one that left by itself."""
    if returncode >= 0:
        return ""
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"the driver was killed by {name}"


def keep(command: list[str]) -> int:
    """Runs a command until it leaves by itself, was to be stopped, or was ended by signals once too
    often.

    Returns its last exit code; 128 and the signal's number where one ended it.
    """
    kept = _Kept(command)
    signal.signal(signal.SIGTERM, kept.stop)
    died = ""
    for _ in range(1 + MOST_RESTARTS):
        returncode = kept.run(died)
        died = what_ended(returncode)
        if not died or kept.is_stopping:
            break
        print(died, file=sys.stderr, flush=True)
    return returncode if returncode >= 0 else 128 - returncode


class _Kept:
    def __init__(self, command: list[str]) -> None:
        self.is_stopping = False
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, died: str) -> int:
        self._process = subprocess.Popen(self._command, env={**os.environ, **told(died)})
        if self.is_stopping:  # asked for while it was being started
            self._process.terminate()
        return self._process.wait()

    def stop(self, number: int, _: FrameType | None) -> None:
        self.is_stopping = True
        if self._process:
            self._process.send_signal(number)


def told(died: str) -> dict[str, str]:
    """What a driver's environment tells it of this process."""
    return {DIED: died, KEEPER: str(os.getpid())}


def main(run_uri: str, *job_id: str) -> int:
    """The exit code of the job. `job_id`: of Ray Jobs, where it is not the run's own."""
    return keep([sys.executable, "-m", "orchestrator.driver", run_uri, *job_id])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
