"""`python -m orchestrator.driver.parts FOLDER_URI SHA256 WORKERS ATTEMPT`: compute parts on Ray.

It reads the request from the folder, and writes the outcome there.
"""

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time

from orchestrator.driver.environment import DriverEnvironment
from orchestrator.driver.parts.computer import Outcome, to_json
from orchestrator.driver.parts.handover import remove_unless_seen
from orchestrator.driver.parts.predict import put_together
from orchestrator.driver.parts.request import (
    OUTCOME,
    REQUEST,
    PredictRequest,
    missing_parts,
    read_request,
)
from orchestrator.driver.ray_connection import connect_to_ray
from workers import secrets
from workers.errors import JobError, StorageError
from workers.records.run_folder import RunFolder
from workers.records.run_log import RunLog, log_to
from workers.storage.storage import Storage

log = logging.getLogger(__name__)
_PARENT_POLL_S = 1.0
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


def main(folder_uri: str, sha256: str, num_workers: str, attempt: str) -> int:
    """Compute the missing parts, and return the exit code.

    Args:
        sha256: of the request.
        attempt: what the outcome is marked with.
    """
    secrets.load()
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    told = DriverEnvironment.read()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if told.ray_dir:
        watch = threading.Thread(target=_stop_without_parent, args=(told, stop), daemon=True)
        watch.start()
    folder = Storage(folder_uri).with_retries()
    # On this machine the launcher sends what the driver prints to the same file.
    place = RunFolder(folder, REQUEST)
    handler = logging.StreamHandler() if told.ray_dir else RunLog(place, "driver")
    try:
        with log_to(handler):
            outcome = _outcome(folder, sha256, int(num_workers), told.ray_dir, stop)
    finally:
        if told.ray_dir:
            # The launcher removes the folder, too, but it may be gone.
            shutil.rmtree(told.ray_dir, ignore_errors=True)
    folder.write(OUTCOME, json.dumps({**outcome, "attempt": attempt}).encode())
    if "error" in outcome:
        return int(outcome["error"]["exit_code"])
    if isinstance(read_request(folder, sha256), PredictRequest):  # the output is elsewhere
        remove_unless_seen(folder, attempt, lambda: _is_orphan(told))
    return 0


def _outcome(
    folder: Storage, sha256: str, num_workers: int, ray_dir: str | None, stop: threading.Event
) -> Outcome:
    try:
        return _computed(folder, sha256, num_workers, ray_dir, stop)
    except JobError as error:
        log.error("%s", error.cause)
        return {"error": to_json(error)}
    except Exception as error:
        log.exception("the driver failed")
        cure = f"see {folder.where(RunFolder.LOGS)}"
        return {"error": {"cause": repr(error)[:300], "cure": cure, "exit_code": 1}}


def _computed(
    folder: Storage, sha256: str, num_workers: int, ray_dir: str | None, stop: threading.Event
) -> Outcome:
    """Compute the parts, and complete the work. Raises JobError."""
    import ray

    from orchestrator.driver.parts.pool import Pool

    request = read_request(folder, sha256)
    if missing := missing_parts(folder, request):
        log.info("%d parts are missing", len(missing))
        connect_to_ray(ray_dir, num_workers)
        try:
            pip = request.pip if ray_dir else ()  # on a cluster, the whole job has the packages
            Pool(folder.uri, sha256, pip, stop.is_set).run(missing, num_workers)
        finally:
            ray.shutdown()
    if isinstance(request, PredictRequest):
        put_together(request, folder)
    return {"rows": sum(request.part_rows())}


def _is_orphan(told: DriverEnvironment) -> bool:
    """Whether the client on this machine that started this process is gone."""
    return told.ray_dir is not None and os.getppid() != told.parent_pid


def _stop_without_parent(told: DriverEnvironment, stop: threading.Event) -> None:
    """End the work on a Ray of its own once the process that started it is gone."""
    while not _is_orphan(told):
        time.sleep(_PARENT_POLL_S)
    stop.set()


if __name__ == "__main__":
    with contextlib.suppress(StorageError):  # the client sees that there is no outcome
        sys.exit(main(*sys.argv[1:]))
    sys.exit(1)
