"""`python -m orchestrator.driver RUN_URI [JOB_ID]`: the process that runs a job on Ray.

Reads the job from its run folder, has Ray Train train it, and writes the outcome there.
"""

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
import time

from orchestrator import runs
from orchestrator.execution import Owner, execute
from orchestrator.launchers.ray_here import PRIVATE_DIR
from orchestrator.supervisor import DIED, KEEPER
from orchestrator.training import RayTrainer
from workers import secrets
from workers.errors import StorageError
from workers.run_folder import RunFolder, StopRequest
from workers.run_log import RunLog, logged

_SIGTERM = StopRequest("terminated by SIGTERM")
_PARENT_POLL_S = 1.0
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # the end of training is seen as soon
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # else every print shows twice
    # How often Ray looks for nodes that are about to be taken away.
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "2",
    # The elastic policy may ask for nodes that have just gone. It is the time that their resources
    # may take; workers may take longer to start.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def main(run_uri: str, job_id: str = "") -> int:
    """Runs the job; its exit code. `job_id`: of Ray Jobs, where it is not the run's own."""
    secrets.load()
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    private_dir = os.environ.get(PRIVATE_DIR)
    run = RunFolder.at(run_uri).patient()
    _heed_sigterm(run)
    keeper_pid = int(os.environ.get(KEEPER) or 0)
    if private_dir:
        # What it preempts is this machine, and then nobody is left to be told.
        os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
        threading.Thread(target=_stop_without, args=(keeper_pid, run), daemon=True).start()
    # On this machine, who started the driver sends what it prints to the same file.
    handler = logging.StreamHandler() if private_dir else RunLog(run, "driver")
    owner = Owner(
        job_id,
        runs.keeper_process(keeper_pid) if keeper_pid else {},
        os.environ.get(DIED, ""),
    )
    try:
        with logged(handler):
            return execute(run, RayTrainer(private_dir), owner).exit_code or 0
    finally:
        if private_dir:
            # Who started the driver does it too, but may be gone.
            shutil.rmtree(private_dir, ignore_errors=True)


def _heed_sigterm(run: RunFolder) -> None:
    """`ray job stop`, `rnnjob stop --force`, or a person: with a checkpoint unless told not to.

    In a thread: a storage may take its time, and its errors are nothing for the main thread.
    """
    asked = threading.Event()

    def stop() -> None:
        while asked.wait():  # again: a stop that takes its time may be forced
            asked.clear()
            with contextlib.suppress(StorageError):
                request = run.stop_request()
                if request and request.at_once:
                    os._exit(request.exit_code)
                run.ask_to_stop(_SIGTERM)

    threading.Thread(target=stop, name="sigterm", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())


def _stop_without(parent: int, run: RunFolder) -> None:
    """A job on a Ray of its own ends, with a checkpoint, when who started it is gone."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    run.ask_to_stop(StopRequest("the process that started it is gone"))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
