"""`python -m orchestrator.supervisor RUN_URI`: a job's entrypoint on a cluster.

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
    """Runs a command until it leaves by itself, or was ended by signals once too often.

    Returns its last exit code; 128 and the signal's number where one ended it.
    """
    process = _start(command, "")

    def forward(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    for _ in range(MOST_RESTARTS):
        if not (died := what_ended(process.wait())):
            break
        print(died, file=sys.stderr, flush=True)
        process = _start(command, died)
    returncode = process.wait()
    return returncode if returncode >= 0 else 128 - returncode


def _start(command: list[str], died: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, env={**os.environ, DIED: died})


def main(run_uri: str) -> int:
    """The exit code of the job."""
    return keep([sys.executable, "-m", "orchestrator.driver", run_uri])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
