"""The scaling policies of jobs: resize one with `MIN:MAX` workers without computing a step again.

Ray Train's elastic policy decides in its controller how many workers there are, and a resize starts
all of them again, from the last checkpoint. So the policy here first asks worker 0 for a checkpoint
(`workers.records.resize`), which then waits, and it decides once the checkpoint is there.
"""

import contextlib
import time
from dataclasses import replace
from typing import Any

import ray
from ray._private.state import available_resources_per_node
from ray.train.v2._internal.execution.scaling_policy import (
    ElasticScalingPolicy,
    FixedScalingPolicy,
    NoopDecision,
    ResizeDecision,
)

from orchestrator.cluster.capacity import fitting_cpus
from orchestrator.driver.ray_train.reservation import RenewedReservation
from workers.errors import StorageError
from workers.records.resize import ResizeRequests
from workers.records.run_folder import RunFolder

_ANSWER_S = 60.0
"""How long worker 0 may take to answer: it may be evaluating. Then the resize comes without it."""
_COUNT_S = 5.0


class FixedWorkers(RenewedReservation, FixedScalingPolicy):  # type: ignore[misc]
    """The policy of a job whose number of workers stays as it is."""

    def __init__(self, scaling_config: Any, has_open_cpus: bool) -> None:
        """`has_open_cpus`: the CPUs of a worker are what the nodes offer."""
        super().__init__(scaling_config)
        self._has_open_cpus, self._at_first = has_open_cpus, scaling_config
        self._tries = 0
        """How often the workers were to start since they ran last."""

    def make_decision_for_non_running_worker_group(self) -> Any:
        """Override: after the loss of a node, the workers start again with the CPUs that are left,
        instead of waiting for another node. They never get more than at first."""
        if self._has_open_cpus:
            self.scaling_config = replace(
                self._at_first, resources_per_worker=self._fitting_resources()
            )
        self._tries += 1
        return super().make_decision_for_non_running_worker_group()

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> Any:
        """Override: note that they run."""
        self._tries = 0
        return super().make_decision_for_running_worker_group(
            worker_group_state, worker_group_status
        )

    def _fitting_resources(self) -> dict[str, float]:
        """Return what a worker asks for.

        At the first try that is what the nodes have, since Ray may not know yet that the resources
        of the workers before are free; if they did not start, it is what the nodes have free.
        """
        per_worker = self._at_first._resources_per_worker_not_none
        if self._tries:
            nodes = list(available_resources_per_node().values())
        else:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = int(per_worker["CPU"])
        cpus = fitting_cpus(per_worker, self._at_first.num_workers, nodes, most)
        return {**per_worker, "CPU": float(cpus)}


class AllWorkersAlone(FixedScalingPolicy):  # type: ignore[misc]
    """The same on a Ray of the job's own, where nobody else asks for workers: so it asks nobody
    for them, and the process of Ray that coordinates such requests does not start."""

    def after_controller_start(self, train_run_context: Any) -> None:
        """Override: ask for nothing."""

    def _maybe_send_resource_request(self) -> None:
        """Override: ask for nothing."""


class CheckpointFirst(RenewedReservation, ElasticScalingPolicy):  # type: ignore[misc]
    """The elastic policy, which has a checkpoint taken before it resizes a running job."""

    def __init__(self, scaling_config: Any, run_uri: str) -> None:
        super().__init__(scaling_config)
        self._run_uri = run_uri
        self._requests: ResizeRequests | None = None
        self._asked_at: float | None = None
        """When worker 0 was asked; None if it is not."""

    def make_decision_for_non_running_worker_group(self) -> Any:
        self._asked_at = None  # whom it asked is gone
        self._count_nodes()
        return super().make_decision_for_non_running_worker_group()

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> Any:
        if self._asked_at is not None:
            if not self._is_answered():
                self._maybe_send_resource_request()
                return NoopDecision()
            # What it was asked for may no longer be possible, so the question is put again.
            self._asked_at = None
            self._latest_monitor_time = float("-inf")
            return super().make_decision_for_running_worker_group(
                worker_group_state, worker_group_status
            )
        decision = super().make_decision_for_running_worker_group(
            worker_group_state, worker_group_status
        )
        if isinstance(decision, ResizeDecision) and self._ask():
            return NoopDecision()
        return decision

    def _count_nodes(self) -> None:
        """Have Ray count the nodes now. By itself it counts every 20 s, so the workers would start
        without a node that has come since, or wait for one that is gone."""
        with contextlib.suppress(ray.exceptions.RayError):
            counted = self._autoscaling_coordinator.get_reserved_resources.remote(
                self._requester_id, recompute=True
            )
            ray.get(counted, timeout=_COUNT_S)

    def _ask(self) -> bool:
        """Ask worker 0 for a checkpoint. Return whether it can be asked."""
        with contextlib.suppress(StorageError):
            self._requests = self._requests or ResizeRequests(RunFolder.at(self._run_uri))
            self._requests.ask()
            self._asked_at = time.monotonic()
            return True
        return False

    def _is_answered(self) -> bool:
        """Return whether worker 0 has taken the checkpoint, or has had its time."""
        assert self._requests is not None and self._asked_at is not None
        if time.monotonic() - self._asked_at > _ANSWER_S:
            return True
        with contextlib.suppress(StorageError):
            return self._requests.is_answered()
        return False
