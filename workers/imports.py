"""Import large packages in less time."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Collect no garbage while the block imports packages.

    What an import makes stays, so each collection would look through it in vain: with torch, that
    is a sixth of the time.
    """
    is_usual = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_usual:
            gc.enable()
