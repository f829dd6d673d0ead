"""Retries for a remote storage: an operation that fails only for a while is tried again."""

import errno
import itertools
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from workers.errors import GoneError, RefusedFileError, StorageError

T = TypeVar("T")
log = logging.getLogger(__name__)
MAX_FAILING_S = 60.0
"""How long a storage may fail without a success in between before a job is given up."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0
_PERMANENT = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_|UNRECOGNIZED_CLIENT|AUTHENTICATION|SIGNATURE"
    r"|AccessDenied|NoSuchBucket|Invalid[A-Z]|SignatureDoesNotMatch|credentials"  # as botocore says
    r"|HTTP status (?:3\d\d|4(?!08|25|29)\d\d)"
)
"""What S3 answers when it would answer the same the next time."""
REPEATING_ERRNOS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
    }
)
"""What an operating system says when the next attempt would fail alike."""


class Retries:
    """Shared by all users of one storage.

    Once the storage has failed for `MAX_FAILING_S`, every user tries just once, so that the job
    ends soon. A success begins the count anew. A retry library would count for each call alone.
    """

    def __init__(self) -> None:
        self._failing_since: float | None = None

    def call(self, operation: Callable[[], T]) -> T:
        """Return what the operation returns. It must be one that may be repeated.

        Raises StorageError if it fails for good, or has failed for too long.
        """
        for attempt in itertools.count():
            try:
                result = operation()
            except (RefusedFileError, GoneError):
                raise  # the storage did answer, and it would answer the same
            except StorageError as error:
                if not self._may_try_again(error):
                    raise
                wait_s = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
                log.warning("%s; trying again in %g s", error.cause, wait_s)
                time.sleep(wait_s)
            else:
                self._failing_since = None
                return result
        raise AssertionError("unreachable")

    def _may_try_again(self, error: StorageError) -> bool:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        return may_succeed_later(error) and now - self._failing_since < MAX_FAILING_S


def may_succeed_later(error: StorageError) -> bool:
    """Return whether the storage might do the same without an error a little later."""
    return not isinstance(
        error.__cause__, FileNotFoundError | PermissionError | ValueError
    ) and not is_permanent(error.cause)


def is_permanent(told: str) -> bool:
    """Return whether a remote storage would answer the same the next time."""
    return _PERMANENT.search(told) is not None
