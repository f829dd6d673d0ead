"""Send a run with its model to a tracker.

`python -m orchestrator.trained.track RUN_URI` does so while the job runs. It is started by
`orchestrator.tracking.process`.
"""

import os
import sys
import threading
import time
from pathlib import Path

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.spec.plan import read_spec
from orchestrator.tracking.mlflow_run import Clock
from orchestrator.tracking.process import END_S, SILENCE_S, send_the_rest
from orchestrator.tracking.sender import Sender, Sent
from orchestrator.trained.export import export_run
from orchestrator.trained.trained_run import open_trained
from workers import secrets
from workers.errors import JobError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

_POLL_S = 5.0
_LONGEST_PAUSE_S = 60.0
_LOOK_S = 0.1


def sender_of(run: RunFolder, uri: str, trust_code: bool, clock: Clock | None = None) -> Sender:
    """Return what sends a run with its model.

    `trust_code`: whether the code of the run's own model may be run, whoever wrote it.
    """

    def make_bundle(folder: Path) -> None:
        trained = open_trained(Storage(run.storage.parent_uri), run.run_id, trust_code)
        export_run(trained, "bundle", folder)

    return Sender(run, uri, make_bundle, clock)


def track(run: RunFolder, status: RunStatus, uri: str, trust_code: bool) -> Sent:
    """Send what a tracker has not got of a run. Raises JobError."""
    return sender_of(run, uri, trust_code).send(status)


class _Companion:
    """Sends a run until its job has ended, and tells each outage of the tracker once."""

    def __init__(self, run: RunFolder, uri: str) -> None:
        self._run = run
        self._clock = Clock()
        self._over = threading.Event()
        self._has_told = False
        # The job's own process trusts the code that it runs.
        self._sender = sender_of(run, uri, trust_code=True, clock=self._clock)

    def follow(self) -> int:
        """Return the exit code: 0 if everything was sent."""
        threading.Thread(target=self._wait_for_end, daemon=True).start()
        pause_s = _POLL_S
        while True:
            is_last = self._over.wait(pause_s)
            is_sent = self._send()
            if is_last:
                return 0 if is_sent else 1
            pause_s = _POLL_S if is_sent else min(2 * pause_s, _LONGEST_PAUSE_S)

    def _send(self) -> bool:
        try:
            self._sender.send(runs.read_status(self._run))
        except JobError as error:
            self._tell(error.cause)
            return False
        self._has_told = False
        return True

    def _tell(self, why: str) -> None:
        if not self._has_told:
            self._has_told = True
            rest = send_the_rest(self._run)
            print(f"{why}; the job goes on, and this sends what is missing: {rest}", flush=True)

    def _wait_for_end(self) -> None:
        """Once the job has ended, end this process in time, whatever the tracker does."""
        sys.stdin.read()
        self._over.set()
        ended = time.monotonic()
        while (now := time.monotonic()) - ended < END_S:
            since = self._clock.waits_since
            if since is not None and now - max(since, ended) > SILENCE_S:
                self._tell(f"the tracker has not answered for {SILENCE_S:.0f} s")
                os._exit(1)
            time.sleep(_LOOK_S)
        self._tell(f"the tracker has not got everything within {END_S:.0f} s")
        os._exit(1)


def main(run_uri: str) -> int:
    """Send a run until standard input is closed."""
    secrets.load()
    run = RunFolder.at(run_uri)
    uri = read_spec(run).tracking.mlflow
    return _Companion(run, uri).follow() if uri else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
