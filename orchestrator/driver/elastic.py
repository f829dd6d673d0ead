"""Resize a job with `MIN:MAX` workers without computing a step again.

Ray Train's elastic policy decides in its controller how many workers there are, and a resize starts
all of them again, from the last checkpoint. So the policy here first asks worker 0 for a checkpoint
(`workers.records.resize`), which then waits, and it decides once the checkpoint is there.
"""

import contextlib
import time
from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.scaling_policy import (
    ElasticScalingPolicy,
    NoopDecision,
    ResizeDecision,
)

from workers.errors import StorageError
from workers.records.resize import ResizeRequests
from workers.records.run_folder import RunFolder

_ANSWER_S = 60.0
"""How long worker 0 may take to answer: it may be evaluating. Then the resize comes without it."""


class ElasticTrainer(TorchTrainer):  # type: ignore[misc]  # Ray is not typed
    """A TorchTrainer whose resizes lose no step."""

    def __init__(self, *arguments: Any, run_uri: str, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._run_uri = run_uri

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        """Override: give the controller another policy than `fit` made for it."""
        if isinstance(parts["scaling_policy"], ElasticScalingPolicy):
            parts["scaling_policy"] = CheckpointFirst(self.scaling_config, self._run_uri)
        return super()._initialize_and_run_controller(**parts)


class CheckpointFirst(ElasticScalingPolicy):  # type: ignore[misc]
    """The elastic policy, which has a checkpoint taken before it resizes a running job."""

    def __init__(self, scaling_config: Any, run_uri: str) -> None:
        super().__init__(scaling_config)
        self._run_uri = run_uri
        self._requests: ResizeRequests | None = None
        self._asked_at: float | None = None
        """When worker 0 was asked; None if it is not."""

    def make_decision_for_non_running_worker_group(self) -> Any:
        self._asked_at = None  # whom it asked is gone
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
