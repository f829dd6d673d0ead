"""Actors that take parts as they become free, and are replaced if they are lost."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.driver.parts.computer import Outcome, PartComputer
from workers.errors import JobStoppedError, WorkerFailedError

log = logging.getLogger(__name__)
_POLL_S = 0.5
_MAX_FAILURES = 5
"""How often actors may be lost while not one part is done."""


class Pool:
    """Computes parts on Ray. It needs no more than one free CPU at a time to make progress."""

    def __init__(
        self, folder_uri: str, sha256: str, pip: Sequence[str], is_stopped: Callable[[], bool]
    ) -> None:
        """
        Args:
            pip: the packages that Ray installs for the actors.
            is_stopped: whether the work is to be given up.
        """
        import ray

        env: dict[str, Any] = {"env_vars": {"OMP_NUM_THREADS": "1"}}
        if pip:
            env["pip"] = list(pip)
        self._actor = ray.remote(num_cpus=1, max_restarts=0, runtime_env=env)(PartComputer)
        self._arguments = (folder_uri, sha256)
        self._is_stopped = is_stopped
        self._busy: dict[Any, tuple[Any, int | None]] = {}
        """The actor behind each call that goes on, and the part; None while it loads the model."""
        self._failures = 0

    def run(self, parts: Sequence[int], num_workers: int) -> None:
        """Return once all parts are done. Raises JobError."""
        import ray

        waiting = deque(parts)
        for _ in range(min(num_workers, len(waiting))):
            self._start_actor()
        num_left = len(waiting)
        while num_left:
            done, _ = ray.wait(list(self._busy), timeout=_POLL_S)
            if self._is_stopped():
                raise JobStoppedError("it was asked to stop", "run the same command to go on")
            for call in done:
                num_left -= self._finish(call, waiting)

    def _finish(self, call: Any, waiting: deque[int]) -> int:
        """Take the result of a call, and give its actor the next part. Return how many parts this
        completed. Raises JobError."""
        import ray

        actor, part = self._busy.pop(call)
        try:
            outcome: Outcome = ray.get(call)
        except ray.exceptions.RayError as error:
            self._replace(error)
            if part is not None:
                waiting.appendleft(part)
            return 0
        if failure := outcome.get("error"):
            raise error_of(failure)
        # An actor without work is not kept, so its CPU is free for one that replaces a lost one.
        if waiting:
            following = waiting.popleft()
            self._busy[actor.compute.remote(following)] = actor, following
        if part is None:
            return 0
        self._failures = 0
        log.info("part %d is done", part)
        return 1

    def _start_actor(self) -> None:
        actor = self._actor.remote(*self._arguments)
        self._busy[actor.load.remote()] = actor, None

    def _replace(self, error: Exception) -> None:
        """Start another actor for one that was lost. Raises WorkerFailedError if too many were."""
        self._failures += 1
        lines = [line for line in str(error).splitlines() if line.strip()]
        why = lines[-1].strip()[:300] if lines else repr(error)
        log.warning("a worker was lost: %s", why)
        if self._failures > _MAX_FAILURES:
            raise WorkerFailedError(
                f"workers were lost {self._failures} times in a row: {why}",
                "see logs/ in the folder of the parts; then run the same command to go on",
            )
        self._start_actor()


def error_of(failure: Outcome) -> Exception:
    """Return the error that `computer.to_json` made JSON of."""
    return JobStoppedError(failure["cause"], failure["cure"], failure["exit_code"])
