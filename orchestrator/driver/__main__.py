"""`python -m orchestrator.driver RUN_URI [JOB_ID]`: the process that runs a job on Ray.

It reads the job from its run folder, has Ray Train train it, and writes the outcome there.
"""

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from typing import Any

from orchestrator import runs
from orchestrator.driver.environment import DriverEnvironment
from orchestrator.driver.execute import Start, execute
from orchestrator.driver.ray_trainer import RayTrainer
from workers import secrets
from workers.errors import JobError, StorageError
from workers.records.ray_metadata import show_metadata
from workers.records.run_folder import RunFolder, StopRequest
from workers.records.run_log import RunLog, log_to

log = logging.getLogger(__name__)
_CLIENT_GONE = StopRequest("the process that started it is gone")
_SUPERVISOR_GONE = StopRequest("the supervisor of the driver was killed", 1, grace_s=5.0)
_SIGTERM = StopRequest("terminated by SIGTERM")
_PARENT_POLL_S = 1.0
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # How soon Ray Train sees that the workers have ended.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # With the patch every print would appear twice.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # How often Ray looks for nodes that are about to be taken away.
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "2",
    # Ray's elastic policy may ask for nodes that have just gone. This limits how long it waits for
    # their resources; workers may take longer to start.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Ray Train's own value. It sets it for the controller, where it waits for results.
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
}


def main(run_uri: str, job_id: str = "") -> int:
    """Run the job and return its exit code. `job_id`: Ray Jobs' id, if not the run's own."""
    secrets.load()
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    told = DriverEnvironment.read()
    run = RunFolder.at(run_uri).with_retries()
    _stop_on_sigterm(run)
    if told.ray_dir:
        # A notice of preemption would be for this machine, and then nobody is left to be told.
        os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    if told.parent_pid:
        request = _CLIENT_GONE if told.ray_dir else _SUPERVISOR_GONE
        watch = threading.Thread(
            target=_stop_without_parent, args=(told.parent_pid, run, request), daemon=True
        )
        watch.start()
    # On this machine the launcher sends what the driver prints to the same file.
    handler = logging.StreamHandler() if told.ray_dir else RunLog(run, "driver")
    start = Start(
        job_id,
        runs.parent_process(told.parent_pid) if told.parent_pid else {},
        told.previous_death,
        _end_process,
        **({} if told.ray_dir else _for_stock_clients(job_id or run.run_id)),
    )
    try:
        with log_to(handler):
            return execute(run, RayTrainer(told.ray_dir, told.code_dir), start).exit_code or 0
    finally:
        if told.ray_dir:
            # The launcher removes the folder, too, but it may be gone.
            shutil.rmtree(told.ray_dir, ignore_errors=True)


def _for_stock_clients(job_id: str) -> dict[str, Any]:
    """Return what tells Ray's own clients and the dashboard of a job on a cluster how far it is:
    what the job prints, and its metadata."""
    return {
        "tell": lambda line: print(line, flush=True),
        "show": lambda facts: show_metadata(job_id, facts),
    }


def _end_process(error: JobError) -> None:
    """End this process here and now, and with it the workers, since the run is lost to it."""
    log.error("%s", error.cause)
    os._exit(error.exit_code)


def _stop_on_sigterm(run: RunFolder) -> None:
    """On SIGTERM, ask the job to stop with a checkpoint, or end at once if that was asked for.

    The signal comes from `ray job stop`, `rnnjob stop --force` or a person. A thread handles it,
    since a storage may take its time and the main thread must not meet the storage's errors.
    """
    asked = threading.Event()

    def stop() -> None:
        while asked.wait():  # more than once: a stop that takes long may be forced later
            asked.clear()
            with contextlib.suppress(StorageError):
                request = run.stop_request()
                if request and request.at_once:
                    os._exit(request.exit_code)
                run.ask_to_stop(_SIGTERM)

    threading.Thread(target=stop, name="sigterm", daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())


def _stop_without_parent(parent: int, run: RunFolder, request: StopRequest) -> None:
    """End the job, with a checkpoint, once the process that started this one is gone.

    Nobody else would end a Ray of its own. On a cluster, Ray Jobs has told by then that the job
    FAILED, and nobody would start this process again.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    log.error("%s", request.reason)
    run.ask_to_stop(request)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
