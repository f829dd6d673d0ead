"""A question to worker 0 in the run folder: take a checkpoint, because the workers will change.

::

    resize.json     {"id": ..., "answered": false}    written by Ray Train's controller
                    {"id": ..., "answered": true}     by worker 0, once the checkpoint is written

Worker 0 then computes no further step for a while: each would have to be computed again.
"""

import math
import secrets
import time

from workers.errors import StorageError
from workers.records.run_folder import RunFolder

_HOLD_S = 20.0
"""How long worker 0 waits for its end. It goes on if the resize turned out to be impossible."""


class ResizeRequests:
    """The side that asks."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._id = ""
        self._looked_at = -math.inf

    def ask(self) -> None:
        """Ask worker 0 for a checkpoint. Raises GoneError if the run was deleted, StorageError."""
        self._id = secrets.token_hex(8)
        self._run.write_json(self._run.RESIZE, {"id": self._id, "answered": False})

    def is_answered(self) -> bool:
        """Return whether the checkpoint is written. Looks once every `RunFolder.poll_s` seconds.

        Raises StorageError.
        """
        if time.monotonic() - self._looked_at < self._run.poll_s:
            return False
        self._looked_at = time.monotonic()
        content = self._run.read_json(self._run.RESIZE) or {}
        return content.get("id") == self._id and content.get("answered") is True


class ResizeAnswers:
    """The side of worker 0. A storage that fails asks for nothing."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._id = ""
        self._looked_at = -math.inf
        self._seen = self._read()
        """The id of an earlier request, which was for the workers before these."""

    def is_asked(self) -> bool:
        """Return whether there is a new request. Looks once every `RunFolder.poll_s` seconds."""
        if time.monotonic() - self._looked_at < self._run.poll_s:
            return False
        self._looked_at = time.monotonic()
        self._id = self._read()
        return bool(self._id) and self._id != self._seen

    def answer_and_wait(self) -> None:
        """Say that the checkpoint is written, and wait for the end of this process.

        Returns if it does not come, or somebody asks the job to stop.
        """
        self._seen = self._id
        try:
            self._run.write_json(self._run.RESIZE, {"id": self._id, "answered": True})
            end = time.monotonic() + _HOLD_S
            while time.monotonic() < end and self._run.stop_request() is None:
                time.sleep(self._run.poll_s)
        except StorageError:
            return

    def _read(self) -> str:
        try:
            content = self._run.read_json(self._run.RESIZE) or {}
        except StorageError:
            return ""
        return str(content.get("id", ""))
