"""The resources of a cluster that Ray holds for a driver, also for minutes after it died.

Ray Train's controller of a `MIN:MAX` job asks an actor that outlives it to keep what its workers
could use. The controller takes that back when it ends, but a driver that is killed takes it along.
So a driver notes what was asked for beside Ray Train's files, and the next one takes it back.
"""

import contextlib
import logging
from typing import Any

from workers.errors import StorageError
from workers.records.run_folder import RunFolder

log = logging.getLogger(__name__)
_COORDINATOR = "AutoscalingCoordinator"
"""The name of Ray's actor, and of its namespace."""
_NOTE, _KEY = "reservation.json", "requester_id"
_TIMEOUT_S = 5.0


def note_reservation(run: RunFolder, trainer: Any) -> None:
    """Note under which id a trainer that is about to start will ask for resources.

    Raises StorageError.
    """
    context = getattr(trainer, "train_run_context", None)
    if run_id := getattr(context, "run_id", None):
        run.write_json(f"{run.RAY_TRAIN}/{_NOTE}", {_KEY: f"train-{run_id}"})


def take_back_reservation(run: RunFolder) -> None:
    """Take back what Ray still holds for an earlier driver of a run that died on this cluster.

    Raises StorageError.
    """
    requester = (run.read_json(f"{run.RAY_TRAIN}/{_NOTE}") or {}).get(_KEY)
    if not isinstance(requester, str):
        return
    import ray

    # Ray's request would expire by itself, so an actor that is gone or does not answer may.
    with contextlib.suppress(ValueError, ray.exceptions.RayError):
        coordinator = ray.get_actor(_COORDINATOR, namespace=_COORDINATOR)
        ray.get(coordinator.cancel_request.remote(requester), timeout=_TIMEOUT_S)
        log.info("took back what Ray held for the driver before this one")
    with contextlib.suppress(StorageError):
        run.storage.delete(run.RAY_TRAIN)
