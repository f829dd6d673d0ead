"""Patience with a remote storage: what fails only for a while is tried again."""

import itertools
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from workers.errors import StorageError

T = TypeVar("T")
log = logging.getLogger(__name__)
PATIENCE_S = 60.0
"""How long a storage may fail on end before a job is given up."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0
_LASTING = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_|UNRECOGNIZED_CLIENT|AUTHENTICATION|SIGNATURE"
    r"|HTTP status (?:3\d\d|4(?!08|25|29)\d\d)"
)
"""Of what S3 answers: it would answer the same again."""


class Patience:
    """Shared by all who use a storage: where it was given up, the others try just once, so that a
    job ends soon after; a success begins anew."""

    def __init__(self) -> None:
        self._failing_since: float | None = None

    def keep_trying(self, operation: Callable[[], T]) -> T:
        """What the operation returns, which must be one that may be repeated.

        Raises StorageError: it fails for good, or has for too long.
        """
        for attempt in itertools.count():
            try:
                result = operation()
            except StorageError as error:
                if not self._is_left(error):
                    raise
                wait_s = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
                log.warning("%s; trying again in %g s", error.cause, wait_s)
                time.sleep(wait_s)
            else:
                self._failing_since = None
                return result
        raise AssertionError("unreachable")

    def _is_left(self, error: StorageError) -> bool:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        return may_pass(error) and now - self._failing_since < PATIENCE_S


def may_pass(error: StorageError) -> bool:
    """Whether the storage might do the same without an error a little later."""
    return not isinstance(
        error.__cause__, FileNotFoundError | PermissionError | ValueError
    ) and not _LASTING.search(error.cause)
