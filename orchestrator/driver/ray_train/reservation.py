"""The resources that Ray holds for workers, also after the controller or the driver died.

Ray Train's controller of a `MIN:MAX` job asks an actor that outlives it to keep what its workers
could use. The controller takes that back when it ends, but a driver that is killed takes it along.
So a driver notes what was asked for beside Ray Train's files, and the next one takes it back. If no
driver comes after it, nobody renews the request, and it expires within ten seconds.

The workers' placement group goes when the driver does, but not with the controller. Ray Train has a
process that removes it then, but that asks the dashboard, which a Ray of its own lacks, and ends in
vain beside another Ray on the machine. So the driver removes it.
"""

import contextlib
import logging
import threading
from collections.abc import Mapping
from typing import Any

from workers.errors import StorageError
from workers.records.run_folder import RunFolder

log = logging.getLogger(__name__)
_COORDINATOR = "AutoscalingCoordinator"
"""The name of Ray's actor, and of its namespace."""
_NOTE, _KEY = "reservation.json", "requester_id"
_TIMEOUT_S = 5.0
_HELD_S, _RENEWED_S = 10.0, 2.0
"""How long Ray holds for a job what it asked for, and how often that is asked for again. Ray's own
values are three minutes and 20 s, and it asks only while it does not start workers."""


class RenewedReservation:
    """A part of Ray Train's scaling policies: a request that is renewed while its controller lives,
    whatever that does meanwhile, and gone soon after it was killed."""

    _ends: threading.Event | None = None

    def after_controller_start(self, train_run_context: Any) -> None:
        """Override, in the controller's process: make the request, and go on renewing it."""
        from ray.train.v2._internal.execution.scaling_policy import autoscaling_coordinator_client

        autoscaling_coordinator_client.AUTOSCALING_REQUESTS_EXPIRE_TIME_S = _HELD_S
        super().after_controller_start(train_run_context)  # type: ignore[misc]
        self._ends = threading.Event()
        self._renewal = threading.Thread(target=self._renew, args=(self._ends,), daemon=True)
        self._renewal.start()

    def _renew(self, ends: threading.Event) -> None:
        while not ends.wait(_RENEWED_S):
            self._send_resource_request()  # type: ignore[attr-defined]

    def _cancel_resource_request(self) -> None:
        """Override: take the request back, once nobody can make it again."""
        if self._ends is not None:
            self._ends.set()
            self._renewal.join(2 * _TIMEOUT_S)
        super()._cancel_resource_request()  # type: ignore[misc]


def note_reservation(run: RunFolder, trainer: Any) -> None:
    """Note under which id a trainer that is about to start will ask for resources.

    Raises StorageError.
    """
    context = getattr(trainer, "train_run_context", None)
    if run_id := getattr(context, "run_id", None):
        run.write_json(f"{run.RAY_TRAIN}/{_NOTE}", {_KEY: f"train-{run_id}"})


def take_back_reservation(run: RunFolder) -> None:
    """Take back what Ray still holds for a controller of a run that died on this cluster.

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
        log.info("took back what Ray held for the controller before this one")
    with contextlib.suppress(StorageError):
        run.storage.delete(run.RAY_TRAIN)


def holds_resources() -> bool:
    """Return whether Ray has given the controller of this driver what its workers need."""
    import ray
    from ray.util import placement_group_table

    table, job_id = placement_group_table(), ray.get_runtime_context().get_job_id()
    return any(table[each]["state"] == "CREATED" for each in groups_of_job(table, job_id))


def remove_placement_groups() -> None:
    """Remove what the lost controller of this driver held for its workers.

    A controller asks in the name of the driver's job. What cannot be removed is told in the log.
    """
    import ray
    from ray.util import placement_group_table, remove_placement_group
    from ray.util.placement_group import PlacementGroup

    try:
        job_id = ray.get_runtime_context().get_job_id()
        for group_id in groups_of_job(placement_group_table(), job_id):
            remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(group_id)))
    except ray.exceptions.RayError as error:
        log.warning("cannot remove what the lost controller held: %s", error)


def groups_of_job(table: Mapping[str, Mapping[str, Any]], job_id: str) -> list[str]:
    """Return the ids of the placement groups that a job of Ray's still has: theirs end in its id.

    `table`: what `ray.util.placement_group_table()` returns.
    """
    return [
        group_id
        for group_id, group in table.items()
        if group_id.endswith(job_id) and group["state"] != "REMOVED"
    ]
