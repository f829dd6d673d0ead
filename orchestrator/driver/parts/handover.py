"""Who removes the folder of complete work: the client, or the driver if its client is gone."""

import contextlib
import time
from collections.abc import Callable

from workers.errors import StorageError
from workers.storage.storage import Storage

_CLIENT_SEES_S = 120.0
"""How long a client may take to see the outcome. It may have been suspended."""
_POLL_S = 0.5


def tell_driver_that_it_was_seen(folder: Storage, attempt: str) -> None:
    """Say that this client has read the outcome of an attempt, and will remove the folder."""
    with contextlib.suppress(StorageError):  # then the driver removes it, too
        folder.write(_mark(attempt), b"")


def remove_unless_seen(folder: Storage, attempt: str, is_client_gone: Callable[[], bool]) -> None:
    """Return once the client has seen the outcome. Remove the folder if it is gone.

    Raises StorageError.
    """
    end = time.monotonic() + _CLIENT_SEES_S
    while time.monotonic() < end and not is_client_gone():
        if folder.exists(_mark(attempt)):
            return
        time.sleep(_POLL_S)
    folder.delete()


def _mark(attempt: str) -> str:
    return f"seen-{attempt}"
