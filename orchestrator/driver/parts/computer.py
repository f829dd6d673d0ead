"""What one actor does: load the model once, and compute the parts that it is given."""

import contextlib
from typing import Any, Protocol

from orchestrator.driver.parts.evaluate import EvaluateParts
from orchestrator.driver.parts.predict import PredictParts
from orchestrator.driver.parts.request import EvaluateRequest, Request, read_request
from workers.errors import InputError, JobError
from workers.storage.storage import Storage

Outcome = dict[str, Any]


class _Parts(Protocol):
    def compute(self, part: int) -> None: ...


class PartComputer:
    """Computes parts in one process, with one thread.

    Its methods return errors that another actor would meet as well. What they raise is a reason to
    try again elsewhere.
    """

    def __init__(self, folder_uri: str, sha256: str) -> None:
        self._folder_uri, self._sha256 = folder_uri, sha256
        self._parts: _Parts | None = None
        self._stack = contextlib.ExitStack()
        """What must stay open while parts are computed. It ends with the process."""

    def load(self) -> Outcome:
        """Load the model."""
        try:
            folder = Storage(self._folder_uri).with_retries()
            self._parts = self._opened(read_request(folder, self._sha256), folder)
        except JobError as error:
            return {"error": to_json(error)}
        return {}

    def _opened(self, request: Request, folder: Storage) -> _Parts:
        import torch

        from workers.models.cpu_kernels import bf16_kernels, compute_alone
        from workers.models.own.installed import code_of
        from workers.trained.load import load_trained

        compute_alone()
        self._stack.enter_context(code_of(request.job))
        precision = request.job.training.precision
        self._stack.enter_context(bf16_kernels(precision, torch.device("cpu")))
        model = load_trained(request.job, request.checkpoint)
        if model.weights_sha256 != request.weights_sha256:
            raise InputError(
                f"the weights of {request.job.run_id} have changed since the command began",
                "run the command again with --force",
            )
        if isinstance(request, EvaluateRequest):
            return EvaluateParts(request, folder, model)
        return PredictParts(request, folder, model)

    def compute(self, part: int) -> Outcome:
        """Compute a part, and write its file."""
        assert self._parts is not None
        try:
            self._parts.compute(part)
        except JobError as error:
            return {"error": to_json(error)}
        return {}


def to_json(error: JobError) -> Outcome:
    """Return an error as JSON. Ray would make another type of it."""
    return {"cause": error.cause, "cure": error.cure, "exit_code": error.exit_code}
